//! Why an input is refused.

use std::fmt;

use lazaret_sandbox::{Refusal, RefusalCode, format::ImageLimits};
use thiserror::Error;

/// A rule the input broke.
#[derive(Debug, Error)]
#[error("{}", .0.detail)]
pub struct Failure(Refusal);

impl Failure {
    pub(crate) fn new(code: RefusalCode, detail: impl fmt::Display) -> Self {
        Self(Refusal::new(code, detail))
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        failure.0
    }
}

/// Not a whole, well-formed image.
pub(crate) fn decode_failed(why: impl fmt::Display) -> Failure {
    Failure::new(RefusalCode::DecodeFailed, why)
}

/// An encoder's error that is not for want of room. The pixels were read: it is not the uploader's to mend, and the
/// object is held.
pub(crate) fn encode_failed(format: &str, why: impl fmt::Display) -> Failure {
    Failure::new(RefusalCode::Unverified, format_args!("cannot be encoded as {format}: {why}"))
}

/// The image is larger than its new format can say.
pub(crate) fn side_too_long(format: &str, most: u32) -> Failure {
    Failure::new(RefusalCode::OutputLimit, format_args!("a {format} has sides of at most {most} pixels"))
}

/// The output has no room for what comes.
pub(crate) fn output_full() -> Failure {
    Failure::new(RefusalCode::OutputLimit, "the new image is larger than the output may be")
}

/// One frame's size against the limits, before anything of that size is allocated. Answers its pixels.
pub(crate) fn check_size(width: u32, height: u32, limits: &ImageLimits) -> Result<u64, Failure> {
    if width == 0 || height == 0 {
        return Err(decode_failed(format_args!("an image of {width}x{height} pixels has none")));
    }
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.max_pixels {
        let detail =
            format_args!("{width}x{height} are {pixels} pixels, {} are allowed", limits.max_pixels).to_string();
        return Err(Failure::new(RefusalCode::PixelLimit, detail));
    }
    if width.max(height) > limits.max_side {
        let detail = format_args!("{width}x{height} has a side over {} pixels", limits.max_side).to_string();
        return Err(Failure::new(RefusalCode::PixelLimit, detail));
    }
    Ok(pixels)
}

/// Counts frames and their pixels against the limits of an animation.
#[derive(Debug, Default)]
pub(crate) struct FrameCount {
    frames: u32,
    pixels: u64,
}

impl FrameCount {
    /// How many frames there will be, where that is known beforehand.
    pub(crate) fn check(frames: u32, limits: &ImageLimits) -> Result<(), Failure> {
        if frames > limits.max_frames {
            let detail = format!("{frames} frames, {} are allowed", limits.max_frames);
            return Err(Failure::new(RefusalCode::FrameLimit, detail));
        }
        Ok(())
    }

    /// Counts one more frame.
    pub(crate) fn add(&mut self, pixels: u64, limits: &ImageLimits) -> Result<(), Failure> {
        self.frames = self.frames.saturating_add(1);
        self.pixels = self.pixels.saturating_add(pixels);
        if self.frames > limits.max_frames {
            let detail = format!("more than {} frames", limits.max_frames);
            return Err(Failure::new(RefusalCode::FrameLimit, detail));
        }
        if self.pixels > limits.max_total_pixels {
            let detail = format!("more than {} pixels over all frames", limits.max_total_pixels);
            return Err(Failure::new(RefusalCode::FrameLimit, detail));
        }
        Ok(())
    }

    /// Frames so far.
    pub(crate) const fn frames(&self) -> u32 {
        self.frames
    }
}
