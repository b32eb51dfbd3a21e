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

/// Which two bytes, the first times 256 and the second, begin one of them: a bit each.
static PAIRS: [u64; 1024] = pairs();

const fn pairs() -> [u64; 1024] {
    let mut pairs = [0; 1024];
    let mut needle = 0;
    while needle < NEEDLES.len() {
        let (first, second) = (NEEDLES[needle][0], NEEDLES[needle][1]);
        let mut case = 0;
        while case < 4 {
            let first = if case & 1 == 0 { first } else { first.to_ascii_uppercase() };
            let second = if case & 2 == 0 { second } else { second.to_ascii_uppercase() };
            let pair = (first as usize) << 8 | second as usize;
            pairs[pair / 64] |= 1 << (pair % 64);
            case += 1;
        }
        needle += 1;
    }
    pairs
}

/// The first beginning of active content in an encoded image, if there is one.
pub(crate) fn active_content(encoded: &[u8]) -> Option<&'static str> {
    for (at, pair) in encoded.windows(2).enumerate() {
        let pair = usize::from(pair[0]) << 8 | usize::from(pair[1]);
        if PAIRS[pair / 64] >> (pair % 64) & 1 == 0 {
            continue;
        }
        let rest = &encoded[at..];
        let found = NEEDLES
            .iter()
            .find(|needle| rest.get(..needle.len()).is_some_and(|window| window.eq_ignore_ascii_case(needle)));
        if let Some(needle) = found {
            return Some(std::str::from_utf8(needle).unwrap_or("an executable"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::active_content;

    #[test]
    fn finds_active_content_in_any_case_and_nothing_else() {
        assert_eq!(active_content(b"xx<ScRiPt>"), Some("<script"));
        assert_eq!(active_content(b"<scrip"), None);
        assert_eq!(active_content(b"PK\x03\x04\x14\x00"), Some("pk\u{3}\u{4}\u{14}"));
        assert_eq!(active_content(&[0x3c; 4096]), None);
    }
}
