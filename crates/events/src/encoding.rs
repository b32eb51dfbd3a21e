//! How writers of S3 notification records encode keys.

use lazaret_core::ObjectKey;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What AWS leaves as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'*').remove(b'/');

pub(crate) fn form_encode(key: &ObjectKey) -> String {
    utf8_percent_encode(key.as_str(), FORM).to_string()
}

/// `application/x-www-form-urlencoded`, strictly: a writer that leaves a bare `%` does not encode keys this way, and
/// what it means is not guessed.
pub(crate) fn form_decode(text: &str) -> Result<String, &'static str> {
    let bare_percent = text.split('%').skip(1).any(|rest| {
        let digits = rest.as_bytes().get(..2);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    if bare_percent {
        return Err("a percent sign without two hexadecimal digits is not form encoding");
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| "does not decode to UTF-8")?;
    Ok(decoded.into_owned())
}
