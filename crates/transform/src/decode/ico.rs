//! Windows icons: the largest image of those in the file.

use lazaret_sandbox::format::{Animation, Decode, Decoded};

use super::{bmp, png};
use crate::failure::{Failure, decode_failed};

const HEADER: usize = 6;
const ENTRY: usize = 16;
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Decodes the largest image, of those of one size the one with the most colours.
pub(crate) fn decode(task: &Decode, input: &[u8], output: &mut [u8]) -> Result<Decoded, Failure> {
    let (entry, image) = largest(input).map_err(decode_failed)?;
    if image.starts_with(PNG) {
        // An icon does not move.
        return png::decode(&Decode { animation: Animation::FirstFrame, ..*task }, image, output);
    }
    // A file of this image alone, behind its entry.
    let mut icon = [&[0, 0, 1, 0, 1, 0], &entry[..], image].concat();
    let offset = u32::try_from(HEADER + ENTRY).unwrap_or_default();
    icon[HEADER + 12..HEADER + ENTRY].copy_from_slice(&offset.to_le_bytes());
    bmp::decode_icon(task, &icon, output)
}

fn largest(bytes: &[u8]) -> Result<([u8; ENTRY], &[u8]), &'static str> {
    let Some((&[0, 0, 1, 0, n0, n1], rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Err("an icon begins with its header");
    };
    let count = usize::from(u16::from_le_bytes([n0, n1]));
    let entries = rest.get(..count * ENTRY).ok_or("an icon's directory is cut short")?;
    let (entries, _) = entries.as_chunks::<ENTRY>();
    let pixels = |entry: &&[u8; ENTRY]| {
        // 0 is 256.
        let [width, height] = [entry[0], entry[1]].map(|side| u32::from(side.wrapping_sub(1)) + 1);
        (width * height, u16::from_le_bytes([entry[6], entry[7]]))
    };
    let entry = entries.iter().max_by_key(pixels).ok_or("an icon without images")?;
    let number = |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]) as usize;
    let end = number(12).checked_add(number(8)).ok_or("an icon's image is cut short")?;
    Ok((*entry, bytes.get(number(12)..end).ok_or("an icon's image is cut short")?))
}
