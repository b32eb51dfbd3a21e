//! The fields of a message, one behind the other.

use super::{Frame, MAGIC, MESSAGE_BYTES, TEXT_BYTES, Text, WireError};
use crate::format::{Artefact, ArtefactFormat, ImageLimits, List};

/// Fills a frame from the front. The longest message, `Encoded` with every artefact, fits with room to spare.
pub(super) struct Writer {
    pub(super) frame: Frame,
    at: usize,
}

impl Writer {
    pub(super) fn new(kind: u8) -> Self {
        Self { frame: [0; MESSAGE_BYTES], at: 0 }.put(&MAGIC).put(&[kind])
    }

    pub(super) fn put(mut self, bytes: &[u8]) -> Self {
        self.frame[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self
    }

    pub(super) fn u8(self, value: u8) -> Self {
        self.put(&[value])
    }

    pub(super) fn u32(self, value: u32) -> Self {
        self.put(&value.to_le_bytes())
    }

    pub(super) fn u64(self, value: u64) -> Self {
        self.put(&value.to_le_bytes())
    }

    pub(super) fn limits(self, limits: &ImageLimits) -> Self {
        self.u64(limits.max_pixels).u32(limits.max_side).u32(limits.max_frames).u64(limits.max_total_pixels)
    }

    pub(super) fn artefact(self, artefact: Artefact) -> Self {
        self.u64(artefact.offset)
            .u64(artefact.len)
            .u8(artefact.format.code())
            .u32(artefact.width)
            .u32(artefact.height)
            .u32(artefact.frames)
    }

    pub(super) fn list<T: Copy, const N: usize>(self, list: &List<T, N>, put: impl Fn(Self, T) -> Self) -> Self {
        // The lists of this wire hold 25 values at most.
        let counted = self.u8(u8::try_from(list.len()).unwrap_or(u8::MAX));
        list.iter().fold(counted, put)
    }

    pub(super) fn text(self, text: &Text) -> Self {
        self.put(&[text.len]).put(text.as_str().as_bytes())
    }
}

/// Reads a frame from the front.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<(u8, Self), WireError> {
        if bytes.len() != MESSAGE_BYTES {
            return Err(WireError::Length(bytes.len()));
        }
        let rest = bytes.strip_prefix(&MAGIC).ok_or(WireError::Magic)?;
        Ok((rest[0], Self { rest: &rest[1..] }))
    }

    /// The next `N` bytes. The fixed fields of every kind fit into the frame whose length was checked.
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let (head, rest) = self.rest.split_at(N);
        out.copy_from_slice(head);
        self.rest = rest;
        out
    }

    pub(super) fn u8(&mut self) -> u8 {
        let [value] = self.take();
        value
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    pub(super) fn limits(&mut self) -> ImageLimits {
        ImageLimits {
            max_pixels: self.u64(),
            max_side: self.u32(),
            max_frames: self.u32(),
            max_total_pixels: self.u64(),
        }
    }

    pub(super) fn artefact(&mut self) -> Result<Artefact, WireError> {
        Ok(Artefact {
            offset: self.u64(),
            len: self.u64(),
            format: self.code(ArtefactFormat::from_code)?,
            width: self.u32(),
            height: self.u32(),
            frames: self.u32(),
        })
    }

    /// A list that has room for as many values as the other side says: a count past that is no message.
    pub(super) fn list<T: Copy, const N: usize>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, WireError>,
    ) -> Result<List<T, N>, WireError> {
        let count = self.u8();
        let mut list = List::new();
        for _ in 0..count {
            list.push(item(self)?).map_err(|_| WireError::Code(count))?;
        }
        Ok(list)
    }

    pub(super) fn code<T>(&mut self, decode: impl Fn(u8) -> Option<T>) -> Result<T, WireError> {
        let code = self.u8();
        decode(code).ok_or(WireError::Code(code))
    }

    /// Text from the other side: its length is clamped and every byte is made printable anew.
    pub(super) fn text(&mut self) -> Text {
        let [len] = self.take();
        let (head, rest) = self.rest.split_at(usize::from(len).min(TEXT_BYTES).min(self.rest.len()));
        self.rest = rest;
        Text::of(String::from_utf8_lossy(head))
    }

    pub(super) fn end<T>(self, message: T) -> Result<T, WireError> {
        if self.rest.iter().all(|&byte| byte == 0) { Ok(message) } else { Err(WireError::Trailing) }
    }
}
