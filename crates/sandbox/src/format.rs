//! What a task is about: formats, limits, and what came out.

pub use lazaret_core::{Animation, Colour, ImageLimits, MAX_VARIANTS, MultiPage, OutputFormat};

use crate::wire::Text;

macro_rules! formats {
    ($(#[$outer:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $code:literal, $media:literal;)+ }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// Every format.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The media type, by the name that detection has for it.
            pub const fn media_type(self) -> &'static str {
                match self { $(Self::$variant => $media),+ }
            }

            /// The format of a media type, or `None` when there is none.
            pub fn from_media_type(media_type: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|format| format.media_type() == media_type)
            }

            pub(crate) const fn code(self) -> u8 {
                match self { $(Self::$variant => $code),+ }
            }

            pub(crate) fn from_code(code: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|format| format.code() == code)
            }
        }
    };
}

formats! {
    /// A format that is decoded to pixels.
    ImageFormat {
        /// JPEG (ITU-T T.81).
        Jpeg = 1, "image/jpeg";
        /// PNG (ISO/IEC 15948), animated too.
        Png = 2, "image/png";
        /// GIF 87a and 89a.
        Gif = 3, "image/gif";
        /// WebP (RFC 9649).
        WebP = 4, "image/webp";
        /// Windows bitmap.
        Bmp = 5, "image/bmp";
        /// TIFF 6.0.
        Tiff = 6, "image/tiff";
        /// Windows icon; the largest image in it.
        Ico = 7, "image/x-icon";
        /// AVIF (AV1 Image File Format).
        Avif = 8, "image/avif";
        /// SVG, drawn.
        Svg = 9, "image/svg+xml";
    }
}

formats! {
    /// A document that is written anew without what is active in it.
    DocumentFormat {
        /// PDF (ISO 32000).
        Pdf = 1, "application/pdf";
        /// SVG, as markup.
        Svg = 2, "image/svg+xml";
    }
}

formats! {
    /// What an artefact is.
    ArtefactFormat {
        /// JPEG.
        Jpeg = 1, "image/jpeg";
        /// PNG, animated too.
        Png = 2, "image/png";
        /// GIF 89a.
        Gif = 3, "image/gif";
        /// WebP.
        WebP = 4, "image/webp";
        /// PDF.
        Pdf = 5, "application/pdf";
        /// SVG, as markup.
        Svg = 6, "image/svg+xml";
    }
}

impl ImageFormat {
    /// The format that is written where a policy names none: the input's own; PNG for what is lossless and not
    /// written; WebP for AVIF, whose encoders take longer than a job may.
    #[must_use]
    pub const fn output(self) -> OutputFormat {
        match self {
            Self::Jpeg => OutputFormat::Jpeg,
            Self::Png | Self::Bmp | Self::Tiff | Self::Ico | Self::Svg => OutputFormat::Png,
            Self::Gif => OutputFormat::Gif,
            Self::WebP | Self::Avif => OutputFormat::WebP,
        }
    }
}

impl From<OutputFormat> for ArtefactFormat {
    fn from(format: OutputFormat) -> Self {
        match format {
            OutputFormat::Jpeg => Self::Jpeg,
            OutputFormat::Png => Self::Png,
            OutputFormat::Gif => Self::Gif,
            OutputFormat::WebP => Self::WebP,
        }
    }
}

impl From<DocumentFormat> for ArtefactFormat {
    fn from(format: DocumentFormat) -> Self {
        match format {
            DocumentFormat::Pdf => Self::Pdf,
            DocumentFormat::Svg => Self::Svg,
        }
    }
}

impl ArtefactFormat {
    /// Whether it is made of pixels, so that its size is known.
    pub const fn is_image(self) -> bool {
        match self {
            Self::Jpeg | Self::Png | Self::Gif | Self::WebP => true,
            Self::Pdf | Self::Svg => false,
        }
    }
}

/// Bytes to pixels: the first process of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decode {
    /// Length of the input in bytes; the map is longer.
    pub input_bytes: u64,
    /// Format of the input, as detected.
    pub format: ImageFormat,
    /// What it may be at most.
    pub limits: ImageLimits,
    /// What becomes of an animation. `FirstFrame` also where the output format has no frames.
    pub animation: Animation,
    /// What becomes of several pages.
    pub pages: MultiPage,
    /// In which colours the pixels are wanted.
    pub colour: Colour,
    /// Longest side of the drawing of an image without pixels, 0 for its own size.
    pub draw_side: u32,
    /// Up to this longest side an image that is stored as planes is wanted so ([`crate::picture::Planes`]); 0: never.
    pub planes_side: u32,
}

/// Pixels to files: the second process of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encode {
    /// Length of the picture in bytes; the map is longer.
    pub input_bytes: u64,
    /// What it may be at most.
    pub limits: ImageLimits,
    /// Format of every file.
    pub format: OutputFormat,
    /// Quality of lossy formats, 1 to 100.
    pub quality: u8,
    /// Longest side of the image, 0 for as it is.
    pub max_side: u32,
    /// Behind what is transparent, in formats without alpha.
    pub background: [u8; 3],
    /// Length of the original in bytes: an output much longer than it is worth a second try with more effort.
    pub original_bytes: u64,
    /// Longest sides of the variants.
    pub variants: List<u32, MAX_VARIANTS>,
}

impl Encode {
    /// From this quality of a JPEG on its colours have the resolution of its brightness, as with libvips.
    pub const FULL_COLOURS: u8 = 90;

    /// Up to which longest side an image can come as planes: where one JPEG of them is all that is made. 0: never.
    pub const fn planes_side(&self) -> u32 {
        let is_of_planes = matches!(self.format, OutputFormat::Jpeg) && self.quality < Self::FULL_COLOURS;
        match (is_of_planes && self.variants.is_empty(), self.max_side) {
            (false, _) => 0,
            (true, 0) => u32::MAX,
            (true, side) => side,
        }
    }
}

/// A document to a document: the second process of a job that has no first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sanitise {
    /// Length of the input in bytes; the map is longer.
    pub input_bytes: u64,
    /// Format of the input, as detected, and of the output.
    pub format: DocumentFormat,
}

/// Files to a yes or no: the last process of every job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verify {
    /// Length of all files in bytes; the map is longer.
    pub input_bytes: u64,
    /// What they may be at most.
    pub limits: ImageLimits,
    /// What was announced.
    pub artefacts: List<Artefact, MAX_ARTEFACTS>,
}

/// An image and its variants.
pub const MAX_ARTEFACTS: usize = MAX_VARIANTS + 1;

/// Length of a `ThumbHash` at most.
pub const MAX_THUMBHASH: usize = 25;

/// One file in the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Artefact {
    /// Where it begins: where the one before it ends, the first at 0.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// What it is.
    pub format: ArtefactFormat,
    /// Width in pixels, upright; 0 of a document.
    pub width: u32,
    /// Height in pixels, upright; 0 of a document.
    pub height: u32,
    /// Frames; 1 for a still image, 0 of a document.
    pub frames: u32,
}

/// The picture is written: see [`crate::picture`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Its length in bytes.
    pub len: u64,
}

/// The files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// The object, then its variants in the task's order.
    pub artefacts: List<Artefact, MAX_ARTEFACTS>,
    /// What the image looks like; empty of a document.
    pub thumbhash: List<u8, MAX_THUMBHASH>,
}

/// A few values in place: messages have a fixed length, and no allocator is needed to make one.
#[derive(Clone, Copy)]
pub struct List<T, const N: usize> {
    len: usize,
    items: [Option<T>; N],
}

impl<T: Copy, const N: usize> List<T, N> {
    /// An empty list.
    pub const fn new() -> Self {
        Self { len: 0, items: [None; N] }
    }

    /// Adds a value, or answers it when the list is full.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        let slot = self.items.get_mut(self.len).ok_or(item)?;
        *slot = Some(item);
        self.len += 1;
        Ok(())
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.items.iter().flatten().copied()
    }
}

impl<T: Copy, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy, const N: usize> List<T, N> {
    /// The values, or `None` when they are too many.
    pub fn of(items: impl IntoIterator<Item = T>) -> Option<Self> {
        let mut list = Self::new();
        for item in items {
            list.push(item).ok()?;
        }
        Some(list)
    }
}

impl<T: Copy + PartialEq, const N: usize> PartialEq for List<T, N> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Copy + Eq, const N: usize> Eq for List<T, N> {}

impl<T: Copy + std::fmt::Debug, const N: usize> std::fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $code:literal;)+) => {
        /// Which rule the input broke.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum RefusalCode { $($(#[$doc])* $variant),+ }

        impl RefusalCode {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub(crate) const fn code(self) -> u8 {
                match self { $(Self::$variant => $code),+ }
            }

            pub(crate) fn from_code(code: u8) -> Option<Self> {
                Self::ALL.iter().copied().find(|refusal| refusal.code() == code)
            }
        }
    };
}

refusals! {
    /// It is not a whole, well-formed image of its format.
    DecodeFailed = 1;
    /// It has more pixels than allowed.
    PixelLimit = 2;
    /// It has more frames than allowed.
    FrameLimit = 3;
    /// What it would become is larger than allowed.
    OutputLimit = 4;
    /// It has several pages, and they may not be dropped.
    MultiPage = 5;
    /// A document that cannot be parsed whole.
    Unparsable = 6;
    /// A document that is encrypted.
    Encrypted = 7;
    /// An artefact that is not what was announced, from the process that verifies; or none, from one that encodes and
    /// could not. Nothing against the input.
    Unverified = 8;
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
