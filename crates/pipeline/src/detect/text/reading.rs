//! The whole of a text, chunk by chunk.
//!
//! Text is UTF-8, UTF-16 where a byte order mark says so, or Windows-1252, in which the old world's files are; without
//! control characters but tab, line feed, form feed and carriage return. An escape is one: what terminals act on, and
//! how ISO-2022 changes its alphabet.

use thiserror::Error;

use super::ACTIVE_TAGS;

/// The longest active tag and one byte behind it that ends it.
const OVERLAP_BYTES: usize = 24;

/// Why bytes are no text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Binary {
    #[error("there is a NUL at byte {0}")]
    Nul(u64),
    #[error("there is the control character 0x{0:02x} at byte {1}")]
    Control(u8, u64),
    #[error("byte {0} is neither UTF-8 nor Windows-1252")]
    Undefined(u64),
    #[error("byte {0} is no UTF-8, which the byte order mark promises")]
    NotUtf8(u64),
    #[error("byte {0} is no UTF-16, which the byte order mark promises")]
    NotUtf16(u64),
}

/// How characters are made of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// With a byte order mark.
    Utf8,
    /// With a byte order mark; the other way round where it says so.
    Utf16 { is_big_endian: bool },
    /// UTF-8 or Windows-1252: known only at the end.
    Unmarked,
}

/// What was learnt of a text so far.
#[derive(Debug)]
pub(super) struct Reading {
    encoding: Encoding,
    /// Bytes taken.
    position: u64,
    /// The beginning of a character that a chunk cut.
    cut: Vec<u8>,
    /// Where UTF-8 first broke.
    broken: Option<u64>,
    /// Where a byte first was that Windows-1252 does not have.
    undefined: Option<u64>,
    /// The end of what was searched for tags, and where it begins.
    overlap: Vec<u8>,
    active: Option<(&'static str, u64)>,
    begun: Option<u64>,
}

impl Reading {
    /// Begins with the first chunk, which is not added by that.
    pub(super) fn begin(chunk: &[u8]) -> Self {
        let encoding = match chunk {
            [0xff, 0xfe, ..] => Encoding::Utf16 { is_big_endian: false },
            [0xfe, 0xff, ..] => Encoding::Utf16 { is_big_endian: true },
            [0xef, 0xbb, 0xbf, ..] => Encoding::Utf8,
            _ => Encoding::Unmarked,
        };
        Self {
            encoding,
            position: 0,
            cut: Vec::new(),
            broken: None,
            undefined: None,
            overlap: Vec::new(),
            active: None,
            begun: None,
        }
    }

    /// The first active tag, and the byte of the text's UTF-8 where it stands.
    pub(super) const fn active(&self) -> Option<(&'static str, u64)> {
        self.active
    }

    /// What says in the middle of the text how it is to be read.
    pub(super) const fn mark(&self) -> &'static [u8] {
        match self.encoding {
            Encoding::Utf16 { is_big_endian: false } => &[0xff, 0xfe],
            Encoding::Utf16 { is_big_endian: true } => &[0xfe, 0xff],
            Encoding::Utf8 | Encoding::Unmarked => &[],
        }
    }

    /// The first byte that is neither white space nor of a byte order mark.
    pub(super) const fn begun_at(&self) -> Option<u64> {
        self.begun
    }

    /// Takes the next chunk.
    pub(super) fn add(&mut self, chunk: &[u8], is_last: bool) -> Result<(), Binary> {
        match self.encoding {
            Encoding::Utf16 { is_big_endian: false } => self.add_utf16(chunk, u16::from_le_bytes, is_last),
            Encoding::Utf16 { is_big_endian: true } => self.add_utf16(chunk, u16::from_be_bytes, is_last),
            Encoding::Utf8 | Encoding::Unmarked => self.add_bytes(chunk, is_last),
        }
    }

    fn add_bytes(&mut self, chunk: &[u8], is_last: bool) -> Result<(), Binary> {
        let start = self.position;
        let at = |index: usize| start + index as u64;
        if let Some(index) = chunk.iter().position(|&byte| is_control(byte)) {
            return Err(control(chunk[index], at(index)));
        }
        if self.undefined.is_none() {
            self.undefined = chunk.iter().position(|&byte| !is_windows_1252(byte)).map(at);
        }
        if self.broken.is_none() {
            self.check_utf8(chunk, is_last)?;
        }
        if self.begun.is_none() {
            self.begun = chunk.iter().position(|&byte| !is_before_text(byte)).map(at);
        }
        self.search(chunk, start, is_last);
        self.position += chunk.len() as u64;
        match (self.broken, self.undefined) {
            (Some(at), _) if self.encoding == Encoding::Utf8 => Err(Binary::NotUtf8(at)),
            (Some(_), Some(at)) => Err(Binary::Undefined(at)),
            _ => Ok(()),
        }
    }

    fn check_utf8(&mut self, chunk: &[u8], is_last: bool) -> Result<(), Binary> {
        let start = self.position - self.cut.len() as u64;
        // Most chunks cut no character, and are looked at where they are.
        let joined;
        let bytes = if self.cut.is_empty() {
            chunk
        } else {
            joined = [&self.cut, chunk].concat();
            &joined[..]
        };
        let (valid, cut) = match std::str::from_utf8(bytes) {
            Ok(valid) => (valid, Vec::new()),
            Err(error) => {
                let (valid, rest) = bytes.split_at(error.valid_up_to());
                if is_last || error.error_len().is_some() {
                    self.broken = Some(start + valid.len() as u64);
                }
                // What comes before the error is valid.
                (std::str::from_utf8(valid).unwrap_or_default(), rest.to_vec())
            }
        };
        // The second set of control characters is two bytes long here; in Windows-1252 those bytes are letters.
        let second = valid.as_bytes().windows(2).position(|pair| is_second_control(pair[0], pair[1]));
        if let (Some(index), None) = (second, self.broken) {
            return Err(Binary::Control(valid.as_bytes()[index + 1], start + index as u64));
        }
        self.cut = if self.broken.is_some() { Vec::new() } else { cut };
        Ok(())
    }

    fn add_utf16(&mut self, chunk: &[u8], order: fn([u8; 2]) -> u16, is_last: bool) -> Result<(), Binary> {
        let start = self.position - self.cut.len() as u64;
        let bytes = [&std::mem::take(&mut self.cut)[..], chunk].concat();
        let mut text = String::with_capacity(bytes.len());
        let mut taken = 0_usize;
        for unit in char::decode_utf16(bytes.chunks_exact(2).map(|pair| order([pair[0], pair[1]]))) {
            let Ok(c) = unit else { break };
            let at = start + taken as u64;
            match u8::try_from(u32::from(c)) {
                Ok(byte) if is_control(byte) => return Err(control(byte, at)),
                Ok(byte @ 0x80..=0x9f) if byte != 0x85 => return Err(Binary::Control(byte, at)),
                _ => {}
            }
            if self.begun.is_none() && !c.is_whitespace() && c != '\u{feff}' {
                self.begun = Some(at);
            }
            text.push(c);
            taken += 2 * c.len_utf16();
        }
        let rest = &bytes[taken..];
        // What is left can only be the first half of a character, which takes three bytes at most.
        if rest.len() > 3 || (is_last && !rest.is_empty()) {
            return Err(Binary::NotUtf16(start + taken as u64));
        }
        self.cut = rest.to_vec();
        self.position += chunk.len() as u64;
        self.search(text.as_bytes(), start, is_last);
        Ok(())
    }

    /// Looks for active tags in what is new, and across its beginning.
    fn search(&mut self, new: &[u8], start: u64, is_last: bool) {
        if self.active.is_some() {
            return;
        }
        let seam_end = new.len().min(OVERLAP_BYTES);
        let seam = [&self.overlap[..], &new[..seam_end]].concat();
        let seam_start = start.saturating_sub(self.overlap.len() as u64);
        let whole = seam_end == new.len();
        let across = active_tag(&seam, is_last && whole).map(|(media, at)| (media, seam_start + at as u64));
        let within = || active_tag(new, is_last).map(|(media, at)| (media, start + at as u64));
        self.active = across.or_else(within);
        let tail = if whole { &seam[..] } else { new };
        self.overlap = tail[tail.len().saturating_sub(OVERLAP_BYTES)..].to_vec();
    }
}

/// The first active tag that is whole within `bytes`; at the end of the text, what is cut there counts as ended.
fn active_tag(bytes: &[u8], at_end: bool) -> Option<(&'static str, usize)> {
    let opened = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'<');
    opened.map(|(at, _)| (at, &bytes[at..])).find_map(|(at, rest)| {
        let (_, media) = ACTIVE_TAGS.iter().find(|(tag, _)| {
            let named = rest.get(..tag.len()).is_some_and(|name| name.eq_ignore_ascii_case(tag.as_bytes()));
            let ends = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/' | b':');
            named && rest.get(tag.len()).map_or(at_end, |byte| ends(*byte))
        })?;
        Some((*media, at))
    })
}

fn control(byte: u8, at: u64) -> Binary {
    if byte == 0 { Binary::Nul(at) } else { Binary::Control(byte, at) }
}

/// Control characters but tab, line feed, form feed and carriage return.
const fn is_control(byte: u8) -> bool {
    matches!(byte, 0x00..=0x08 | 0x0b | 0x0e..=0x1f | 0x7f)
}

/// U+0080 to U+009F in UTF-8, but for U+0085, the next line of mainframes.
const fn is_second_control(first: u8, second: u8) -> bool {
    first == 0xc2 && matches!(second, 0x80..=0x84 | 0x86..=0x9f)
}

/// Whether Windows-1252 has a character there (<https://encoding.spec.whatwg.org/index-windows-1252.txt>, without its
/// control characters).
const fn is_windows_1252(byte: u8) -> bool {
    !matches!(byte, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d)
}

/// White space, or of a byte order mark.
const fn is_before_text(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, 0xef | 0xbb | 0xbf)
}
