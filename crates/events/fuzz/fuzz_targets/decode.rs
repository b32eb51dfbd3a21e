//! Any bytes as a message: alone, as the data of a `CloudEvent` in binary mode, and behind attributes of their own.

#![no_main]

use std::collections::BTreeMap;

use lazaret_events::{Record, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    check(bytes, &BTreeMap::new());
    check(bytes, &attributes("ce-specversion=1.0\nce-type=com.amazonaws.s3.ObjectCreated:Put"));
    // Lines of `name=value`, a NUL, the body.
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        check(&bytes[end + 1..], &attributes(&String::from_utf8_lossy(&bytes[..end])));
    }
});

fn attributes(lines: &str) -> BTreeMap<String, String> {
    let pairs = lines.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// An answer, never a panic. What was understood holds something, and is understood again after Lazaret wrote it.
fn check(body: &[u8], attributes: &BTreeMap<String, String>) {
    let decoded = match decode(body, attributes) {
        Ok(decoded) => decoded,
        Err(error) => {
            assert!(error.to_string().len() < 4096, "an error repeats the message");
            return;
        }
    };
    assert!(decoded.records.len() + decoded.bad.len() > 0, "an empty answer");
    for record in decoded.records {
        let Record::Created(event) = record else { continue };
        let written = encode(&event.bucket, &event.key, event.version.as_ref());
        let again = decode(written.as_bytes(), &BTreeMap::new()).expect("what Lazaret wrote is understood");
        let [Record::Created(again)] = &again.records[..] else { panic!("{again:?}") };
        assert_eq!((&again.bucket, &again.key, &again.version), (&event.bucket, &event.key, &event.version));
    }
}
