//! The wire between host and jail: fixed small messages over a `SOCK_SEQPACKET` socket, the child's descriptor 2.
//!
//! Every message is [`MESSAGE_BYTES`] long: four bytes of magic, one of kind, then the fields, little-endian, then
//! zeroes. What the child says is hostile from the moment it has read its input: decoding is total, text is cut and
//! reduced to printable ASCII, and the host checks every number against what it allowed.

use std::{fmt, fmt::Write as _};

use thiserror::Error;

use crate::{
    format::{Done, ImageFormat, ImageLimits, Refusal, RefusalCode},
    layer::Layer,
    probe::Probe,
};

/// Length of every message in bytes.
pub const MESSAGE_BYTES: usize = 256;

const MAGIC: [u8; 4] = *b"LZJ1";
const TEXT_BYTES: usize = 120;

/// A message as it is on the wire.
pub type Frame = [u8; MESSAGE_BYTES];

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WireError {
    /// Not [`MESSAGE_BYTES`] long.
    #[error("a message is {MESSAGE_BYTES} bytes long, not {0}")]
    Length(usize),
    /// Not the magic of this version.
    #[error("a message starts with the magic of another program")]
    Magic,
    /// A kind or a code that does not exist, or is not for this side.
    #[error("a message carries the unknown code {0}")]
    Code(u8),
    /// Bytes behind the last field.
    #[error("a message carries bytes behind its last field")]
    Trailing,
}

/// One line of printable ASCII, at most 120 bytes, on the stack: a panic hook and an exhausted allocator can make one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text {
    len: u8,
    bytes: [u8; TEXT_BYTES],
}

impl Text {
    /// The value's text, cut and with everything that is not printable ASCII replaced.
    pub fn of(value: impl fmt::Display) -> Self {
        let mut text = Self { len: 0, bytes: [0; TEXT_BYTES] };
        // A full text takes no more and says so with an error: what fits is what is wanted.
        if write!(text, "{value}").is_err() {
            debug_assert!(text.as_str().len() <= TEXT_BYTES);
        }
        text
    }

    /// The line.
    pub fn as_str(&self) -> &str {
        // Only printable ASCII is ever pushed.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            let slot = self.bytes.get_mut(usize::from(self.len)).ok_or(fmt::Error)?;
            *slot = if c.is_ascii_graphic() || c == ' ' { c as u8 } else { b'?' };
            self.len += 1;
        }
        Ok(())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What the child needs to know to build its jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetUp {
    /// The host's process id, which the child must find as its parent.
    pub host_pid: u32,
    /// Length of the input in bytes.
    pub input_bytes: u64,
    /// Length of the output map in bytes.
    pub output_bytes: u64,
    /// Memory the child may add to what it has when sealed, in bytes.
    pub memory_bytes: u64,
    /// CPU time in milliseconds.
    pub cpu_ms: u64,
}

/// One job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Format of the input, as detected.
    pub format: ImageFormat,
    /// What it may be at most.
    pub limits: ImageLimits,
}

/// What the host says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToChild {
    /// First: how to build the jail.
    SetUp(SetUp),
    /// After `Ready`: the job.
    Work(Work),
    /// After `Ready`: an attempt that must fail.
    Probe(Probe),
}

/// What the child says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToHost {
    /// The jail is complete.
    Ready,
    /// A layer is missing; the child ends with [`crate::jail::EXIT_SET_UP`].
    SetUpFailed {
        /// The layer.
        layer: Layer,
        /// Why.
        detail: Text,
    },
    /// The output is written.
    Done(Done),
    /// The input breaks a rule.
    Refused(Refusal),
    /// The program panicked at this place; the child ends with [`crate::jail::EXIT_PANIC`].
    Panicked {
        /// `file:line`.
        place: Text,
    },
    /// The jail let this happen, or only the kernel's refusal with an error number stopped it.
    Survived {
        /// What was tried.
        probe: Probe,
        /// `errno`, 0 when it succeeded.
        errno: i32,
    },
}

impl ToChild {
    /// The message as bytes.
    pub fn encode(&self) -> Frame {
        match self {
            Self::SetUp(set_up) => {
                Writer::new(1)
                    .put(&set_up.host_pid.to_le_bytes())
                    .put(&set_up.input_bytes.to_le_bytes())
                    .put(&set_up.output_bytes.to_le_bytes())
                    .put(&set_up.memory_bytes.to_le_bytes())
                    .put(&set_up.cpu_ms.to_le_bytes())
                    .frame
            }
            Self::Work(Work { format, limits }) => {
                Writer::new(2)
                    .put(&[format.code()])
                    .put(&limits.max_pixels.to_le_bytes())
                    .put(&limits.max_side.to_le_bytes())
                    .put(&limits.max_frames.to_le_bytes())
                    .put(&limits.max_total_pixels.to_le_bytes())
                    .frame
            }
            Self::Probe(probe) => Writer::new(3).put(&[probe.code()]).frame,
        }
    }

    /// The message in these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (kind, mut fields) = Reader::new(bytes)?;
        let message = match kind {
            1 => Self::SetUp(SetUp {
                host_pid: fields.u32(),
                input_bytes: fields.u64(),
                output_bytes: fields.u64(),
                memory_bytes: fields.u64(),
                cpu_ms: fields.u64(),
            }),
            2 => Self::Work(Work {
                format: fields.code(ImageFormat::from_code)?,
                limits: ImageLimits {
                    max_pixels: fields.u64(),
                    max_side: fields.u32(),
                    max_frames: fields.u32(),
                    max_total_pixels: fields.u64(),
                },
            }),
            3 => Self::Probe(fields.code(Probe::from_code)?),
            other => return Err(WireError::Code(other)),
        };
        fields.end(message)
    }
}

impl ToHost {
    /// The message as bytes.
    pub fn encode(&self) -> Frame {
        match self {
            Self::Ready => Writer::new(0x81).frame,
            Self::SetUpFailed { layer, detail } => Writer::new(0x82).put(&[layer.code()]).text(detail).frame,
            Self::Done(done) => {
                Writer::new(0x83)
                    .put(&done.len.to_le_bytes())
                    .put(&[done.format.code()])
                    .put(&done.width.to_le_bytes())
                    .put(&done.height.to_le_bytes())
                    .put(&done.frames.to_le_bytes())
                    .frame
            }
            Self::Refused(refusal) => Writer::new(0x84).put(&[refusal.code.code()]).text(&refusal.detail).frame,
            Self::Panicked { place } => Writer::new(0x85).text(place).frame,
            Self::Survived { probe, errno } => Writer::new(0x86).put(&[probe.code()]).put(&errno.to_le_bytes()).frame,
        }
    }

    /// The message in these bytes, which may be anything.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (kind, mut fields) = Reader::new(bytes)?;
        let message = match kind {
            0x81 => Self::Ready,
            0x82 => Self::SetUpFailed { layer: fields.code(Layer::from_code)?, detail: fields.text() },
            0x83 => Self::Done(Done {
                len: fields.u64(),
                format: fields.code(ImageFormat::from_code)?,
                width: fields.u32(),
                height: fields.u32(),
                frames: fields.u32(),
            }),
            0x84 => Self::Refused(Refusal { code: fields.code(RefusalCode::from_code)?, detail: fields.text() }),
            0x85 => Self::Panicked { place: fields.text() },
            0x86 => Self::Survived { probe: fields.code(Probe::from_code)?, errno: i32::from_le_bytes(fields.take()) },
            other => return Err(WireError::Code(other)),
        };
        fields.end(message)
    }
}

/// Fills a frame from the front. The longest message (a code and a full text) fits with room to spare.
struct Writer {
    frame: Frame,
    at: usize,
}

impl Writer {
    fn new(kind: u8) -> Self {
        Self { frame: [0; MESSAGE_BYTES], at: 0 }.put(&MAGIC).put(&[kind])
    }

    fn put(mut self, bytes: &[u8]) -> Self {
        self.frame[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
        self
    }

    fn text(self, text: &Text) -> Self {
        self.put(&[text.len]).put(text.as_str().as_bytes())
    }
}

/// Reads a frame from the front.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<(u8, Self), WireError> {
        if bytes.len() != MESSAGE_BYTES {
            return Err(WireError::Length(bytes.len()));
        }
        let rest = bytes.strip_prefix(&MAGIC).ok_or(WireError::Magic)?;
        Ok((rest[0], Self { rest: &rest[1..] }))
    }

    /// The next `N` bytes. The fixed fields of every kind fit into the frame whose length was checked.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let (head, rest) = self.rest.split_at(N);
        out.copy_from_slice(head);
        self.rest = rest;
        out
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn code<T>(&mut self, decode: impl Fn(u8) -> Option<T>) -> Result<T, WireError> {
        let [code] = self.take();
        decode(code).ok_or(WireError::Code(code))
    }

    /// Text from the other side: its length is clamped and every byte is made printable anew.
    fn text(&mut self) -> Text {
        let [len] = self.take();
        let (head, rest) = self.rest.split_at(usize::from(len).min(TEXT_BYTES).min(self.rest.len()));
        self.rest = rest;
        Text::of(String::from_utf8_lossy(head))
    }

    fn end<T>(self, message: T) -> Result<T, WireError> {
        if self.rest.iter().all(|&byte| byte == 0) { Ok(message) } else { Err(WireError::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_comes_back_as_it_went() {
        let limits = ImageLimits { max_pixels: 1 << 40, max_side: 7, max_frames: 300, max_total_pixels: u64::MAX };
        let set_up = SetUp { host_pid: 9, input_bytes: 1, output_bytes: 1 << 33, memory_bytes: u64::MAX, cpu_ms: 5000 };
        for message in [
            ToChild::SetUp(set_up),
            ToChild::Work(Work { format: ImageFormat::Bmp, limits }),
            ToChild::Probe(Probe::PastOutput),
        ] {
            assert_eq!(ToChild::decode(&message.encode()), Ok(message));
        }
        let done = Done { len: 3, format: ImageFormat::WebP, width: 1, height: 2, frames: 3 };
        for message in [
            ToHost::Ready,
            ToHost::SetUpFailed { layer: Layer::Seccomp, detail: Text::of("no") },
            ToHost::Done(done),
            ToHost::Refused(Refusal::new(RefusalCode::OutputLimit, "x".repeat(500))),
            ToHost::Panicked { place: Text::of("a.rs:1") },
            ToHost::Survived { probe: Probe::Fork, errno: -1 },
        ] {
            assert_eq!(ToHost::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn bytes_that_are_no_message_are_an_error() {
        let good = ToHost::Ready.encode();
        assert_eq!(ToHost::decode(&good[..255]), Err(WireError::Length(255)));
        assert_eq!(ToHost::decode(&[0; MESSAGE_BYTES]), Err(WireError::Magic));
        let mut trailing = good;
        trailing[MESSAGE_BYTES - 1] = 1;
        assert_eq!(ToHost::decode(&trailing), Err(WireError::Trailing));
        for byte in 0..=u8::MAX {
            let mut frame =
                ToHost::Done(Done { len: 0, format: ImageFormat::Png, width: 0, height: 0, frames: 0 }).encode();
            frame[13] = byte;
            assert_eq!(ToHost::decode(&frame).is_ok(), ImageFormat::from_code(byte).is_some());
        }
        assert_eq!(ToHost::decode(&ToChild::Probe(Probe::Fork).encode()), Err(WireError::Code(3)));
    }

    #[test]
    fn text_from_the_jail_is_one_printable_line() {
        let mut frame = ToHost::Panicked { place: Text::of("abcdef") }.encode();
        frame[6..10].copy_from_slice(b"\n\x1b[\xff");
        let ToHost::Panicked { place } = ToHost::decode(&frame).unwrap() else { panic!("another message") };
        assert_eq!(place.as_str(), "??[?ef");
        frame[5] = 255;
        assert!(ToHost::decode(&frame).is_ok(), "a length past the text is clamped");
    }
}
