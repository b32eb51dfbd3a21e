//! PostgreSQL's protocol 3 (<https://www.postgresql.org/docs/15/protocol-message-formats.html>).

use super::{Answer, Kind, Piece, u32_at};

const SSL_REQUEST: usize = 80_877_103;
const GSS_REQUEST: usize = 80_877_104;
const CANCEL_REQUEST: usize = 80_877_102;
/// So much of a statement names it.
const NAME_CHARS: usize = 80;

#[derive(Debug, Default)]
pub(in crate::proxy) struct Client {
    started: bool,
}

impl Client {
    pub(super) fn first(&mut self, buffer: &[u8]) -> Option<Piece> {
        if self.started {
            return group(buffer);
        }
        let length = u32_at(buffer, 0)?;
        buffer.get(..length)?;
        Some(match u32_at(buffer, 4)? {
            // TLS would hide from us what is asked.
            SSL_REQUEST | GSS_REQUEST => (length, Kind::Refused(b"N"), Answer::Quiet),
            CANCEL_REQUEST => (length, Kind::Uncounted, Answer::Quiet),
            _ => {
                self.started = true;
                (length, Kind::Request("start-up".to_owned()), Answer::Postgres)
            }
        })
    }
}

/// Messages up to one that PostgreSQL acts upon.
fn group(buffer: &[u8]) -> Option<Piece> {
    let (mut at, mut name) = (0, String::new());
    loop {
        let kind = *buffer.get(at)?;
        let end = at + 1 + u32_at(buffer, at + 1)?;
        let body = buffer.get(at + 5..end)?;
        match kind {
            b'Q' => name.push_str(&text(body)),
            // The name of the statement comes first.
            b'P' => name.push_str(&text(body.splitn(2, |byte| *byte == 0).nth(1).unwrap_or_default())),
            b'B' if name.is_empty() => {
                name = format!("bind {}", text(body.splitn(2, |byte| *byte == 0).nth(1).unwrap_or_default()));
            }
            _ => {}
        }
        at = end;
        match kind {
            b'X' => return Some((at, Kind::Uncounted, Answer::Quiet)),
            b'p' => return Some((at, Kind::Request("authentication".to_owned()), Answer::Postgres)),
            b'H' => return Some((at, Kind::Request(name), Answer::Quiet)),
            b'Q' | b'S' | b'F' => return Some((at, Kind::Request(name), Answer::Postgres)),
            _ => {}
        }
    }
}

fn text(body: &[u8]) -> String {
    let statement = body.split(|byte| *byte == 0).next().unwrap_or_default();
    let words = String::from_utf8_lossy(statement).split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(NAME_CHARS).collect()
}

/// `ReadyForQuery`, or a question of the server during authentication.
pub(super) fn is_complete(bytes: &[u8]) -> bool {
    let mut at = 0;
    while let (Some(kind), Some(length)) = (bytes.get(at), u32_at(bytes, at + 1)) {
        let Some(body) = bytes.get(at + 5..at + 1 + length) else { return false };
        at += 1 + length;
        let asks = *kind == b'R' && u32_at(body, 0).is_some_and(|method| method != 0 && method != 12);
        if at == bytes.len() && (*kind == b'Z' || asks) {
            return true;
        }
    }
    false
}
