//! The wire between host and jail: fixed small messages over a `SOCK_SEQPACKET` socket, the child's
//! descriptor 2, and 0 once its jail is complete.
//!
//! Every message is [`MESSAGE_BYTES`] long: four bytes of magic, one of kind, then the fields, little-endian, then
//! zeroes. A short input can follow its task in the same packet. What the child says is hostile from the moment it has
//! read its input: decoding is total, text is cut and reduced to printable ASCII, and the host checks every number against
//! what it allowed.

mod codes;
mod fields;

use std::{fmt, fmt::Write as _};

use thiserror::Error;

use self::{
    codes::{
        animation_code, animation_from_code, bool_from_code, colour_code, colour_from_code, input_code,
        input_from_code, output_from_code, pages_code, pages_from_code,
    },
    fields::{Reader, Writer},
};
use crate::{
    format::{
        ArtefactFormat, Decode, Decoded, DocumentFormat, Encode, Encoded, ImageFormat, Refusal, RefusalCode, Sanitise,
        Verify,
    },
    layer::Layer,
    probe::Probe,
};

/// Length of every message in bytes.
pub const MESSAGE_BYTES: usize = 512;

/// Length of a program's words at most, in bytes, each with its NUL.
pub const MAX_WORDS_BYTES: usize = 64 << 10;

/// Length of an input at most, in bytes, that follows its task in the same packet.
pub const MAX_FOLLOWING_BYTES: usize = 64 << 10;

const MAGIC: [u8; 4] = *b"LZJ4";
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
    /// Length of the input map in bytes: the longest input there can be.
    pub input_bytes: u64,
    /// Length of the output map in bytes, 0 for none.
    pub output_bytes: u64,
    /// Memory the child may add to what it has when sealed, in bytes.
    pub memory_bytes: u64,
    /// CPU time in milliseconds.
    pub cpu_ms: u64,
}

/// What a child needs to know to build the jail of a program and to become it. The program's words, each ended by a NUL,
/// follow in one message of their own, with the descriptor that is to be its descriptor 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Launch {
    /// The host's process id, which the child must find as its parent.
    pub host_pid: u32,
    /// The program's address space in bytes.
    pub memory_bytes: u64,
    /// Its CPU time in milliseconds.
    pub cpu_ms: u64,
    /// Whether it may have more than one thread.
    pub threads: bool,
    /// How many words the program and its arguments are, at least one.
    pub arguments: u16,
    /// How many words after these are what it may read.
    pub readable: u16,
}

/// What a ready child is to do. It does one task and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Bytes to pixels.
    Decode(Decode),
    /// Pixels to files.
    Encode(Encode),
    /// A document to a document.
    Sanitise(Sanitise),
    /// Files to a yes or no.
    Verify(Verify),
}

impl Task {
    /// Length of the input in bytes; the map is longer.
    pub const fn input_bytes(&self) -> u64 {
        match self {
            Self::Decode(task) => task.input_bytes,
            Self::Encode(task) => task.input_bytes,
            Self::Sanitise(task) => task.input_bytes,
            Self::Verify(task) => task.input_bytes,
        }
    }
}

/// Where the input of a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// At the beginning of the child's map.
    Mapped,
    /// Behind the message, [`MAX_FOLLOWING_BYTES`] at most.
    Follows,
}

/// A task that was done.
#[expect(clippy::large_enum_variant, reason = "a message is made where no allocator may be left")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The picture is written.
    Decoded(Decoded),
    /// The files are written.
    Encoded(Encoded),
    /// The files are what was announced.
    Verified,
}

/// What the host says.
#[expect(clippy::large_enum_variant, reason = "a message is made where no allocator may be left")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToChild {
    /// First: how to build the jail.
    SetUp(SetUp),
    /// After `Ready`: the task, and where its input is.
    Work(Task, Input),
    /// After `Ready`: an attempt that must fail.
    Probe(Probe),
    /// First, instead of `SetUp`: which jail to build, and to become a program in it.
    Launch(Launch),
}

/// What the child says.
#[expect(clippy::large_enum_variant, reason = "a message is made where no allocator may be left")]
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
    /// The task is done.
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
                    .u32(set_up.host_pid)
                    .u64(set_up.input_bytes)
                    .u64(set_up.output_bytes)
                    .u64(set_up.memory_bytes)
                    .u64(set_up.cpu_ms)
                    .frame
            }
            Self::Probe(probe) => Writer::new(2).u8(probe.code()).frame,
            Self::Launch(launch) => {
                Writer::new(7)
                    .u32(launch.host_pid)
                    .u64(launch.memory_bytes)
                    .u64(launch.cpu_ms)
                    .u8(launch.threads.into())
                    .put(&launch.arguments.to_le_bytes())
                    .put(&launch.readable.to_le_bytes())
                    .frame
            }
            Self::Work(Task::Decode(task), input) => {
                Writer::new(3)
                    .u8(input_code(*input))
                    .u64(task.input_bytes)
                    .u8(task.format.code())
                    .limits(&task.limits)
                    .u8(animation_code(task.animation))
                    .u8(pages_code(task.pages))
                    .u8(colour_code(task.colour))
                    .u32(task.draw_side)
                    .u32(task.planes_side)
                    .frame
            }
            Self::Work(Task::Encode(task), input) => {
                let [r, g, b] = task.background;
                let head = Writer::new(4)
                    .u8(input_code(*input))
                    .u64(task.input_bytes)
                    .limits(&task.limits)
                    .u8(ArtefactFormat::from(task.format).code())
                    .u8(task.quality)
                    .u32(task.max_side)
                    .u8(r)
                    .u8(g)
                    .u8(b)
                    .u64(task.original_bytes);
                head.list(&task.variants, Writer::u32).frame
            }
            Self::Work(Task::Sanitise(task), input) => {
                Writer::new(5).u8(input_code(*input)).u64(task.input_bytes).u8(task.format.code()).frame
            }
            Self::Work(Task::Verify(task), input) => {
                let head = Writer::new(6).u8(input_code(*input)).u64(task.input_bytes).limits(&task.limits);
                head.list(&task.artefacts, Writer::artefact).frame
            }
        }
    }

    /// The message in these bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (kind, mut fields) = Reader::new(bytes)?;
        let message = match kind {
            3..=6 => {
                let input = fields.code(input_from_code)?;
                Self::Work(fields.task(kind)?, input)
            }
            1 => Self::SetUp(SetUp {
                host_pid: fields.u32(),
                input_bytes: fields.u64(),
                output_bytes: fields.u64(),
                memory_bytes: fields.u64(),
                cpu_ms: fields.u64(),
            }),
            2 => Self::Probe(fields.code(Probe::from_code)?),
            7 => Self::Launch(Launch {
                host_pid: fields.u32(),
                memory_bytes: fields.u64(),
                cpu_ms: fields.u64(),
                threads: fields.code(bool_from_code)?,
                arguments: u16::from_le_bytes(fields.take()),
                readable: u16::from_le_bytes(fields.take()),
            }),
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
            Self::SetUpFailed { layer, detail } => Writer::new(0x82).u8(layer.code()).text(detail).frame,
            Self::Refused(refusal) => Writer::new(0x83).u8(refusal.code.code()).text(&refusal.detail).frame,
            Self::Panicked { place } => Writer::new(0x84).text(place).frame,
            Self::Survived { probe, errno } => Writer::new(0x85).u8(probe.code()).put(&errno.to_le_bytes()).frame,
            Self::Done(Done::Decoded(decoded)) => Writer::new(0x86).u64(decoded.len).frame,
            Self::Done(Done::Encoded(encoded)) => {
                Writer::new(0x87).list(&encoded.artefacts, Writer::artefact).list(&encoded.thumbhash, Writer::u8).frame
            }
            Self::Done(Done::Verified) => Writer::new(0x88).frame,
        }
    }

    /// The message in these bytes, which may be anything.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let (kind, mut fields) = Reader::new(bytes)?;
        let message = match kind {
            0x81 => Self::Ready,
            0x82 => Self::SetUpFailed { layer: fields.code(Layer::from_code)?, detail: fields.text() },
            0x83 => Self::Refused(Refusal { code: fields.code(RefusalCode::from_code)?, detail: fields.text() }),
            0x84 => Self::Panicked { place: fields.text() },
            0x85 => Self::Survived { probe: fields.code(Probe::from_code)?, errno: i32::from_le_bytes(fields.take()) },
            0x86 => Self::Done(Done::Decoded(Decoded { len: fields.u64() })),
            0x87 => Self::Done(Done::Encoded(Encoded {
                artefacts: fields.list(Reader::artefact)?,
                thumbhash: fields.list(|fields| Ok(fields.u8()))?,
            })),
            0x88 => Self::Done(Done::Verified),
            other => return Err(WireError::Code(other)),
        };
        fields.end(message)
    }
}

impl Reader<'_> {
    /// The task of a message of this kind.
    fn task(&mut self, kind: u8) -> Result<Task, WireError> {
        Ok(match kind {
            3 => Task::Decode(Decode {
                input_bytes: self.u64(),
                format: self.code(ImageFormat::from_code)?,
                limits: self.limits(),
                animation: self.code(animation_from_code)?,
                pages: self.code(pages_from_code)?,
                colour: self.code(colour_from_code)?,
                draw_side: self.u32(),
                planes_side: self.u32(),
            }),
            4 => Task::Encode(Encode {
                input_bytes: self.u64(),
                limits: self.limits(),
                format: self.code(output_from_code)?,
                quality: self.u8(),
                max_side: self.u32(),
                background: self.take(),
                original_bytes: self.u64(),
                variants: self.list(|fields| Ok(fields.u32()))?,
            }),
            5 => Task::Sanitise(Sanitise { input_bytes: self.u64(), format: self.code(DocumentFormat::from_code)? }),
            6 => Task::Verify(Verify {
                input_bytes: self.u64(),
                limits: self.limits(),
                artefacts: self.list(Reader::artefact)?,
            }),
            other => return Err(WireError::Code(other)),
        })
    }
}

#[cfg(test)]
mod tests;
