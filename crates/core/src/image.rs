//! What an image is to become: its format, its size, its variants, its placeholder.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{MediaType, PublishedKey, Sha256Digest, error::InvalidValue};

/// What an image may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    /// Most pixels of one frame.
    pub max_pixels: u64,
    /// Longest side in pixels.
    pub max_side: u32,
    /// Most frames.
    pub max_frames: u32,
    /// Most pixels over all frames.
    pub max_total_pixels: u64,
}

impl Default for ImageLimits {
    /// 50 megapixels, 16384 a side, 300 frames, 200 megapixels over all frames.
    fn default() -> Self {
        Self { max_pixels: 50_000_000, max_side: 16_384, max_frames: 300, max_total_pixels: 200_000_000 }
    }
}

/// A format that images are encoded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputFormat {
    /// Lossy, without alpha or animation.
    Jpeg,
    /// Lossless, with alpha, animated where the input was.
    Png,
    /// 256 colours a frame, animated where the input was.
    Gif,
    /// Lossy, with alpha, animated where the input was.
    WebP,
}

impl OutputFormat {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Jpeg, Self::Png, Self::Gif, Self::WebP];

    /// The media type of what is written.
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::WebP => "image/webp",
        }
    }

    /// The format of the variants of an image in this format. They are stills that were made smaller, which has more
    /// colours than a GIF: those of a GIF are PNG.
    #[must_use]
    pub const fn of_variants(self) -> Self {
        match self {
            Self::Gif => Self::Png,
            Self::Jpeg | Self::Png | Self::WebP => self,
        }
    }
}

/// What becomes of an animation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Animation {
    /// All frames, where the output format has any.
    #[default]
    Keep,
    /// The first frame, as a still image.
    FirstFrame,
}

/// What becomes of an image of several pages (TIFF).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MultiPage {
    /// It is held as `multi-page`, for pages would be lost.
    #[default]
    Hold,
    /// The first page is published, the others are lost.
    First,
}

/// In which colours an image is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Colour {
    /// sRGB, without a profile.
    #[default]
    Srgb,
    /// In the wide gamut of its profile where that is a well-known one, with a profile of our own making; else sRGB.
    Keep,
}

/// How an image is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOutput {
    /// The format. None: the input's own, PNG for one that is not written, WebP for AVIF.
    pub format: Option<OutputFormat>,
    /// Quality of lossy formats, 1 to 100.
    pub quality: u8,
    /// Longest side in pixels; larger images are made smaller.
    pub max_side: Option<u32>,
    /// Red, green and blue behind what is transparent, in formats without alpha.
    pub background: [u8; 3],
    /// What becomes of an animation.
    pub animation: Animation,
    /// What becomes of several pages.
    pub pages: MultiPage,
    /// In which colours.
    pub colour: Colour,
    /// Derived sizes, published beside the image.
    pub variants: Vec<VariantSize>,
}

impl Default for ImageOutput {
    /// The input's format at quality 85, as large as it is, on white, animated, in sRGB, without variants.
    fn default() -> Self {
        Self {
            format: None,
            quality: 85,
            max_side: None,
            background: [255; 3],
            animation: Animation::default(),
            pages: MultiPage::default(),
            colour: Colour::default(),
            variants: Vec::new(),
        }
    }
}

/// The most variants of one image.
pub const MAX_VARIANTS: usize = 8;

/// A derived size: a still image of at most this many pixels a side, never larger than the image itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantSize {
    /// Its name.
    pub name: VariantName,
    /// Longest side in pixels.
    pub max_side: u32,
}

/// The name of a variant: 1 to 32 of `a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VariantName(String);

impl VariantName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VariantName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for VariantName {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(InvalidValue::new("variant name", &text, "1 to 32 of a-z 0-9 _ - are expected"))
        }
    }
}

impl From<VariantName> for String {
    fn from(name: VariantName) -> Self {
        name.0
    }
}

impl fmt::Display for VariantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A published derived size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedVariant {
    /// Its name in the policy.
    pub name: VariantName,
    /// The key, in the bucket of the object it belongs to.
    pub key: PublishedKey,
    /// Digest of its bytes.
    pub sha256: Sha256Digest,
    /// Length in bytes.
    pub size: u64,
    /// Its type.
    pub content_type: MediaType,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// What a published image looks like, for whoever lays out a page before it is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedImage {
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
    /// How many frames; 1 for a still image.
    pub frames: u32,
    /// A `ThumbHash` (<https://evanw.github.io/thumbhash/>) in base64.
    pub thumbhash: Option<String>,
    /// Derived sizes, in the policy's order.
    #[serde(default)]
    pub variants: Vec<PublishedVariant>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variant_names_are_plain() {
        for name in ["thumb", "w-1600", "a", &"x".repeat(32)] {
            assert_eq!(name.parse::<VariantName>().unwrap().as_str(), name);
        }
        for name in ["", "Thumb", "a b", "../x", &"x".repeat(33)] {
            assert!(name.parse::<VariantName>().is_err(), "{name}");
        }
    }
}
