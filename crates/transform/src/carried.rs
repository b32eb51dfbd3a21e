//! Active content that came through in pixels.

/// Beginnings that a browser, an interpreter or an archiver acts on wherever it finds them. Letters match in either
/// case. Long enough that random bytes hardly ever spell one.
const NEEDLES: &[&[u8]] = &[
    b"<script",
    b"<html",
    b"<!doctype",
    b"<iframe",
    b"<svg",
    b"<body",
    b"<img",
    b"<?php",
    b"<?xml",
    b"javascript:",
    b"%pdf-1.",
    b"#!/bin/",
    b"#!/usr/",
    b"pk\x03\x04\x14",
    b"pk\x05\x06\x00\x00",
    b"\x7felf\x02\x01\x01",
    b"eicar-standard-antivirus-test-file",
];

/// Bytes that are looked at together, in vectors, for a pair that a needle begins with.
const BLOCK: usize = 64;

/// The first two bytes of every needle, once, with the bit set that parts small letters from capital ones. Other bytes that
/// differ in that bit alone are taken for the same, and the needle tells them apart.
const PAIRS: ([(u8, u8); NEEDLES.len()], usize) = pairs();

const SMALL: u8 = 0x20;

const fn pairs() -> ([(u8, u8); NEEDLES.len()], usize) {
    let mut pairs = [(0, 0); NEEDLES.len()];
    let (mut count, mut needle) = (0, 0);
    while needle < NEEDLES.len() {
        let pair = (NEEDLES[needle][0] | SMALL, NEEDLES[needle][1] | SMALL);
        let mut known = 0;
        while known < count && (pairs[known].0 != pair.0 || pairs[known].1 != pair.1) {
            known += 1;
        }
        if known == count {
            pairs[count] = pair;
            count += 1;
        }
        needle += 1;
    }
    (pairs, count)
}

/// The first beginning of active content in an encoded image, if there is one.
pub(crate) fn active_content(encoded: &[u8]) -> Option<&'static str> {
    let mut at = 0;
    while let Some(block) = encoded.get(at..).and_then(<[u8]>::first_chunk::<{ BLOCK + 1 }>) {
        let begins = beginnings(block);
        if begins != [0; BLOCK] {
            let mut places = (0..BLOCK).filter(|&place| begins[place] != 0);
            if let Some(needle) = places.find_map(|place| needle_at(encoded, at + place)) {
                return Some(needle);
            }
        }
        at += BLOCK;
    }
    (at..encoded.len()).find_map(|at| needle_at(encoded, at))
}

/// Where in the block a needle may begin: what is there is not 0. No branch and no table, so that the compiler makes
/// vectors of it.
fn beginnings(block: &[u8; BLOCK + 1]) -> [u8; BLOCK] {
    let small = block.map(|byte| byte | SMALL);
    let mut found = [0; BLOCK];
    for &(first, second) in &PAIRS.0[..PAIRS.1] {
        for (at, found) in found.iter_mut().enumerate() {
            *found |= u8::from(small[at] == first) & u8::from(small[at + 1] == second);
        }
    }
    found
}

fn needle_at(encoded: &[u8], at: usize) -> Option<&'static str> {
    let rest = &encoded[at..];
    let is_here = |needle: &&&[u8]| rest.get(..needle.len()).is_some_and(|window| window.eq_ignore_ascii_case(needle));
    let needle = NEEDLES.iter().find(is_here)?;
    Some(std::str::from_utf8(needle).unwrap_or("an executable"))
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, NEEDLES, active_content};

    #[test]
    fn finds_active_content_in_any_case_and_nothing_else() {
        assert_eq!(active_content(b"xx<ScRiPt>"), Some("<script"));
        assert_eq!(active_content(b"<scrip"), None);
        assert_eq!(active_content(b"PK\x03\x04\x14\x00"), Some("pk\u{3}\u{4}\u{14}"));
        assert_eq!(active_content(&[0x3c; 4096]), None);
        for needle in NEEDLES {
            for (text, at) in
                (0..2 * BLOCK + 2).flat_map(|at| [(needle.to_vec(), at), (needle.to_ascii_uppercase(), at)])
            {
                let file = [vec![b'<'; at], text.clone(), vec![0; 3]].concat();
                assert!(active_content(&file).is_some(), "{} at {at}", needle.escape_ascii());
                assert_eq!(active_content(&file[..at + text.len() - 1]), None, "{} cut", needle.escape_ascii());
            }
        }
    }
}
