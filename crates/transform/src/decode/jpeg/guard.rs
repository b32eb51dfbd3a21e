//! Coded data with an end that no decoder runs over unnoticed.
//!
//! Where data ends before its blocks do, zune-jpeg 0.5 goes on with zeroes, or leaves out the rest of a row, without an
//! error even when it is strict; libjpeg warns and paints grey. No code is all ones (T.81, annex C), so that ones behind
//! the data end it with an error as soon as a code is looked for there; markers, which the decoder reads ahead of time,
//! come behind them.

use super::{
    huffman::has_every_difference,
    segments::{Scan, Segments, after, marker_in},
};

/// More ones than the decoder reads ahead and a last code takes: 64 bits.
const ONES: [u8; 16] = [0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0];
const END: [u8; 2] = [0xff, 0xd9];

impl Segments<'_> {
    /// The image with ones behind the data of each restart interval and each scan, and with its end.
    pub(super) fn guarded(&self, bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut guarded = Vec::with_capacity(self.len + (self.scans.len() + 1) * ONES.len());
        let mut copied = 0;
        for (index, scan) in self.scans.iter().enumerate() {
            // Behind one marker more than there should be nothing is read.
            for _ in 0..scan.restarts.min(self.needed_restarts(scan) + 1) {
                let Some((place, _)) = marker_in(bytes, copied.max(scan.coded.start)) else { break };
                guarded.extend_from_slice(&bytes[copied..place]);
                guarded.extend_from_slice(&ONES);
                copied = after(bytes, place);
                guarded.extend_from_slice(&bytes[place..copied]);
            }
            guarded.extend_from_slice(&bytes[copied..scan.coded.end]);
            copied = scan.coded.end;
            if self.is_progressive() && index == 0 {
                // Behind this one the decoder wants the next marker to be read already.
                self.check_differences(scan, &bytes[scan.coded.clone()])?;
            } else {
                guarded.extend_from_slice(&ONES);
            }
        }
        guarded.extend_from_slice(&bytes[copied..self.len]);
        if !self.is_ended() {
            guarded.extend_from_slice(&END);
        }
        Ok(guarded)
    }

    fn check_differences(&self, scan: &Scan, coded: &[u8]) -> Result<(), &'static str> {
        if scan.selection[..2] != [0, 0] || scan.selection[2] >> 4 != 0 {
            return Err("a progressive JPEG begins with the mean of each block");
        }
        let table = |number: u8| self.differences.get(usize::from(number)).copied().flatten();
        let parts = self.parts(scan).map(|(blocks, number)| Some((blocks, table(number)?)));
        let parts = parts.collect::<Option<Vec<_>>>().ok_or("a JPEG scan without its Huffman table")?;
        if has_every_difference(coded, self.units(scan), scan.interval, &parts) {
            Ok(())
        } else {
            Err("a JPEG with less data than its pixels need is truncated")
        }
    }
}
