use std::{fs::File, io::Write};

use lazaret_core::Sha256Digest;

use super::*;

fn spooled(bytes: &[u8]) -> Spooled {
    let mut file: File = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Spooled::new(file, bytes.len() as u64, Sha256Digest::from_bytes([0; 32]), ())
}

fn name(bytes: &[u8]) -> String {
    detect(&spooled(bytes)).unwrap().media_type.to_string()
}

#[test]
fn text_that_acts_is_never_plain() {
    for (bytes, expected) in [
        (&b"<html><body>x"[..], "text/html"),
        (b"  \n\t<!DOCTYPE HTML>\n", "text/html"),
        (b"\xef\xbb\xbf<ScRiPt>alert(1)</script>", "text/html"),
        (b"hello <script src=x></script>", "text/html"),
        (b"<!-- c --><svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"<?xml version='1.0'?><svg/>", "image/svg+xml"),
        (b"<?xml version='1.0'?><note/>", "text/xml"),
        (b"<svg:svg xmlns:svg='x'/>", "image/svg+xml"),
        (b"#!/bin/sh\nrm -rf /\n", "text/x-shellscript"),
        (b"<?php system($_GET[0]);", "application/x-httpd-php"),
        (b"@echo off\r\ndel *.*", "application/x-bat"),
        (b"\xff\xfe<\0h\0t\0m\0l\0>\0", "text/html"),
    ] {
        assert_eq!(name(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn programs_are_programs_under_any_name() {
    for (bytes, expected) in [
        (&b"\x7fELF\x02\x01\x01\0\0\0\0\0"[..], "application/x-elf"),
        (b"MZ\x90\0\x03\0\0\0\x04\0\0\0", "application/vnd.microsoft.portable-executable"),
        (b"\xcf\xfa\xed\xfe\x07\0\0\x01", "application/x-mach-binary"),
        (b"\xca\xfe\xba\xbe\0\0\0\x34", "application/java-vm"),
        (b"\0asm\x01\0\0\0", "application/wasm"),
    ] {
        assert_eq!(name(bytes), expected);
    }
}

#[test]
fn two_letters_do_not_make_a_program() {
    assert_eq!(name(b"MZ is a region code, says this text.\n"), "text/plain");
}

#[test]
fn text_is_text_over_its_whole_length() {
    let mut long = "grün ".repeat(200_000).into_bytes();
    assert_eq!(name(&long), "text/plain");
    long.push(0);
    assert_eq!(name(&long), "application/octet-stream");
    assert_eq!(name(b"caf\xe9"), "application/octet-stream");
    assert_eq!(name("schluss ü".as_bytes()), "text/plain");
    assert_eq!(name(&"ü".as_bytes()[..1]), "application/octet-stream");
}

#[test]
fn media_by_signature() {
    for (bytes, expected) in [
        (&b"\xff\xd8\xff\xe0\0\x10JFIF\0"[..], "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "image/png"),
        (b"GIF89a\x01\0\x01\0", "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0", "image/bmp"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "application/pdf"),
        (b"\0\0\0\x20ftypiso6\0\0\0\0", "video/mp4"),
        (b"\0\0\0\x1cftypheic\0\0\0\0", "image/heic"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "image/avif"),
    ] {
        assert_eq!(name(bytes), expected);
    }
}

const HEADS: &[&[u8]] = &[
    b"",
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    b"\0\0\0\x20ftyp",
    b"%PDF-1.7\n",
    b"<?xml version='1.0'?>",
    b"\x1a\x45\xdf\xa3",
    b"\xff\xfe",
    b"MZ",
    b"RIFF",
    b"GIF89a",
];

proptest::proptest! {
    /// What a table cannot make sense of is a type or an error, never a panic, and always the same one.
    #[test]
    fn arbitrary_bytes_never_panic(
        head in proptest::sample::select(HEADS),
        tail in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600),
        end in proptest::sample::select(HEADS),
    ) {
        let bytes = [head, &tail, end].concat();
        let object = spooled(&bytes);
        let (one, two) = (detect(&object).unwrap(), detect(&object).unwrap());
        proptest::prop_assert_eq!(&one, &two);
        let text = std::str::from_utf8(&bytes).is_ok();
        proptest::prop_assert!(text || !one.is_plain_text);
    }
}

/// Offsets that point beyond all bounds: a ZIP64 end record (APPNOTE.TXT 4.3.15) where no file can have one.
#[test]
fn offsets_that_overflow_are_no_panic() {
    for offset in [u64::MAX, u64::MAX - 32, i64::MAX as u64] {
        let bytes =
            [&b"PK\x03\x04aaaaaaaaPK\x06\x07\0\0\0\0"[..], &offset.to_le_bytes(), b"\0\0\0\0PK\x05\x06", &[0xff; 18]];
        assert_eq!(name(&bytes.concat()), "application/zip");
    }
}
