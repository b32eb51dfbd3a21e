//! The wire between host and jail: fixed small messages over a `SOCK_SEQPACKET` socket, the child's
//! descriptor 2, and 0 once its jail is complete.
//!
//! Every message is [`MESSAGE_BYTES`] long: four bytes of magic, one of kind, then the fields, little-endian, then
//! zeroes. What the child says is hostile from the moment it has read its input: decoding is total, text is cut and
//! reduced to printable ASCII, and the host checks every number against what it allowed.

use std::{fmt, fmt::Write as _};

use thiserror::Error;

use crate::{
    format::{
        Animation, Artefact, ArtefactFormat, Colour, Decode, Decoded, DocumentFormat, Encode, Encoded, ImageFormat,
        ImageLimits, List, MultiPage, OutputFormat, Refusal, RefusalCode, Sanitise, Verify,
    },
    layer::Layer,
    probe::Probe,
};

/// Length of every message in bytes.
pub const MESSAGE_BYTES: usize = 512;

/// Length of a program's words at most, in bytes, each with its NUL.
pub const MAX_WORDS_BYTES: usize = 64 << 10;

const MAGIC: [u8; 4] = *b"LZJ2";
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
    /// After `Ready`: the task.
    Work(Task),
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
            Self::Work(Task::Decode(task)) => {
                Writer::new(3)
                    .u64(task.input_bytes)
                    .u8(task.format.code())
                    .limits(&task.limits)
                    .u8(animation_code(task.animation))
                    .u8(pages_code(task.pages))
                    .u8(colour_code(task.colour))
                    .u32(task.draw_side)
                    .frame
            }
            Self::Work(Task::Encode(task)) => {
                let [r, g, b] = task.background;
                let head = Writer::new(4)
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
            Self::Work(Task::Sanitise(task)) => Writer::new(5).u64(task.input_bytes).u8(task.format.code()).frame,
            Self::Work(Task::Verify(task)) => {
                Writer::new(6).u64(task.input_bytes).limits(&task.limits).list(&task.artefacts, Writer::artefact).frame
            }
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
            2 => Self::Probe(fields.code(Probe::from_code)?),
            3 => Self::Work(Task::Decode(Decode {
                input_bytes: fields.u64(),
                format: fields.code(ImageFormat::from_code)?,
                limits: fields.limits(),
                animation: fields.code(animation_from_code)?,
                pages: fields.code(pages_from_code)?,
                colour: fields.code(colour_from_code)?,
                draw_side: fields.u32(),
            })),
            4 => Self::Work(Task::Encode(Encode {
                input_bytes: fields.u64(),
                limits: fields.limits(),
                format: fields.code(output_from_code)?,
                quality: fields.u8(),
                max_side: fields.u32(),
                background: fields.take(),
                original_bytes: fields.u64(),
                variants: fields.list(|fields| Ok(fields.u32()))?,
            })),
            5 => Self::Work(Task::Sanitise(Sanitise {
                input_bytes: fields.u64(),
                format: fields.code(DocumentFormat::from_code)?,
            })),
            6 => Self::Work(Task::Verify(Verify {
                input_bytes: fields.u64(),
                limits: fields.limits(),
                artefacts: fields.list(Reader::artefact)?,
            })),
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

const fn bool_from_code(code: u8) -> Option<bool> {
    match code {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

const fn animation_code(animation: Animation) -> u8 {
    match animation {
        Animation::Keep => 0,
        Animation::FirstFrame => 1,
    }
}

fn animation_from_code(code: u8) -> Option<Animation> {
    [Animation::Keep, Animation::FirstFrame].into_iter().find(|&animation| animation_code(animation) == code)
}

const fn pages_code(pages: MultiPage) -> u8 {
    match pages {
        MultiPage::Hold => 0,
        MultiPage::First => 1,
    }
}

fn pages_from_code(code: u8) -> Option<MultiPage> {
    [MultiPage::Hold, MultiPage::First].into_iter().find(|&pages| pages_code(pages) == code)
}

const fn colour_code(colour: Colour) -> u8 {
    match colour {
        Colour::Srgb => 0,
        Colour::Keep => 1,
    }
}

fn colour_from_code(code: u8) -> Option<Colour> {
    [Colour::Srgb, Colour::Keep].into_iter().find(|&colour| colour_code(colour) == code)
}

fn output_from_code(code: u8) -> Option<OutputFormat> {
    [OutputFormat::Jpeg, OutputFormat::Png, OutputFormat::Gif, OutputFormat::WebP]
        .into_iter()
        .find(|&format| ArtefactFormat::from(format).code() == code)
}

/// Fills a frame from the front. The longest message, `Encoded` with every artefact, fits with room to spare.
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

    fn u8(self, value: u8) -> Self {
        self.put(&[value])
    }

    fn u32(self, value: u32) -> Self {
        self.put(&value.to_le_bytes())
    }

    fn u64(self, value: u64) -> Self {
        self.put(&value.to_le_bytes())
    }

    fn limits(self, limits: &ImageLimits) -> Self {
        self.u64(limits.max_pixels).u32(limits.max_side).u32(limits.max_frames).u64(limits.max_total_pixels)
    }

    fn artefact(self, artefact: Artefact) -> Self {
        self.u64(artefact.offset)
            .u64(artefact.len)
            .u8(artefact.format.code())
            .u32(artefact.width)
            .u32(artefact.height)
            .u32(artefact.frames)
    }

    fn list<T: Copy, const N: usize>(self, list: &List<T, N>, put: impl Fn(Self, T) -> Self) -> Self {
        // The lists of this wire hold 25 values at most.
        let counted = self.u8(u8::try_from(list.len()).unwrap_or(u8::MAX));
        list.iter().fold(counted, put)
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

    fn u8(&mut self) -> u8 {
        let [value] = self.take();
        value
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }

    fn limits(&mut self) -> ImageLimits {
        ImageLimits {
            max_pixels: self.u64(),
            max_side: self.u32(),
            max_frames: self.u32(),
            max_total_pixels: self.u64(),
        }
    }

    fn artefact(&mut self) -> Result<Artefact, WireError> {
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
    fn list<T: Copy, const N: usize>(
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

    fn code<T>(&mut self, decode: impl Fn(u8) -> Option<T>) -> Result<T, WireError> {
        let code = self.u8();
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
mod tests;
