//! Words that some reader acts on wherever in a file it finds them.

/// Letters match in either case. Long enough that compressed data hardly ever spells one.
const WORDS: &[&[u8]] = &[
    b"<script",
    b"<html",
    b"<!doctype html",
    b"<iframe",
    b"<svg",
    b"<body",
    b"<?php",
    b"javascript:",
    // What an archiver looks for from the end (APPNOTE.TXT 4.3.16), and from the start.
    b"pk\x05\x06",
    b"rar!\x1a\x07",
    b"7z\xbc\xaf\x27\x1c",
];

/// The first such word.
pub(crate) fn find(bytes: &[u8]) -> Option<&'static str> {
    let begins = |byte: u8| matches!(byte, b'<' | b'j' | b'J' | b'p' | b'P' | b'r' | b'R' | b'7');
    let places = bytes.iter().enumerate().filter(|(_, byte)| begins(**byte));
    places.map(|(at, _)| &bytes[at..]).find_map(|rest| {
        let word = WORDS.iter().find(|word| rest.get(..word.len()).is_some_and(|it| it.eq_ignore_ascii_case(word)))?;
        Some(std::str::from_utf8(word).unwrap_or("an archive"))
    })
}
