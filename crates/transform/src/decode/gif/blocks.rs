//! The blocks of a GIF, without decoding them.

/// What the blocks of a GIF say, from the signature to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blocks {
    /// The screen, made larger where the first frame is: as browsers do.
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) frames: u32,
    /// Length from the signature to behind the end.
    pub(super) len: usize,
}

const END: u8 = 0x3b;
const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2c;

impl Blocks {
    /// Walks the blocks. One that is cut short is an error, a missing end is not: many writers leave it out.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let signature = bytes.strip_prefix(b"GIF87a").or_else(|| bytes.strip_prefix(b"GIF89a"));
        let (screen, rest) = signature
            .ok_or("a GIF begins with its signature")?
            .split_first_chunk::<7>()
            .ok_or("a GIF header is cut short")?;
        let number = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]));
        let &[w0, w1, h0, h1, flags, ..] = screen;
        let (mut width, mut height) = (number(w0, w1), number(h0, h1));
        let mut rest = skip_table(rest, flags)?;
        let mut frames = 0_u32;
        loop {
            rest = match *rest {
                [] => break,
                [END, ref tail @ ..] => {
                    rest = tail;
                    break;
                }
                [EXTENSION, _, ref tail @ ..] => skip_blocks(tail)?,
                [IMAGE, x0, x1, y0, y1, w0, w1, h0, h1, flags, ref tail @ ..] => {
                    if frames == 0 {
                        width = width.max(number(x0, x1) + number(w0, w1));
                        height = height.max(number(y0, y1) + number(h0, h1));
                    }
                    frames = frames.saturating_add(1);
                    skip_blocks(skip_table(tail, flags)?.get(1..).ok_or("a GIF frame is cut short")?)?
                }
                _ => return Err("a GIF has extensions and frames only"),
            }
        }
        if frames == 0 {
            return Err("a GIF without frames");
        }
        Ok(Self { width, height, frames, len: bytes.len() - rest.len() })
    }
}

/// Behind the colour table that these flags announce.
fn skip_table(bytes: &[u8], flags: u8) -> Result<&[u8], &'static str> {
    let len = if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    bytes.get(len..).ok_or("a GIF colour table is cut short")
}

/// Behind a chain of data sub-blocks.
fn skip_blocks(mut bytes: &[u8]) -> Result<&[u8], &'static str> {
    loop {
        let (&len, rest) = bytes.split_first().ok_or("a GIF block is cut short")?;
        bytes = rest.get(usize::from(len)..).ok_or("a GIF block is cut short")?;
        if len == 0 {
            return Ok(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: &[u8] = b"GIF89a\x04\0\x03\0\x80\0\0\0\0\0\xff\xff\xff";
    const CONTROL: &[u8] = b"\x21\xf9\x04\0\0\0\0\0";
    const FRAME: &[u8] = b"\x2c\x01\0\0\0\x05\0\x02\0\0\x02\x02\x4c\x01\0";

    #[test]
    fn frames_are_counted_and_the_first_may_be_larger_than_the_screen() {
        let bytes = [SCREEN, CONTROL, FRAME, FRAME, b"\x3b trailing"].concat();
        let len = bytes.len() - " trailing".len();
        assert_eq!(Blocks::read(&bytes), Ok(Blocks { width: 6, height: 3, frames: 2, len }));
        // Without its end, too.
        let whole = Blocks::read(&bytes[..len - 1]).unwrap();
        assert_eq!((whole.frames, whole.len), (2, len - 1));
        for cut in (0..len - 1).filter(|&cut| cut != len - 1 - FRAME.len()) {
            assert!(Blocks::read(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Blocks::read(b"GIF90a").is_err());
        assert!(Blocks::read(&[SCREEN, b"\x3b"].concat()).is_err());
        assert!(Blocks::read(&[SCREEN, FRAME, b"\x77"].concat()).is_err());
    }
}
