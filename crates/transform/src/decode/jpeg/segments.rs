//! The structure of a JPEG (ITU-T T.81, annex B), without decoding it.

use std::ops::Range;

use super::huffman::Table;

/// What the segments of a JPEG say, from the start of image to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segments<'a> {
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// Bits of a sample.
    precision: u8,
    /// The marker of the frame: how it is coded (T.81, table B.1).
    coding: u8,
    components: Vec<Component>,
    pub(super) scans: Vec<Scan>,
    /// Where the segments lie without which the first scan cannot be decoded, markers and all, its own the last; not more
    /// than some.
    pub(super) needed: Vec<Range<usize>>,
    /// The tables of DC differences by their number, as the first scan finds them.
    pub(super) differences: [Option<Table<'a>>; 4],
    /// Which Huffman tables there are before the first scan: a bit for each class and number.
    tables: u32,
    /// Whether there is an end marker.
    is_ended: bool,
    /// Length from the start of image to behind its end.
    pub(super) len: usize,
}

/// A component of the pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Component {
    name: u8,
    /// Blocks of a unit of all components, across and down.
    pub(super) across: u8,
    pub(super) down: u8,
}

/// A pass over the pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    /// Of its components the place in the frame and the number of the table of DC differences.
    pub(super) parts: Vec<(usize, u8)>,
    /// First and last coefficient, and the bits of them (T.81, B.2.3): 0, 0 and 0 for whole DC differences.
    pub(super) selection: [u8; 3],
    /// Units between restart markers; 0 without any.
    pub(super) interval: u16,
    /// Restart markers.
    pub(super) restarts: u64,
    /// Whether it has all of its Huffman tables; decoders have tables of their own for what lacks one.
    has_tables: bool,
    /// Where its coded data lies.
    pub(super) coded: Range<usize>,
}

const BASELINE: u8 = 0xc0;
const EXTENDED: u8 = 0xc1;
const PROGRESSIVE: u8 = 0xc2;
const MARKER_BYTES: usize = 2;
/// Segments before a scan that photographs have by far fewer of.
const MOST_NEEDED: usize = 64;
const TRUNCATED: &str = "a JPEG without an end is truncated";

impl<'a> Segments<'a> {
    /// Walks the segments. What ends without an end marker within its scan is no error here.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, &'static str> {
        if !bytes.starts_with(&[0xff, 0xd8]) {
            return Err("a JPEG begins with its start marker");
        }
        let mut found = Self {
            width: 0,
            height: 0,
            precision: 0,
            coding: 0,
            components: Vec::new(),
            scans: Vec::new(),
            needed: Vec::new(),
            differences: [None; 4],
            tables: 0,
            is_ended: false,
            len: 2,
        };
        let mut interval = 0;
        while !found.is_ended && (found.scans.is_empty() || found.len < bytes.len()) {
            let marker = next_marker(bytes, &mut found.len)?;
            match marker {
                0xd9 => found.is_ended = true,
                0x01 | 0xd0..=0xd8 => {}
                _ => {
                    let start = found.len - MARKER_BYTES;
                    let payload = segment(bytes, &mut found.len)?;
                    if found.scans.is_empty()
                        && found.needed.len() < MOST_NEEDED
                        && matches!(marker, BASELINE..=0xc4 | 0xda | 0xdb | 0xdd)
                    {
                        found.needed.push(start..found.len);
                    }
                    match marker {
                        0xc4 => found.read_tables(payload)?,
                        0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => found.read_frame(marker, payload)?,
                        0xda => found.read_scan(interval, payload, bytes)?,
                        0xdd => interval = read_interval(payload)?,
                        _ => {}
                    }
                }
            }
        }
        if found.components.is_empty() {
            return Err("a JPEG has a frame header");
        }
        if found.scans.is_empty() {
            return Err("a JPEG has a scan");
        }
        Ok(found)
    }

    fn read_tables(&mut self, payload: &'a [u8]) -> Result<(), &'static str> {
        for (number, table) in Table::read_all(payload)? {
            table.check_sizes(number >= 0x10)?;
            self.tables |= 1_u32.checked_shl(number.into()).filter(|_| self.scans.is_empty()).unwrap_or_default();
            if let (true, Some(slot)) = (self.scans.is_empty(), self.differences.get_mut(usize::from(number))) {
                *slot = Some(table);
            }
        }
        Ok(())
    }

    fn read_frame(&mut self, coding: u8, payload: &[u8]) -> Result<(), &'static str> {
        let cut = "a JPEG frame header is cut short";
        let (&[precision, h1, h0, w1, w0, count], components) = payload.split_first_chunk().ok_or(cut)?;
        let components = components.as_chunks().0.get(..usize::from(count)).ok_or(cut)?;
        if !self.components.is_empty() {
            return Err("a JPEG has one frame");
        }
        (self.coding, self.precision) = (coding, precision);
        (self.width, self.height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
        let component = |&[name, sampling, _]: &[u8; 3]| Component { name, across: sampling >> 4, down: sampling & 15 };
        self.components = components.iter().map(component).collect();
        if !matches!(self.components.len(), 1 | 3 | 4) {
            return Err("a JPEG has one, three or four components");
        }
        if self.components.iter().any(|component| component.across == 0 || component.down == 0) {
            return Err("a JPEG component without samples");
        }
        Ok(())
    }

    fn read_scan(&mut self, interval: u16, payload: &[u8], bytes: &[u8]) -> Result<(), &'static str> {
        if self.components.is_empty() {
            return Err("a JPEG's scan follows its frame header");
        }
        let cut = "a JPEG scan header is cut short";
        let (&count, rest) = payload.split_first().ok_or(cut)?;
        let (parts, selection) = rest.split_at_checked(usize::from(count) * 2).ok_or(cut)?;
        let selection = *selection.first_chunk().ok_or(cut)?;
        let parts = parts.as_chunks().0;
        let has_table = |number: u8| self.tables >> number & 1 == 1;
        let has_tables = parts.iter().all(|&[_, tables]| has_table(tables >> 4) && has_table(0x10 | tables & 15));
        let part = |&[name, tables]: &[u8; 2]| {
            let place = self.components.iter().position(|component| component.name == name);
            Ok((place.ok_or("a JPEG scan of a component that is not there")?, tables >> 4))
        };
        let parts = parts.iter().map(part).collect::<Result<_, &str>>()?;
        let start = self.len;
        let restarts = skip_coded(bytes, &mut self.len)?;
        self.scans.push(Scan { parts, selection, interval, restarts, has_tables, coded: start..self.len });
        Ok(())
    }

    pub(super) const fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Whether its scans refine each other, so that there may be many.
    pub(super) const fn is_progressive(&self) -> bool {
        self.coding == PROGRESSIVE
    }

    pub(crate) const fn components(&self) -> usize {
        self.components.len()
    }

    /// Whether it is as most photographs are: baseline, in one scan, of three components, one sample of each colour for
    /// four of brightness.
    pub(super) fn is_plain(&self) -> bool {
        let samplings = self.components.iter().map(|component| (component.across, component.down));
        let [Scan { parts, selection, has_tables, .. }] = self.scans.as_slice() else { return false };
        (self.coding, self.precision) == (BASELINE, 8)
            && samplings.eq([(2, 2), (1, 1), (1, 1)])
            && parts.iter().map(|(place, _)| *place).eq(0..3)
            && *selection == [0, 63, 0]
            && *has_tables
            && self.needed.len() < MOST_NEEDED
    }

    /// Whether all components have as many samples.
    pub(super) fn is_even(&self) -> bool {
        self.components.windows(2).all(|two| (two[0].across, two[0].down) == (two[1].across, two[1].down))
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
        if !self.is_progressive() && self.scans.len() > 1 {
            // zune-jpeg 0.5 decodes these to garbage without an error (zune-image issues 422 and 448).
            return Err("a baseline JPEG in several scans is not supported");
        }
        if self.is_progressive() && !self.is_ended {
            // The scans that are missing would not be missed.
            return Err(TRUNCATED);
        }
        if self.scans.iter().any(|scan| scan.restarts < self.needed_restarts(scan)) {
            return Err("a JPEG lacks restart markers");
        }
        // Some component has every second block of each direction at least, and a block takes a bit, of a scan with
        // all of its coefficients two.
        let blocks = u64::from(self.width.div_ceil(16)) * u64::from(self.height.div_ceil(16));
        let bits = if self.is_progressive() { blocks } else { blocks * 2 };
        let coded = self.scans.iter().map(|scan| scan.coded.len()).sum::<usize>();
        if (coded as u64).saturating_mul(8) < bits {
            return Err("a JPEG with less data than its pixels need is truncated");
        }
        Ok(())
    }

    /// How many units a scan has (T.81, A.2): those of one component are its blocks.
    pub(super) fn units(&self, scan: &Scan) -> u64 {
        let most = |of: fn(&Component) -> u8| self.components.iter().map(of).max().map_or(1, u64::from);
        let (across, down) = (most(|component| component.across), most(|component| component.down));
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        if let [(place, _)] = scan.parts[..] {
            let Component { across: own_across, down: own_down, .. } = self.components[place];
            let blocks = |pixels: u64, own: u8, most: u64| (pixels * u64::from(own)).div_ceil(most).div_ceil(8);
            return blocks(width, own_across, across) * blocks(height, own_down, down);
        }
        width.div_ceil(8 * across) * height.div_ceil(8 * down)
    }

    /// How many restart markers a scan needs.
    pub(super) fn needed_restarts(&self, scan: &Scan) -> u64 {
        if scan.interval == 0 {
            return 0;
        }
        self.units(scan).div_ceil(scan.interval.into()).saturating_sub(1)
    }

    /// Of what a unit of a scan is made: for each of its components how many blocks, and of which table.
    pub(super) fn parts(&self, scan: &Scan) -> impl Iterator<Item = (u64, u8)> {
        let is_alone = scan.parts.len() == 1;
        scan.parts.iter().map(move |&(place, table)| {
            let Component { across, down, .. } = self.components[place];
            (if is_alone { 1 } else { u64::from(across) * u64::from(down) }, table)
        })
    }
}

/// Moves behind the next marker and answers its code.
fn next_marker(bytes: &[u8], at: &mut usize) -> Result<u8, &'static str> {
    let mut rest = bytes.get(*at..).unwrap_or_default();
    loop {
        let escape = memchr::memchr(0xff, rest).ok_or(TRUNCATED)?;
        rest = &rest[escape + 1..];
        match rest.first() {
            None => return Err(TRUNCATED),
            Some(0x00 | 0xff) => {}
            Some(&marker) => {
                *at = bytes.len() - rest.len() + 1;
                return Ok(marker);
            }
        }
    }
}

/// Moves over coded data, stuffed zeroes and restart markers, which are counted, to the next other marker or the end.
fn skip_coded(bytes: &[u8], at: &mut usize) -> Result<u64, &'static str> {
    let mut restarts = 0_u64;
    while let Some((place, marker)) = marker_in(bytes, *at) {
        if !matches!(marker, 0xd0..=0xd7) {
            *at = place;
            return Ok(restarts);
        }
        if u64::from(marker & 7) != restarts % 8 {
            // What is missing would be made up by each decoder in its own way.
            return Err("the restart markers of a JPEG are out of order");
        }
        restarts += 1;
        *at = after(bytes, place);
    }
    *at = bytes.len();
    Ok(restarts)
}

/// The next marker in coded data from `at` on: where it begins, with its fill bytes, and its code.
pub(super) fn marker_in(bytes: &[u8], at: usize) -> Option<(usize, u8)> {
    let mut from = at;
    loop {
        let start = from + memchr::memchr(0xff, bytes.get(from..)?)?;
        let fill = bytes[start..].iter().take_while(|byte| **byte == 0xff).count();
        match *bytes.get(start + fill)? {
            0 => from = start + fill + 1,
            marker => return Some((start, marker)),
        }
    }
}

/// Behind the marker that begins at `place`.
pub(super) fn after(bytes: &[u8], place: usize) -> usize {
    place + bytes[place..].iter().take_while(|byte| **byte == 0xff).count() + 1
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

fn read_interval(payload: &[u8]) -> Result<u16, &'static str> {
    payload.first_chunk().map(|interval| u16::from_be_bytes(*interval)).ok_or("a JPEG restart interval is cut short")
}

#[cfg(test)]
mod tests;
