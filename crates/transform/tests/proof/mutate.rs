//! Files made hostile, the same ones for the same number.

/// A stream of numbers (splitmix64): the same for the same seed, on every machine.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn of(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below a number that is not zero.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// Numbers at which lengths, counts and sizes go wrong.
const EDGES: [u32; 12] =
    [0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x0001_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/// A file that was damaged in one to three ways. `other` lends what is spliced in.
pub(crate) fn mutated(honest: &[u8], other: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = honest.to_vec();
    for _ in 0..=chance.below(3) {
        once(&mut bytes, other, chance);
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    // Behind a checksum that is wrong nothing is read: most of them are made right again.
    if bytes.starts_with(b"\x89PNG") && chance.below(8) > 0 {
        mend_checksums(&mut bytes);
    }
    bytes
}

fn once(bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance) {
    // Headers decide more than pixels do.
    let end = if chance.below(2) == 0 { bytes.len().min(160) } else { bytes.len() };
    let at = chance.below(end);
    let len = 1 + chance.below(64.min(bytes.len()));
    match chance.below(9) {
        0 => bytes[at] ^= 1 << chance.below(8),
        1 => bytes[at] = chance.byte(),
        2 | 3 => {
            let edge = EDGES[chance.below(EDGES.len())];
            let number = if chance.below(2) == 0 { edge.to_be_bytes() } else { edge.to_le_bytes() };
            let width = [1, 2, 4][chance.below(3)];
            let from = if chance.below(2) == 0 { 0 } else { 4 - width };
            let place = at..(at + width).min(bytes.len());
            let number = &number[from..from + place.len()];
            bytes[place].copy_from_slice(number);
        }
        4 => bytes.truncate(chance.below(bytes.len())),
        5 => drop(bytes.drain(at..(at + len).min(bytes.len()))),
        6 => {
            let piece = bytes[at..(at + len).min(bytes.len())].to_vec();
            let to = chance.below(bytes.len());
            bytes.splice(to..to, piece);
        }
        7 => {
            let from = chance.below(other.len());
            let piece = other[from..(from + len).min(other.len())].to_vec();
            bytes.splice(at..(at + len).min(bytes.len()), piece);
        }
        _ => {
            let cut = chance.below(bytes.len());
            bytes.truncate(cut);
            bytes.extend_from_slice(&other[chance.below(other.len())..]);
        }
    }
}

/// Writes the checksum (ISO 15948, annex D) of every chunk that is whole.
fn mend_checksums(png: &mut [u8]) {
    let mut at = 8;
    while let Some(length) = png.get(at..at + 4) {
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let Some(place) = at.checked_add(8 + length).filter(|place| place + 4 <= png.len()) else { return };
        let mut crc = !0_u32;
        for &byte in &png[at + 4..place] {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        png[place..place + 4].copy_from_slice(&(!crc).to_be_bytes());
        at = place + 4;
    }
}
