//! The directories of a TIFF (TIFF 6.0, section 2; `BigTIFF`), of which there is one a page.

use std::collections::BTreeSet;

/// What the directories say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directory<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    /// How many images that are no smaller copy and no mask of another one.
    pub(super) pages: u32,
    /// An embedded colour profile.
    pub(super) profile: Option<&'a [u8]>,
    /// As of EXIF.
    pub(super) orientation: u32,
    /// The palette: all reds, then all greens, then all blues.
    pub(super) colours: Vec<u16>,
    photometric: u32,
    /// Where the value of the photometric interpretation lies.
    photometric_at: usize,
    compression: u32,
    samples: u32,
    planar: bool,
    extra: Option<u32>,
    big_endian: bool,
}

/// What the last sample of a pixel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alpha {
    Separate,
    MultipliedIn,
}

/// More directories than this are no document.
const MOST_PAGES: u32 = 65_536;

const NEW_SUBFILE_TYPE: u16 = 254;
const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const ORIENTATION: u16 = 274;
const SAMPLES: u16 = 277;
const PLANAR: u16 = 284;
const COLOURS: u16 = 320;
const EXTRA_SAMPLES: u16 = 338;
const PROFILE: u16 = 34_675;

const WHITE_IS_ZERO: u32 = 0;
const PALETTE: u32 = 3;
const JPEG: u32 = 7;
/// A smaller copy, a mask.
const NO_PAGE: u32 = 1 | 4;

impl<'a> Directory<'a> {
    /// Reads the first directory and walks the others.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let cut = "a TIFF directory is cut short";
        let file = match bytes {
            [b'I', b'I', 42, 0, ..] => File { bytes, big_endian: false, big: false },
            [b'M', b'M', 0, 42, ..] => File { bytes, big_endian: true, big: false },
            [b'I', b'I', 43, 0, 8, 0, 0, 0, ..] => File { bytes, big_endian: false, big: true },
            [b'M', b'M', 0, 43, 0, 8, 0, 0, ..] => File { bytes, big_endian: true, big: true },
            _ => return Err("a TIFF begins with its header"),
        };
        let mut at = file.offset(if file.big { 8 } else { 4 }).ok_or(cut)?;
        let mut first = None;
        let mut seen = BTreeSet::new();
        let mut pages = 0;
        while at != 0 {
            if !seen.insert(at) {
                return Err("the directories of a TIFF are a circle");
            }
            if seen.len() > MOST_PAGES as usize {
                return Err("a TIFF with more than 65536 directories");
            }
            let (directory, kind, next) = file.directory(at).ok_or(cut)?;
            pages += u32::from(kind & NO_PAGE == 0 || first.is_none());
            first = first.or(Some(directory));
            at = next;
        }
        first.map(|first| Self { pages, ..first }).ok_or("a TIFF without pages")
    }

    pub(super) fn check_supported(&self) -> Result<(), &'static str> {
        if self.planar && self.samples > 1 {
            // Those in tiles make tiff 0.11 panic.
            return Err("a TIFF with a plane for each colour is not supported");
        }
        Ok(())
    }

    pub(super) const fn is_palette(&self) -> bool {
        self.photometric == PALETTE
    }

    pub(super) const fn is_jpeg(&self) -> bool {
        self.compression == JPEG
    }

    /// Whether a grey of 0 is white.
    pub(super) const fn is_inverted(&self) -> bool {
        self.photometric == WHITE_IS_ZERO
    }

    pub(super) const fn alpha(&self) -> Option<Alpha> {
        match self.extra {
            Some(1) => Some(Alpha::MultipliedIn),
            Some(2) => Some(Alpha::Separate),
            _ => None,
        }
    }

    /// The file with greys in place of an index, where it has a palette.
    pub(super) fn without_palette(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        const BLACK_IS_ZERO: u16 = 1;
        if !self.is_palette() {
            return None;
        }
        let mut bytes = bytes.to_vec();
        let value = if self.big_endian { BLACK_IS_ZERO.to_be_bytes() } else { BLACK_IS_ZERO.to_le_bytes() };
        bytes.get_mut(self.photometric_at..self.photometric_at + 2)?.copy_from_slice(&value);
        Some(bytes)
    }
}

/// The file and how its numbers are written.
struct File<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    big: bool,
}

impl<'a> File<'a> {
    fn number(&self, at: usize, len: usize) -> Option<u64> {
        self.bytes.get(at..at.checked_add(len)?).map(|bytes| self.join(bytes))
    }

    fn join(&self, bytes: &[u8]) -> u64 {
        let join = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
    }

    fn offset(&self, at: usize) -> Option<usize> {
        usize::try_from(self.number(at, if self.big { 8 } else { 4 })?).ok()
    }

    /// The directory at `at`, the kind of its image, and where the next one is.
    fn directory(&self, at: usize) -> Option<(Directory<'a>, u32, usize)> {
        let (count_bytes, entry_bytes) = if self.big { (8, 20) } else { (2, 12) };
        let count = usize::try_from(self.number(at, count_bytes)?).ok()?;
        let entries = at.checked_add(count_bytes)?;
        let end = entries.checked_add(count.checked_mul(entry_bytes)?)?;
        let next = self.offset(end)?;
        let mut directory = Directory {
            width: 0,
            height: 0,
            pages: 0,
            profile: None,
            orientation: 1,
            colours: Vec::new(),
            photometric: 0,
            photometric_at: 0,
            compression: 1,
            samples: 1,
            planar: false,
            extra: None,
            big_endian: self.big_endian,
        };
        let mut kind = 0;
        for entry in (entries..end).step_by(entry_bytes) {
            let tag = u16::try_from(self.number(entry, 2)?).ok()?;
            let (each, at, values) = self.values(entry)?;
            let value = values.get(..each).map_or(0, |first| u32::try_from(self.join(first)).unwrap_or(u32::MAX));
            match tag {
                NEW_SUBFILE_TYPE => kind = value,
                WIDTH => directory.width = value,
                HEIGHT => directory.height = value,
                COMPRESSION => directory.compression = value,
                PHOTOMETRIC => {
                    directory.photometric = value;
                    // A longer number in the other byte order ends with its value.
                    directory.photometric_at = if self.big_endian { at + each.saturating_sub(2) } else { at };
                }
                ORIENTATION => directory.orientation = value,
                SAMPLES => directory.samples = value,
                PLANAR => directory.planar = value == 2,
                COLOURS if each == 2 => {
                    let colour = |bytes| u16::try_from(self.join(bytes)).unwrap_or(u16::MAX);
                    directory.colours = values.chunks_exact(2).map(colour).collect();
                }
                EXTRA_SAMPLES => directory.extra = Some(value),
                PROFILE => directory.profile = Some(values),
                _ => {}
            }
        }
        Some((directory, kind, next))
    }

    /// The length of a value of this entry, and its values with where they lie: in it or elsewhere, but in the file.
    fn values(&self, entry: usize) -> Option<(usize, usize, &'a [u8])> {
        let each: usize = match self.number(entry + 2, 2)? {
            1 | 2 | 6 | 7 => 1,
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16 | 17 | 18 => 8,
            _ => 0,
        };
        let (count_bytes, own_bytes) = if self.big { (8, 8) } else { (4, 4) };
        let own = entry + 4 + count_bytes;
        let len = usize::try_from(self.number(entry + 4, count_bytes)?).ok()?.checked_mul(each)?;
        let at = if len <= own_bytes { own } else { self.offset(own)? };
        Some((each, at, self.bytes.get(at..at.checked_add(len)?)?))
    }
}
