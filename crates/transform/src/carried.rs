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

/// The half of [`BITS`] that is about first bytes.
const FIRSTS: u16 = 0xff;

/// For every byte, in the low half, which needles' first it is in either case, and in the high half, which ones' second. A
/// bit stands for all needles with the same first byte.
static BITS: [u16; 256] = bits();

const fn bits() -> [u16; 256] {
    let mut bits = [0_u16; 256];
    let (mut firsts, mut needle) = (0, 0);
    while needle < NEEDLES.len() {
        let (first, second) = (NEEDLES[needle][0], NEEDLES[needle][1]);
        if bits[first as usize] & FIRSTS == 0 {
            assert!(firsts < 8, "a bit for each first byte");
            bits[first as usize] |= 1 << firsts;
            bits[first.to_ascii_uppercase() as usize] |= 1 << firsts;
            firsts += 1;
        }
        let group = (bits[first as usize] & FIRSTS) << 8;
        bits[second as usize] |= group;
        bits[second.to_ascii_uppercase() as usize] |= group;
        needle += 1;
    }
    bits
}

/// The first beginning of active content in an encoded image, if there is one.
pub(crate) fn active_content(encoded: &[u8]) -> Option<&'static str> {
    let mut before = 0;
    for (at, &byte) in encoded.iter().enumerate() {
        let bits = BITS[usize::from(byte)];
        if before & bits >> 8 != 0 {
            let rest = &encoded[at - 1..];
            let is_here =
                |needle: &&&[u8]| rest.get(..needle.len()).is_some_and(|window| window.eq_ignore_ascii_case(needle));
            if let Some(needle) = NEEDLES.iter().find(is_here) {
                return Some(std::str::from_utf8(needle).unwrap_or("an executable"));
            }
        }
        before = bits & FIRSTS;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{NEEDLES, active_content};

    #[test]
    fn finds_active_content_in_any_case_and_nothing_else() {
        assert_eq!(active_content(b"xx<ScRiPt>"), Some("<script"));
        assert_eq!(active_content(b"<scrip"), None);
        assert_eq!(active_content(b"PK\x03\x04\x14\x00"), Some("pk\u{3}\u{4}\u{14}"));
        assert_eq!(active_content(&[0x3c; 4096]), None);
        for needle in NEEDLES {
            for (text, at) in [(needle.to_vec(), 0), (needle.to_ascii_uppercase(), 1), (needle.to_vec(), 77)] {
                let file = [vec![b'<'; at], text.clone(), vec![0; 3]].concat();
                assert!(active_content(&file).is_some(), "{} at {at}", needle.escape_ascii());
                assert_eq!(active_content(&file[..at + text.len() - 1]), None, "{} cut", needle.escape_ascii());
            }
        }
    }
}
