//! The chunks of a PNG, without what is in them.

/// What the chunks of a PNG say, from the signature to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunks<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    /// EXIF data, before or behind the pixels.
    pub(super) exif: Option<&'a [u8]>,
    /// Length from the signature to behind the end.
    pub(super) len: usize,
}

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

impl<'a> Chunks<'a> {
    /// Walks the chunks. An image without its end is truncated.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let mut rest = bytes.strip_prefix(SIGNATURE).ok_or("a PNG begins with its signature")?;
        let mut size = None;
        let mut exif = None;
        loop {
            let (kind, payload, tail) = chunk(rest).ok_or("a PNG without an end is truncated")?;
            rest = tail;
            match (kind, size) {
                (b"IHDR", None) => {
                    let (width, more) = payload.split_first_chunk().ok_or("a PNG header is cut short")?;
                    let height = more.first_chunk().ok_or("a PNG header is cut short")?;
                    size = Some((u32::from_be_bytes(*width), u32::from_be_bytes(*height)));
                }
                (_, None) => return Err("a PNG begins with its header"),
                (b"IEND", Some((width, height))) => {
                    return Ok(Self { width, height, exif, len: bytes.len() - rest.len() });
                }
                (b"eXIf", Some(_)) => exif = exif.or(Some(payload)),
                (_, Some(_)) => {}
            }
        }
    }
}

/// Kind and payload of the first chunk, and what follows its checksum.
fn chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let payload = rest.get(..length)?;
    Some((kind, payload, rest.get(length.checked_add(4)?..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_and_every_cut_is_noticed() {
        let chunk = |kind: &[u8; 4], payload: &[u8]| {
            [&u32::try_from(payload.len()).unwrap().to_be_bytes(), &kind[..], payload, b"crc!"].concat()
        };
        let parts = [chunk(b"IHDR", b"\0\0\0\x03\0\0\0\x02\x08\0\0\0\0"), chunk(b"eXIf", b"MM"), chunk(b"IEND", b"")];
        let mut bytes = [SIGNATURE, &parts.concat()].concat();
        let len = bytes.len();
        for cut in 0..len {
            assert!(Chunks::read(&bytes[..cut]).is_err(), "{cut}");
        }
        bytes.extend_from_slice(b"PK trailing");
        assert_eq!(Chunks::read(&bytes), Ok(Chunks { width: 3, height: 2, exif: Some(b"MM"), len }));
        assert!(Chunks::read(&[SIGNATURE, &chunk(b"IEND", b"")].concat()).is_err());
    }
}
