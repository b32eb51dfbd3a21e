//! The lengths of chunks (RFC 9112, section 7.1).

/// Longer lines are no beginnings of chunks.
pub(super) const MAX_LINE_BYTES: usize = 4 * 1024;

/// The length that a line gives a chunk.
pub(super) fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|b| *b == b';').next()?;
    let digits = std::str::from_utf8(digits).ok()?.trim_end_matches([' ', '\t']);
    // No sign, and nothing that overflows.
    let hex = (1..=16).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    hex.then(|| u64::from_str_radix(digits, 16).ok())?
}

/// `bytes` as a chunk. An empty one would be the last: there is none.
pub(super) fn of(bytes: &[u8]) -> Vec<u8> {
    if bytes.is_empty() {
        return Vec::new();
    }
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// What ends a body, and a preview after which more may come.
pub(super) const LAST: &[u8] = b"0\r\n\r\n";
