//! The second layer: what looks like a credential is masked before it is written, and so are the secrets that this
//! process knows.

use std::{
    io::{self, Write},
    sync::Arc,
};

use tracing_subscriber::fmt::MakeWriter;

/// What stands in the place of a credential.
const MASK: &str = "[redacted]";

/// Names whose value is a credential, in lower case. `signature` covers `X-Amz-Signature` and the `Authorization`
/// header of AWS; likewise `credential`.
const NAMES: [&str; 9] = [
    "x-amz-signature",
    "x-amz-credential",
    "x-amz-security-token",
    "authorization",
    "signature",
    "credential",
    "secret_access_key",
    "secretaccesskey",
    "session_token",
];

/// Masks credentials in text.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    secrets: Arc<[String]>,
}

impl Redactor {
    /// Masks these values wherever they stand, next to everything that looks like a credential.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        Self { secrets: secrets.into_iter().filter(|secret| !secret.is_empty()).collect() }
    }

    /// The text without credentials.
    pub fn redact(&self, text: &str) -> String {
        let text = self.secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, MASK));
        mask_named(&text)
    }
}

/// Masks `name=value`, `name: value`, `"name":"value"` and their percent-encoded form.
fn mask_named(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some((start, name)) = next_name(&lower, at) {
        let after_name = start + name.len();
        let separator = separator_len(&lower[after_name..]);
        let value = after_name + separator;
        let length = if separator == 0 { 0 } else { value_len(&lower[value..], name) };
        out.push_str(&text[at..value]);
        if length > 0 {
            out.push_str(MASK);
        }
        at = value + length;
    }
    out.push_str(&text[at..]);
    out
}

fn next_name(lower: &str, from: usize) -> Option<(usize, &'static str)> {
    NAMES
        .iter()
        .filter_map(|name| lower[from..].find(name).map(|found| (from + found, *name)))
        // At one place the longest name wins; all names are ASCII, so every index is a boundary.
        .min_by_key(|(start, name)| (*start, usize::MAX - name.len()))
}

/// Everything between a name and its value: quotes, brackets, spaces, and one `:` or `=` at least.
fn separator_len(rest: &str) -> usize {
    let mut length = 0;
    let mut assigned = false;
    loop {
        let tail = &rest[length..];
        if tail.starts_with("%3d") {
            (length, assigned) = (length + 3, true);
        } else if tail.starts_with([':', '=']) {
            (length, assigned) = (length + 1, true);
        } else if tail.starts_with(['"', '\'', '\\', ' ', '[', '(']) {
            length += 1;
        } else {
            return if assigned { length } else { 0 };
        }
    }
}

fn value_len(rest: &str, name: &str) -> usize {
    // The value of the Authorization header holds spaces and commas.
    let ends: &[char] = if name == "authorization" {
        &['"', '\'', '\\', '\n', '\r', '}', ']']
    } else {
        &['"', '\'', '\\', '\n', '\r', '}', ']', ')', '&', ' ', ',', ';', '<', '>']
    };
    rest.find(ends).unwrap_or(rest.len())
}

/// Writes lines to the standard error stream, redacted.
#[derive(Debug, Clone)]
pub(super) struct RedactedStderr(pub(super) Redactor);

impl<'a> MakeWriter<'a> for RedactedStderr {
    type Writer = Redacted<'a, io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        Redacted { redactor: &self.0, inner: io::stderr() }
    }
}

/// Redacts what is written. The layer above writes one whole event at a time, so nothing is split.
pub(super) struct Redacted<'a, W> {
    redactor: &'a Redactor,
    inner: W,
}

impl<W: Write> Write for Redacted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.inner.write_all(self.redactor.redact(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_queries_and_headers_are_masked() {
        let redactor = Redactor::new(["wJalrXUtnFEMI".to_owned()]);
        for (text, expected) in [
            (
                "PUT /k?X-Amz-Credential=AKIA%2F2026&X-Amz-Date=1&X-Amz-Signature=abc123 done",
                "PUT /k?X-Amz-Credential=[redacted]&X-Amz-Date=1&X-Amz-Signature=[redacted] done",
            ),
            (
                "authorization: AWS4-HMAC-SHA256 Credential=AKIA/x, SignedHeaders=host, Signature=abc\nhost: h",
                "authorization: [redacted]\nhost: h",
            ),
            (
                r#"{"headers":{"authorization":"Bearer abc","x-amz-security-token":"tok"},"b":1}"#,
                r#"{"headers":{"authorization":"[redacted]","x-amz-security-token":"[redacted]"},"b":1}"#,
            ),
            (r#"{\"X-Amz-Security-Token\": \"tok\"}"#, r#"{\"X-Amz-Security-Token\": \"[redacted]\"}"#),
            ("x-amz-signature%3Dabc%26x", "x-amz-signature%3D[redacted]"),
            ("key wJalrXUtnFEMI leaks", "key [redacted] leaks"),
            ("the signature of clamd is old: signatures 27000", "the signature of clamd is old: signatures 27000"),
            ("Grüße: credential", "Grüße: credential"),
        ] {
            assert_eq!(redactor.redact(text), expected);
        }
    }

    #[test]
    fn a_finding_of_a_scanner_stays_readable() {
        // The one field of ours whose name looks like a credential is masked too: findings are logged as `finding`.
        let text = r#"{"finding":"infected","detail":"Eicar-Test-Signature"}"#;
        assert_eq!(Redactor::default().redact(text), text);
    }
}
