//! The structure of a JPEG (ITU-T T.81, annex B), without decoding it.

/// What the segments of a JPEG say, from the start of image to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segments {
    pub(super) width: u16,
    pub(super) height: u16,
    /// Whether its scans refine each other (SOF2), so that there may be many.
    pub(super) progressive: bool,
    /// How many scans there are.
    pub(super) scans: u32,
    /// Whether there is a segment that no decoder of pixels needs: any application segment but JFIF, a comment.
    pub(super) carries_metadata: bool,
    /// Length from the start of image to behind its end.
    pub(super) len: usize,
}

/// `"JFIF\0"`, version, density and an empty thumbnail.
const JFIF_BYTES: usize = 14;

impl Segments {
    /// Walks the segments. An image without its end marker is truncated.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        if !bytes.starts_with(&[0xff, 0xd8]) {
            return Err("a JPEG begins with its start marker");
        }
        let mut at = 2;
        let mut frame = None;
        let mut scans = 0_u32;
        let mut carries_metadata = false;
        loop {
            let marker = next_marker(bytes, &mut at)?;
            if marker == 0xd9 {
                break;
            }
            if matches!(marker, 0x01 | 0xd0..=0xd8) {
                continue;
            }
            let payload = segment(bytes, &mut at)?;
            match marker {
                0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    let another = frame.replace(read_frame(marker, payload)?);
                    another.map_or(Ok(()), |_| Err("a JPEG has one frame"))?;
                }
                0xda => {
                    frame.ok_or("a JPEG's scan follows its frame header")?;
                    scans = scans.saturating_add(1);
                }
                0xe0 => carries_metadata |= !payload.starts_with(b"JFIF\0") || payload.len() != JFIF_BYTES,
                0xe1..=0xfe => carries_metadata = true,
                _ => {}
            }
        }
        let (width, height, progressive) = frame.ok_or("a JPEG has a frame header")?;
        if scans == 0 {
            return Err("a JPEG has a scan");
        }
        Ok(Self { width, height, progressive, scans, carries_metadata, len: at })
    }
}

/// Moves behind the next marker, over coded data, stuffed zeroes, restarts and fill bytes, and answers its code.
fn next_marker(bytes: &[u8], at: &mut usize) -> Result<u8, &'static str> {
    let mut rest = bytes.get(*at..).unwrap_or_default();
    loop {
        let escape = rest.iter().position(|&byte| byte == 0xff).ok_or("a JPEG without an end is truncated")?;
        rest = &rest[escape + 1..];
        match rest.first() {
            None => return Err("a JPEG without an end is truncated"),
            Some(0xff) => {}
            Some(0x00 | 0xd0..=0xd7) => rest = &rest[1..],
            Some(&marker) => {
                *at = bytes.len() - rest.len() + 1;
                return Ok(marker);
            }
        }
    }
}

/// The payload of the segment at `at`, which moves behind it.
fn segment<'a>(bytes: &'a [u8], at: &mut usize) -> Result<&'a [u8], &'static str> {
    let truncated = "a JPEG segment is cut short";
    let rest = bytes.get(*at..).unwrap_or_default();
    let (length, _) = rest.split_first_chunk::<2>().ok_or(truncated)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let payload = rest.get(2..length).ok_or(truncated)?;
    *at += length;
    Ok(payload)
}

fn read_frame(marker: u8, payload: &[u8]) -> Result<(u16, u16, bool), &'static str> {
    let &[_, h1, h0, w1, w0, ..] = payload else { return Err("a JPEG frame header is cut short") };
    Ok((u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]), marker == 0xc2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &[u8] = &[0xff, 0xc0, 0, 11, 8, 0, 2, 0, 3, 1, 1, 0x11, 0];
    const SCAN: &[u8] = &[0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 1, 0xff, 0, 2, 0xff, 0xd0, 3];

    fn jpeg(parts: &[&[u8]]) -> Vec<u8> {
        [&[0xff, 0xd8][..], &parts.concat()].concat()
    }

    #[test]
    fn a_whole_image_is_measured_to_its_end() {
        let mut bytes = jpeg(&[FRAME, SCAN, &[0xff, 0xff, 0xd9]]);
        let len = bytes.len();
        bytes.extend_from_slice(b"PK trailing");
        let segments = Segments::read(&bytes).unwrap();
        assert_eq!((segments.width, segments.height, segments.scans, segments.len), (3, 2, 1, len));
        assert!(!segments.carries_metadata && !segments.progressive);
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = jpeg(&[FRAME, SCAN, &[0xff, 0xd9]]);
        for len in 0..bytes.len() {
            assert!(Segments::read(&bytes[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn scans_and_metadata_are_counted() {
        let comment = [0xff, 0xfe, 0, 4, b'h', b'i'];
        let segments = Segments::read(&jpeg(&[&comment, FRAME, SCAN, SCAN, SCAN, &[0xff, 0xd9]])).unwrap();
        assert_eq!(segments.scans, 3);
        assert!(segments.carries_metadata);
        assert!(Segments::read(&jpeg(&[FRAME, FRAME, SCAN, &[0xff, 0xd9]])).is_err());
        assert!(Segments::read(&jpeg(&[SCAN, FRAME, &[0xff, 0xd9]])).is_err());
    }
}
