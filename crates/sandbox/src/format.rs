//! What a job is about: image formats, the limits they are held to, and what came out.

pub use lazaret_core::ports::ImageLimits;

use crate::wire::Text;

macro_rules! formats {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $media:literal;)+) => {
        /// An image format the jailed program reads.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ImageFormat { $($(#[$doc])* $variant),+ }

        impl ImageFormat {
            /// Every format.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The media type, as the IANA registry has it.
            pub const fn media_type(self) -> &'static str {
                match self { $(Self::$variant => $media),+ }
            }

            pub(crate) const fn code(self) -> u8 {
                match self { $(Self::$variant => $code),+ }
            }
        }
    };
}

formats! {
    /// JPEG (ITU-T T.81).
    Jpeg = 1, "image/jpeg";
    /// PNG (ISO/IEC 15948).
    Png = 2, "image/png";
    /// GIF 87a and 89a.
    Gif = 3, "image/gif";
    /// WebP (RFC 9649).
    WebP = 4, "image/webp";
    /// Windows bitmap.
    Bmp = 5, "image/bmp";
}

impl ImageFormat {
    /// The format of a media type, or `None` when the program does not read it.
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.media_type() == media_type)
    }

    /// The format that an input of this format is encoded to: its own, and PNG for the uncompressed bitmap.
    #[must_use]
    pub const fn output(self) -> Self {
        match self {
            Self::Jpeg => Self::Jpeg,
            Self::Png | Self::Bmp => Self::Png,
            Self::Gif => Self::Gif,
            Self::WebP => Self::WebP,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|format| format.code() == code)
    }
}

/// What the program made: the first `len` bytes of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Length of the output in bytes.
    pub len: u64,
    /// Format of the output.
    pub format: ImageFormat,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
    /// Frames; 1 for a still image.
    pub frames: u32,
}

/// Which rule the input broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCode {
    /// It is not a whole, well-formed image of its format.
    DecodeFailed,
    /// It has more pixels than allowed.
    PixelLimit,
    /// It has more frames than allowed.
    FrameLimit,
    /// What it would become is larger than allowed.
    OutputLimit,
}

impl RefusalCode {
    const ALL: [Self; 4] = [Self::DecodeFailed, Self::PixelLimit, Self::FrameLimit, Self::OutputLimit];

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::DecodeFailed => 1,
            Self::PixelLimit => 2,
            Self::FrameLimit => 3,
            Self::OutputLimit => 4,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }
}

/// The program's no to an input, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The rule.
    pub code: RefusalCode,
    /// What was found and what is allowed.
    pub detail: Text,
}

impl Refusal {
    /// A refusal with its explanation, which is cut to what a message holds.
    pub fn new(code: RefusalCode, detail: impl std::fmt::Display) -> Self {
        Self { code, detail: Text::of(detail) }
    }
}
