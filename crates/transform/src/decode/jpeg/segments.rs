//! The structure of a JPEG (ITU-T T.81, annex B), without decoding it.

/// What the segments of a JPEG say, from the start of image to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segments {
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// Bits of a sample.
    pub(crate) precision: u8,
    /// The marker of the frame: how it is coded (T.81, table B.1).
    pub(crate) coding: u8,
    /// How many components its pixels have.
    pub(crate) components: u8,
    /// Whether all components have as many samples.
    pub(crate) is_even: bool,
    /// How many scans there are.
    pub(crate) scans: u32,
    /// Bytes between the markers of scans, their coded data.
    pub(crate) coded: usize,
    /// Whether there is a segment that no decoder of pixels needs: any application segment but JFIF, a comment.
    pub(crate) carries_metadata: bool,
    /// Length from the start of image to behind its end.
    pub(crate) len: usize,
}

/// `"JFIF\0"`, version, density and an empty thumbnail.
const JFIF_BYTES: usize = 14;

const BASELINE: u8 = 0xc0;
const EXTENDED: u8 = 0xc1;
const PROGRESSIVE: u8 = 0xc2;

impl Segments {
    /// Walks the segments. An image without its end marker is truncated.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        if !bytes.starts_with(&[0xff, 0xd8]) {
            return Err("a JPEG begins with its start marker");
        }
        let mut at = 2;
        let mut frame = None;
        let mut found = Self {
            width: 0,
            height: 0,
            precision: 0,
            coding: 0,
            components: 0,
            is_even: true,
            scans: 0,
            coded: 0,
            carries_metadata: false,
            len: 0,
        };
        loop {
            let before = at;
            let marker = next_marker(bytes, &mut at)?;
            if found.scans > 0 {
                found.coded += at - before;
            }
            if marker == 0xd9 {
                break;
            }
            if matches!(marker, 0x01 | 0xd0..=0xd8) {
                continue;
            }
            let payload = segment(bytes, &mut at)?;
            match marker {
                0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                    let another = frame.replace((marker, read_frame(payload)?));
                    another.map_or(Ok(()), |_| Err("a JPEG has one frame"))?;
                    // Of each component its name, its samples and its table.
                    let mut samples =
                        payload.get(6..).unwrap_or_default().chunks_exact(3).map(|component| component[1]);
                    let first = samples.next();
                    found.is_even = samples.all(|other| Some(other) == first);
                }
                0xda => {
                    frame.ok_or("a JPEG's scan follows its frame header")?;
                    found.scans = found.scans.saturating_add(1);
                }
                0xe0 => found.carries_metadata |= !payload.starts_with(b"JFIF\0") || payload.len() != JFIF_BYTES,
                0xe1..=0xfe => found.carries_metadata = true,
                _ => {}
            }
        }
        let (coding, [precision, h1, h0, w1, w0, components]) = frame.ok_or("a JPEG has a frame header")?;
        if found.scans == 0 {
            return Err("a JPEG has a scan");
        }
        let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        Ok(Self { width, height, precision, coding, components, len: at, ..found })
    }

    /// Whether its scans refine each other, so that there may be many.
    pub(crate) const fn is_progressive(&self) -> bool {
        self.coding == PROGRESSIVE
    }

    /// Whether it is of a kind that is decoded, and right.
    pub(crate) fn check_supported(&self) -> Result<(), &'static str> {
        match self.coding {
            BASELINE | EXTENDED | PROGRESSIVE => {}
            0xc3 => return Err("a lossless JPEG is not supported"),
            0xc5..=0xc7 | 0xcd..=0xcf => return Err("a hierarchical JPEG is not supported"),
            _ => return Err("a JPEG with arithmetic coding is not supported"),
        }
        if self.precision != 8 {
            return Err("a JPEG of more than eight bits a sample is not supported");
        }
        if !matches!(self.components, 1 | 3 | 4) {
            return Err("a JPEG has one, three or four components");
        }
        if !self.is_progressive() && self.scans > 1 {
            // zune-jpeg 0.5 decodes these to garbage without an error (zune-image issues 422 and 448).
            return Err("a baseline JPEG in several scans is not supported");
        }
        // Some component has every second block of each direction at least, and a block takes a bit, of a scan with
        // all of its coefficients two.
        let blocks = u64::from(self.width.div_ceil(16)) * u64::from(self.height.div_ceil(16));
        let bits = if self.is_progressive() { blocks } else { blocks * 2 };
        if (self.coded as u64).saturating_mul(8) < bits {
            return Err("a JPEG with less data than its pixels need is truncated");
        }
        Ok(())
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

/// Precision, height, width and components.
fn read_frame(payload: &[u8]) -> Result<[u8; 6], &'static str> {
    payload.first_chunk().copied().ok_or("a JPEG frame header is cut short")
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
        assert!(!segments.carries_metadata && !segments.is_progressive());
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
