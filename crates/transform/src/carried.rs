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

/// The first beginning of active content in an encoded image, if there is one.
pub(crate) fn active_content(encoded: &[u8]) -> Option<&'static str> {
    let mut first = [false; 256];
    for needle in NEEDLES {
        first[usize::from(needle[0])] = true;
        first[usize::from(needle[0].to_ascii_uppercase())] = true;
    }
    for (at, &byte) in encoded.iter().enumerate() {
        if !first[usize::from(byte)] {
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
