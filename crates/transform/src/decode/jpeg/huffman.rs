//! Huffman tables (ITU-T T.81, annex C), and whether coded data holds what it has to.

/// The codes of a table: how many there are of each length, and what they mean, shorter ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table<'a> {
    counts: &'a [u8; 16],
    symbols: &'a [u8],
}

impl<'a> Table<'a> {
    /// Those of a segment, each with its class (0 for DC differences, 1 for AC coefficients) times 16 and its number.
    pub(super) fn read_all(mut payload: &'a [u8]) -> Result<Vec<(u8, Self)>, &'static str> {
        let cut = "a JPEG Huffman table is cut short";
        let mut tables = Vec::new();
        while let Some((&number, rest)) = payload.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(cut)?;
            let len = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(len).ok_or(cut)?;
            tables.push((number, Self { counts, symbols }));
            payload = rest;
        }
        Ok(tables)
    }

    /// Whether its symbols are among those of samples of eight bits (T.81, tables F.1 and F.2). Others lead to
    /// coefficients that each decoder cuts to its own size, without a warning.
    pub(super) fn check_sizes(&self, is_ac: bool) -> Result<(), &'static str> {
        let is_too_long = |symbol: &u8| if is_ac { symbol & 15 > 10 } else { *symbol > 11 };
        if self.symbols.iter().any(is_too_long) {
            return Err("a JPEG Huffman table is not of eight bits a sample");
        }
        Ok(())
    }

    /// The length of the code that these bits begin with, and what it means.
    fn find(&self, ahead: u16) -> Option<(u32, u8)> {
        let (mut first, mut before) = (0_u32, 0);
        for (length, count) in (1..=16).zip(self.counts) {
            let place = (u32::from(ahead) >> (16 - length)).checked_sub(first)?;
            if place < u32::from(*count) {
                return Some((length, *self.symbols.get(before + place as usize)?));
            }
            before += usize::from(*count);
            first = (first + u32::from(*count)) << 1;
        }
        None
    }
}

/// Whether each block has its DC difference: `units` of so many blocks of each table, a restart marker after every
/// `interval` of them unless that is 0.
pub(super) fn has_every_difference(coded: &[u8], units: u64, interval: u16, parts: &[(u64, Table<'_>)]) -> bool {
    let mut bits = Bits { rest: coded, buffer: 0, len: 0 };
    (0..units).all(|unit| {
        if interval > 0 && unit > 0 && unit % u64::from(interval) == 0 {
            bits.restart();
        }
        parts.iter().all(|(blocks, table)| (0..*blocks).all(|_| bits.skip_difference(table)))
    })
}

/// Coded data bit by bit, up to its next marker.
struct Bits<'a> {
    rest: &'a [u8],
    buffer: u64,
    len: u32,
}

impl Bits<'_> {
    fn fill(&mut self) {
        while self.len <= 48 {
            let byte = match *self.rest {
                [0xff, 0, ref rest @ ..] => {
                    self.rest = rest;
                    0xff
                }
                [] | [0xff, ..] => return,
                [byte, ref rest @ ..] => {
                    self.rest = rest;
                    byte
                }
            };
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.len += 8;
        }
    }

    /// Whether there was a code and all bits that belong to it.
    fn skip_difference(&mut self, table: &Table<'_>) -> bool {
        self.fill();
        // Behind the end are ones, which are no code.
        let ahead = if self.len >= 16 { self.buffer >> (self.len - 16) } else { !(!self.buffer << (16 - self.len)) };
        let [.., high, low] = ahead.to_be_bytes();
        let Some((length, size)) = table.find(u16::from_be_bytes([high, low])) else { return false };
        let left = self.len.checked_sub(length + u32::from(size));
        self.len = left.unwrap_or_default();
        left.is_some()
    }

    /// Moves behind the next marker.
    fn restart(&mut self) {
        let next = super::segments::marker_in(self.rest, 0).map(|(place, _)| super::segments::after(self.rest, place));
        self.rest = next.and_then(|next| self.rest.get(next..)).unwrap_or_default();
        (self.buffer, self.len) = (0, 0);
    }
}
