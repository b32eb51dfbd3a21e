//! clamd(8): `z…\0` or `n…\n`, and after INSTREAM chunks up to an empty one.

use super::{Answer, Kind, Piece, u32_at};

pub(super) fn first(buffer: &[u8]) -> Option<Piece> {
    let end = match buffer.first()? {
        b'z' => 0,
        _ => b'\n',
    };
    let length = 1 + buffer.iter().position(|byte| *byte == end)?;
    let what = String::from_utf8_lossy(&buffer[..length - 1]).into_owned();
    let length = if what.ends_with("INSTREAM") { stream_end(buffer, length)? } else { length };
    Some((length, Kind::Request(what), Answer::Clamd))
}

fn stream_end(buffer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let chunk = u32_at(buffer, at)?;
        at += 4 + chunk;
        if chunk == 0 {
            return Some(at);
        }
    }
}
