//! The container of WebP (RFC 9649, section 2.3): chunks of a RIFF file.

/// One chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunk<'a> {
    pub(crate) kind: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// The chunks of a WebP file and the file's length without what trails.
pub(crate) fn file(bytes: &[u8]) -> Result<(Vec<Chunk<'_>>, usize), &'static str> {
    let rest = bytes.strip_prefix(b"RIFF").ok_or("a WebP begins with RIFF")?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or("a WebP header is cut short")?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| "a WebP is too long")?;
    let body = rest.get(..length).ok_or("a WebP shorter than its header says is truncated")?;
    let body = body.strip_prefix(b"WEBP").ok_or("a RIFF file of another kind")?;
    Ok((chunks(body)?, length + 8))
}

/// The chunks in these bytes, each padded to an even length; the last may lack its padding.
pub(crate) fn chunks(mut bytes: &[u8]) -> Result<Vec<Chunk<'_>>, &'static str> {
    let cut = "a WebP chunk is cut short";
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let kind = bytes.get(..4).ok_or(cut)?;
        let (length, rest) = bytes[4..].split_first_chunk::<4>().ok_or(cut)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| cut)?;
        let payload = rest.get(..length).ok_or(cut)?;
        chunks.push(Chunk { kind, payload });
        bytes = rest.get(length.next_multiple_of(2)..).unwrap_or_default();
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_padded_and_what_trails_is_not_part_of_the_file() {
        let bytes = b"RIFF\x16\0\0\0WEBPabcd\x01\0\0\0x\0efgh\0\0\0\0trailing";
        let (chunks, len) = file(bytes).unwrap();
        assert_eq!(len, bytes.len() - 8);
        assert_eq!(chunks[0], Chunk { kind: b"abcd", payload: b"x" });
        assert_eq!(chunks[1], Chunk { kind: b"efgh", payload: b"" });
        for cut in 0..len {
            assert!(file(&bytes[..cut]).is_err(), "{cut}");
        }
    }
}
