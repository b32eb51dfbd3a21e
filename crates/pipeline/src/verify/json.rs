//! Whether bytes are JSON (RFC 8259), in memory that is not the uploader's choice.
//!
//! `serde_json` keeps one byte for each bracket that is open and has no limit of its own for values that are ignored:
//! the depth is counted before it sees a byte.

use std::io::{self, BufReader, ErrorKind, Read};

use lazaret_core::Spooled;
use serde::de::IgnoredAny;

use crate::detect::PositionedReader;

/// How many arrays and objects may be open at once: what `serde_json` allows for values that are kept.
const MAX_DEPTH: u32 = 128;

/// The outer result is whether the object could be read, the inner whether it is JSON.
pub(super) fn check(object: &Spooled) -> io::Result<Result<(), serde_json::Error>> {
    let reader = BufReader::new(Shallow::new(PositionedReader::new(object)));
    match serde_json::from_reader::<_, IgnoredAny>(reader) {
        Ok(IgnoredAny) => Ok(Ok(())),
        Err(error) => match error.io_error_kind() {
            None | Some(ErrorKind::InvalidData) => Ok(Err(error)),
            Some(_) => Err(error.into()),
        },
    }
}

/// Passes bytes on until too many brackets are open, outside strings.
struct Shallow<R> {
    inner: R,
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl<R> Shallow<R> {
    const fn new(inner: R) -> Self {
        Self { inner, depth: 0, in_string: false, escaped: false }
    }

    fn count(&mut self, byte: u8) -> io::Result<()> {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = self.in_string,
            b'"' => self.in_string = !self.in_string,
            b'[' | b'{' if !self.in_string => self.depth += 1,
            b']' | b'}' if !self.in_string => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        if self.depth > MAX_DEPTH {
            let detail = format!("more than {MAX_DEPTH} arrays and objects within each other");
            return Err(io::Error::new(ErrorKind::InvalidData, detail));
        }
        Ok(())
    }
}

impl<R: Read> Read for Shallow<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        buffer[..count].iter().try_for_each(|&byte| self.count(byte))?;
        Ok(count)
    }
}
