use std::fs::File;

use async_trait::async_trait;
use thiserror::Error;

use crate::{Disposition, HoldReason, MediaType, RejectReason, Spooled, error::Cause};

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

/// One image to re-encode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformRequest {
    /// The type its magic bytes say.
    pub media_type: MediaType,
    /// What it may cost.
    pub limits: ImageLimits,
}

/// A re-encoded image.
#[derive(Debug)]
pub struct Transformed {
    /// The new bytes: sealed, so that they cannot change any more.
    pub file: File,
    /// How many.
    pub len: u64,
    /// What the encoder wrote.
    pub media_type: MediaType,
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
    /// How many frames.
    pub frames: u32,
}

/// How a transform ended.
#[derive(Debug)]
pub enum TransformOutcome {
    /// There is an image.
    Done(Transformed),
    /// The input is not acceptable: `decode-failed`, `pixel-limit`, `frame-limit`, `output-limit`.
    Refused {
        /// The reason code.
        reason: RejectReason,
        /// What exactly, with the limit.
        detail: String,
    },
    /// The jail stopped it, or the input broke it: `transform-timeout`, `transform-killed`.
    Stopped {
        /// The reason code.
        reason: HoldReason,
        /// What stopped it, with the limit.
        detail: String,
    },
}

/// Re-encodes images where hostile input can do no harm.
///
/// * Nothing is decoded in this process.
/// * Nothing of the input's bytes is copied into the output.
/// * However the work ends, its process and memory are gone when the call returns or its future is dropped.
#[async_trait]
pub trait Transformer: Send + Sync {
    /// Decodes `input` and encodes it anew.
    async fn transform(&self, input: &Spooled, request: &TransformRequest) -> Result<TransformOutcome, TransformError>;

    /// Proves that every layer of the confinement holds.
    async fn self_test(&self) -> Result<(), TransformError>;
}

/// Why a transform could not be tried.
#[derive(Debug, Error)]
pub enum TransformError {
    /// The confinement is not complete, so nothing is decoded.
    #[error("the sandbox is not complete: {layer}")]
    Unconfined {
        /// The layer that is missing, and why.
        layer: String,
    },
    /// The process could not be started or spoken to.
    #[error("the sandbox could not run {program}")]
    Spawn {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// Something else ended the process, such as a kernel short of memory, which says nothing about the input.
    #[error("the sandbox was ended from outside: {detail}")]
    Killed {
        /// What ended it.
        detail: String,
    },
}

impl TransformError {
    /// What to do with the delivery.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Unconfined { .. } | Self::Spawn { .. } => Disposition::Unavailable,
            // Counted, because an image may be what the memory ran short of.
            Self::Killed { .. } => Disposition::Retry,
        }
    }
}
