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
    assert_eq!(name("schluss ü".as_bytes()), "text/plain");
}

fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(order).collect()
}

#[test]
fn text_in_the_encodings_that_files_have() {
    assert_eq!(name(b"caf\xe9 \x80 5"), "text/plain");
    assert_eq!(name("\u{feff}grün".as_bytes()), "text/plain");
    assert_eq!(name(&[&b"\xe9 "[..], &"x".repeat(600_000).into_bytes()].concat()), "text/plain");
    for order in [u16::to_le_bytes, u16::to_be_bytes] {
        assert_eq!(name(&utf16("grün 😀", order)), "text/plain");
        assert_eq!(name(&utf16(&"grün 😀".repeat(80_000), order)), "text/plain");
        assert_eq!(name(&utf16("<svg xmlns='x'/>", order)), "image/svg+xml");
        let late = |tag: &str| name(&utf16(&format!("{}{tag}", "😀 ".repeat(90_000)), order));
        assert_eq!(late("<script src=x>"), "text/html");
        assert_eq!(late("\0"), "application/octet-stream");
        assert_eq!(name(&utf16(&format!("{}<img src=x>", " ".repeat(300_000)), order)), "text/html");
    }
}

#[test]
fn why_bytes_are_no_text() {
    let long = [&vec![b'x'; 256 * 1024][..], b"\x1b[2J"].concat();
    let cut = [&vec![b'x'; 256 * 1024 - 1][..], "ü\u{9b}".as_bytes()].concat();
    let broken = [b"\xef\xbb\xbf", &vec![b'x'; 300_000][..], b"\xe9!"].concat();
    for (bytes, why) in [
        (&b"ab\0c"[..], "there is a NUL at byte 2"),
        (b"a\x08", "there is the control character 0x08 at byte 1"),
        (b"a\x7f", "there is the control character 0x7f at byte 1"),
        (&long, "there is the control character 0x1b at byte 262144"),
        (&cut, "there is the control character 0x9b at byte 262145"),
        (b"caf\xe9 \x81", "byte 5 is neither UTF-8 nor Windows-1252"),
        (&broken, "byte 300003 is no UTF-8, which the byte order mark promises"),
        (b"\xff\xfea\0\x00\xd8b\0", "byte 4 is no UTF-16, which the byte order mark promises"),
        (b"\xff\xfea\0b", "byte 4 is no UTF-16, which the byte order mark promises"),
    ] {
        let detected = detect(&spooled(bytes)).unwrap();
        assert!(!detected.is_plain_text);
        assert_eq!(detected.why.as_deref(), Some(why));
    }
    let xml = [b"<?xml version='1.0'?><note>", &vec![b' '; 600][..], b"\0</note>"].concat();
    let xml = detect(&spooled(&xml)).unwrap();
    assert_eq!(xml.media_type.as_str(), "application/octet-stream");
    assert_eq!(xml.why.as_deref(), Some("there is a NUL at byte 627"));
    let active = detect(&spooled(&[&vec![b'x'; 300_000][..], b" <script>"].concat())).unwrap();
    assert_eq!(active.why.as_deref(), Some("what makes it so stands at byte 300001"));
}

#[test]
fn the_element_that_comes_first_decides() {
    for (text, expected) in [
        ("<!-- <html> --><!-- x -->\n<svg/>", "image/svg+xml"),
        ("<?xml version='1.0'?><!DOCTYPE svg PUBLIC 'a' 'b' [<!ENTITY a '<html>'>]><svg>", "image/svg+xml"),
        ("<!DOCTYPE svg><html>", "text/html"),
        ("<html><svg></svg>", "text/html"),
        ("<svg><script>1</script></svg>", "image/svg+xml"),
        ("<a:svg xmlns:a='http://www.w3.org/2000/svg'>", "image/svg+xml"),
        ("<svgs/>", "text/plain"),
    ] {
        assert_eq!(name(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn letters_that_text_begins_with_as_well() {
    for text in [
        "BMW is a maker of cars",
        "GIFts for all",
        "ID3 is a tag",
        "FLV is a format",
        "CWS and FWS",
        "MAC address,name\n02:00:5e:10:00:01,printer",
        "0707 123456 is a number to call",
        "070701 to 070731",
        "MOVIES of the year",
        "SQLite is a database",
        "AC10 is a room",
        "true",
    ] {
        assert_eq!(name(text.as_bytes()), "text/plain", "{text}");
    }
}

#[test]
fn a_pdf_begins_with_its_header() {
    for before in [&b" "[..], b"\n", b"\xef\xbb\xbf", b"x\0", b"<html>"] {
        assert_ne!(name(&[before, b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"].concat()), "application/pdf", "{before:?}");
    }
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
        (b"\0\0\0\x1cftypavis\0\0\0\0", "image/avif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "image/avif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "image/heic"),
        (b"\0\0\0\x14ftypmif1\0\0\0\0mif1heic", "image/heif"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1avif", "image/heic"),
        (b"II*\0\x08\0\0\0\x43\0", "image/tiff"),
        (b"MM\0*\0\0\0\x08\0\x10", "image/tiff"),
        (b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0", "image/x-icon"),
    ] {
        assert_eq!(name(bytes), expected);
    }
}

/// Those of real packers are in `archive/tests/real.rs`.
#[test]
fn archives_by_signature() {
    for (bytes, expected) in [
        (&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], "application/gzip"),
        (b"BZh91AY&SY", "application/x-bzip2"),
        (b"BZh9\x17rE8P\x90", "application/x-bzip2"),
        (b"\xfd7zXZ\0\0\x04", "application/x-xz"),
        (b"\x28\xb5\x2f\xfd\x24", "application/zstd"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "application/x-7z-compressed"),
        (b"Rar!\x1a\x07\0\xcf", "application/vnd.rar"),
        (b"Rar!\x1a\x07\x01\0", "application/vnd.rar"),
    ] {
        assert_eq!(name(bytes), expected);
    }
    for text in ["BZh9 is a word", "7z is an archiver", "Rar! it said"] {
        assert_eq!(name(text.as_bytes()), "text/plain", "{text}");
    }
}

/// A tar begins with a name, which may look like anything; what begins as a document or a program is that.
#[test]
fn a_tar_is_known_by_its_checksum() {
    let of = |first: &str| name(&crate::archive::tests::build::tar(&[(first, b"text")]));
    for first in ["a.txt", "BM", "ID3 tags", "\u{fffd}PNG", "MAC"] {
        assert_eq!(of(first), "application/x-tar", "{first}");
    }
    assert_eq!(of("%PDF-1.7"), "application/pdf");
    assert_eq!(of("GIF89a"), "image/gif");
    assert_eq!(of("#!/bin/sh"), "text/x-shellscript");
    assert_eq!(of("MZ\x01"), "application/vnd.microsoft.portable-executable");
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
    b"\x1f\x8b\x08",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07\x01\0",
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
        proptest::prop_assert!(!one.is_plain_text || bytes.starts_with(b"\xff\xfe") || !bytes.contains(&0));
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
