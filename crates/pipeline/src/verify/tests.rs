use std::io::Write;

use lazaret_core::{Action, Policy, Sha256Digest};

use super::*;

fn policies() -> PolicySet {
    let policy = |name: &str, types: &[&str], action| Policy {
        name: name.into(),
        types: types.iter().map(|t| t.parse().unwrap()).collect(),
        action,
        scanners: vec!["clamd".parse().unwrap()],
        optional_scanners: Vec::new(),
        reuse_verdicts: None,
        max_size: Some(1000),
        max_pixels: None,
        max_side: None,
        max_frames: None,
        image: lazaret_core::ImageOutput::default(),
    };
    PolicySet::new(vec![
        policy("images", &["image/png", "image/jpeg"], Action::ReEncode),
        policy("text", &["text/plain", "text/csv", "application/json"], Action::AsIs),
    ])
}

fn outcome(bytes: &[u8], name: &str, declared: &str) -> Result<String, Rejection> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let object = Spooled::new(file, bytes.len() as u64, Sha256Digest::from_bytes([0; 32]), ());
    let promise = Promise {
        file_name: name.parse().unwrap(),
        media_type: declared.parse().unwrap(),
        size: bytes.len() as u64,
        sha256: None,
    };
    let policies = policies();
    check_content(&object, &promise, &policies).unwrap().map(|verified| verified.media_type.to_string())
}

fn check(bytes: &[u8], name: &str, declared: &str) -> Result<String, RejectReason> {
    outcome(bytes, name, declared).map_err(|rejection| rejection.reason)
}

fn rejected(bytes: &[u8], name: &str, declared: &str) -> Rejection {
    outcome(bytes, name, declared).unwrap_err()
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";

#[test]
fn declared_detected_and_extension_must_agree() {
    assert_eq!(check(PNG, "a.png", "image/png"), Ok("image/png".into()));
    assert_eq!(check(PNG, "a", "image/png"), Ok("image/png".into()));
    assert_eq!(check(PNG, "a.unheard-of", "image/png"), Ok("image/png".into()));
    assert_eq!(check(PNG, "a.png", "image/jpeg"), Err(RejectReason::TypeMismatch));
    assert_eq!(check(PNG, "a.jpg", "image/png"), Err(RejectReason::ExtensionMismatch));
    assert_eq!(check(b"\x7fELF\x02\x01\x01\0", "a.png", "image/png"), Err(RejectReason::TypeMismatch));
    assert_eq!(check(b"GIF89a\x01\0\x01\0", "a.gif", "image/gif"), Err(RejectReason::TypeNotAllowed));
    assert_eq!(check(b"\xff\xd8\xff\xe0\0\x10JFIF\0", "a.jpg", "image/jpg"), Ok("image/jpeg".into()));
}

#[test]
fn old_and_new_names_of_a_type_are_one() {
    let icon = b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0";
    for (bytes, file, declared) in [
        (&icon[..], "a.ico", "image/x-icon"),
        (icon, "a.ico", "image/vnd.microsoft.icon"),
        (b"II*\0\x08\0\0\0\0\0", "a.TIF", "image/tiff"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "a.avif", "image/avif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "a.heif", "image/heif"),
    ] {
        // Nothing is wrong but that these policies do not have them.
        assert_eq!(check(bytes, file, declared), Err(RejectReason::TypeNotAllowed), "{declared}");
    }
    assert_eq!(check(PNG, "a.apng", "image/apng"), Ok("image/png".into()));
}

#[test]
fn heic_is_refused_in_plain_words() {
    let rejection = rejected(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a.heic", "image/heic");
    assert_eq!(rejection.reason, RejectReason::TypeNotAllowed);
    assert_eq!(rejection.detail, "no policy allows image/heic: it is not decoded here; JPEG, PNG, WebP and AVIF are");
}

#[test]
fn what_is_no_text_is_refused_with_the_place() {
    let rejection = rejected(b"ab\0c", "a.txt", "text/plain");
    assert_eq!(rejection.reason, RejectReason::TypeMismatch);
    let told = "the bytes are application/octet-stream, text/plain was declared; there is a NUL at byte 2";
    assert_eq!(rejection.detail, told);
}

#[test]
fn active_text_never_passes_as_plain() {
    for body in ["<html>", "<svg/>", "#!/bin/sh\n", "<script>1</script>", "note: <script src=x>"] {
        assert_eq!(check(body.as_bytes(), "a.txt", "text/plain"), Err(RejectReason::TypeMismatch), "{body}");
    }
    assert_eq!(check(b"alert(1)", "a.js", "text/plain"), Err(RejectReason::ExtensionMismatch));
    assert_eq!(check(b"WScript.Echo 1", "a.vbs", "text/plain"), Err(RejectReason::ExtensionMismatch));
}

#[test]
fn text_may_be_declared_more_finely() {
    assert_eq!(check(b"a,b\n1,2\n", "a.csv", "text/csv"), Ok("text/csv".into()));
    assert_eq!(check(b"{\"a\":1}", "a.json", "application/json"), Ok("application/json".into()));
    assert_eq!(check(b"{\"a\":", "a.json", "application/json"), Err(RejectReason::TypeMismatch));
    assert_eq!(check(b"plain", "a.txt", "image/png"), Err(RejectReason::TypeMismatch));
}

#[test]
fn json_is_parsed_in_flat_memory() {
    let json = |bytes: &[u8]| check(bytes, "a.json", "application/json");
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(json(nested(128).as_bytes()), Ok("application/json".into()));
    assert_eq!(json(nested(129).as_bytes()), Err(RejectReason::TypeMismatch));
    assert_eq!(json(&vec![b'['; 8 << 20]), Err(RejectReason::TypeMismatch));
    assert_eq!(json("{\"a\":".repeat(200).as_bytes()), Err(RejectReason::TypeMismatch));
    assert_eq!(
        json(format!("[\"{}\\\"{}\"]", "[".repeat(200), "{".repeat(200)).as_bytes()),
        Ok("application/json".into())
    );
    assert_eq!(json(b"[1] [2]"), Err(RejectReason::TypeMismatch));
    let flat = format!("[{}[]]", "[],".repeat(200));
    assert_eq!(json(flat.as_bytes()), Ok("application/json".into()));
}

#[test]
fn names_that_a_system_acts_on_are_never_plain_text() {
    for extension in ["xht", "xhtml", "mht", "mhtml", "desktop", "chm", "scf", "hta", "url", "lnk"] {
        let refused = check(b"[Desktop Entry]", &format!("a.{extension}"), "text/plain");
        assert_eq!(refused, Err(RejectReason::ExtensionMismatch), "{extension}");
    }
}

#[test]
fn sizes() {
    let reason = |actual, declared, limit| check_size(actual, declared, limit).unwrap_err().reason;
    assert_eq!(reason(0, 0, 10), RejectReason::Empty);
    assert_eq!(reason(11, 11, 10), RejectReason::TooLarge);
    assert_eq!(reason(9, 8, 10), RejectReason::SizeMismatch);
    assert_eq!(check_size(9, 9, 10), Ok(()));
    assert_eq!(check(&[b'x'; 1001], "a.txt", "text/plain"), Err(RejectReason::TooLarge));
}
