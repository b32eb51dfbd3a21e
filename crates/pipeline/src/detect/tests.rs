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
        (b"@ECHO off\r\ndel *.*", "application/x-bat"),
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

#[test]
fn active_tags_are_found_wherever_they_stand() {
    for before in [10_000, 100_000, 256 * 1024, 256 * 1024 + 24, 300_000, 700_000] {
        for shift in 0..12 {
            let text = [&b"x "[..], &vec![b'.'; before - shift], b"<ScRiPt src=x>"].concat();
            assert_eq!(name(&text), "text/html", "{before} - {shift}");
        }
    }
    let behind = |tag: &str| name(format!("{}{tag}", "text ".repeat(10_000)).as_bytes());
    assert_eq!(behind("<?php system($_GET[0]);"), "application/x-httpd-php");
    assert_eq!(behind("<svg/onload=alert(1)>"), "image/svg+xml");
    assert_eq!(behind("<!DOCTYPE html>"), "text/html");
    assert_eq!(behind("<iframe"), "text/html");
    assert_eq!(behind("<scripture> <svgs>"), "text/plain");
    assert_eq!(name(format!("<?xml version='1.0'?>{}<svg/>", " ".repeat(20_000)).as_bytes()), "image/svg+xml");
}

#[test]
fn white_space_does_not_hide_the_start() {
    for count in [17 * 1024, 300 * 1024] {
        assert_eq!(name(format!("{}<img src=x onerror=alert(1)>", " ".repeat(count)).as_bytes()), "text/html");
        assert_eq!(name(format!("{}@echo off\r\n", "\n".repeat(count)).as_bytes()), "application/x-bat");
        assert_eq!(name(format!("\u{feff}{}<b>", " ".repeat(count)).as_bytes()), "text/html");
        assert_eq!(name(" ".repeat(count).as_bytes()), "text/plain");
    }
}

#[test]
fn a_remark_does_not_make_a_batch_file() {
    assert_eq!(name(b"REM sleep is when one dreams.\n"), "text/plain");
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let stored = ::zip::write::SimpleFileOptions::default().compression_method(::zip::CompressionMethod::Stored);
    let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, body) in members {
        writer.start_file(*name, stored).unwrap();
        writer.write_all(body).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn zips_are_what_their_members_make_them() {
    let of = |names: &[&str]| name(&archive(&names.iter().map(|name| (*name, &b"x"[..])).collect::<Vec<_>>()));
    let office = "application/vnd.openxmlformats-officedocument.";
    for (names, expected) in [
        (&["readme.txt"][..], "application/zip".to_owned()),
        (&[], "application/zip".into()),
        (&["word/document.xml"], "application/zip".into()),
        (&["[Content_Types].xml"], "application/zip".into()),
        (&["word/document.xml", "[Content_Types].xml"], format!("{office}wordprocessingml.document")),
        (&["[Content_Types].xml", "xl/workbook.xml"], format!("{office}spreadsheetml.sheet")),
        (&["[content_types].XML", "PPT/presentation.xml"], format!("{office}presentationml.presentation")),
        (&["[Content_Types].xml", "xl/workbook.xml", "word/document.xml"], "application/zip".into()),
        (
            &["[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"],
            "application/vnd.ms-word.document.macroenabled.12".into(),
        ),
        (
            &["xl/VBAPROJECT.bin", "[Content_Types].xml", "xl/workbook.xml"],
            "application/vnd.ms-excel.sheet.macroenabled.12".into(),
        ),
        (&["[Content_Types].xml", "word/document.xml", "META-INF/MANIFEST.MF"], "application/java-archive".into()),
        (&["META-INF/MANIFEST.MF", "AndroidManifest.xml"], "application/vnd.android.package-archive".into()),
    ] {
        assert_eq!(of(names), expected, "{names:?}");
    }
}

#[test]
fn a_first_member_mimetype_names_the_package() {
    let of = |body: &[u8]| name(&archive(&[("mimetype", body), ("content.xml", b"<x/>")]));
    assert_eq!(of(b"application/vnd.oasis.opendocument.text"), "application/vnd.oasis.opendocument.text");
    assert_eq!(of(b"application/epub+zip\n"), "application/epub+zip");
    assert_eq!(of(b"image/png"), "application/zip");
    assert_eq!(of(&[b'a'; 129]), "application/zip");
    assert_eq!(name(&archive(&[("a", b""), ("mimetype", b"application/epub+zip")])), "application/zip");
}

/// A member that says it is 4 GiB: nobody makes room for what is not there.
#[test]
fn a_mimetype_that_lies_about_its_size() {
    let mut bytes = archive(&[("mimetype", b"application/epub+zip")]);
    let central = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    for at in [18, 22, central + 20, central + 24] {
        bytes[at..at + 4].copy_from_slice(&[0xfe, 0xff, 0xff, 0xff]);
    }
    assert_eq!(name(&bytes), "application/zip");
}

/// An OLE file whose header counts more sectors than there can be.
#[test]
fn an_ole_file_that_lies_about_its_size() {
    let bytes =
        [&b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"[..], &[0; 16], b"\x3e\0\x03\0\xfe\xff\x09\0\x06\0", &[0xff; 2000]];
    assert_eq!(name(&bytes.concat()), "application/octet-stream");
}

#[test]
fn the_fixtures_are_what_they_are() {
    for (file, expected) in [
        ("letter.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("plain.zip", "application/zip"),
        ("encrypted.zip", "application/zip"),
        ("page.pdf", "application/pdf"),
        ("clip.mp4", "video/mp4"),
        ("notes.txt", "text/plain"),
        ("page.html", "text/html"),
        ("drawing.svg", "image/svg+xml"),
        ("script.sh", "text/x-shellscript"),
        ("polyglot.jpg", "image/jpeg"),
        ("photo.webp", "image/webp"),
        ("photo.bmp", "image/bmp"),
        ("animated.gif", "image/gif"),
        ("16-bit.png", "image/png"),
    ] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/files").join(file);
        assert_eq!(name(&std::fs::read(path).unwrap()), expected, "{file}");
    }
}
