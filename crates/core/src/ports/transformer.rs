use std::fs::File;

use async_trait::async_trait;
use thiserror::Error;

use crate::{
    Disposition, HoldReason, ImageLimits, ImageOutput, MediaType, RejectReason, Spooled, VariantName, error::Cause,
};

/// One object to make anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformRequest {
    /// The type its magic bytes say.
    pub media_type: MediaType,
    /// What it may cost.
    pub limits: ImageLimits,
    /// What is to be done.
    pub treatment: Treatment,
}

/// How an object is made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Treatment {
    /// Decode to pixels and encode those.
    ReEncode(ImageOutput),
    /// Parse a document and write it anew without what is active in it.
    Sanitise,
}

/// An object made anew.
#[derive(Debug)]
pub struct Transformed {
    /// The object itself.
    pub object: Artefact,
    /// Derived sizes, in the request's order.
    pub variants: Vec<(VariantName, Artefact)>,
    /// A `ThumbHash` of the image: at most 25 bytes.
    pub thumbhash: Option<Vec<u8>>,
}

/// One file that the jail wrote and another jail verified.
#[derive(Debug)]
pub struct Artefact {
    /// The bytes: sealed, so that they cannot change any more.
    pub file: File,
    /// How many.
    pub len: u64,
    /// What the encoder wrote.
    pub media_type: MediaType,
    /// What can be seen, where it is an image.
    pub image: Option<Dimensions>,
}

/// What can be seen of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dimensions {
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
    /// It is made, and was verified.
    Done(Transformed),
    /// The input is not acceptable: `decode-failed`, `pixel-limit`, `frame-limit`, `output-limit`.
    Refused {
        /// The reason code.
        reason: RejectReason,
        /// What exactly, with the limit.
        detail: String,
    },
    /// It cannot be decided without a person: `transform-timeout`, `transform-killed`, `multi-page`, `unparsable`,
    /// `encrypted`.
    Held {
        /// The reason code.
        reason: HoldReason,
        /// What stopped it, with the limit.
        detail: String,
    },
}

/// Makes objects anew where hostile input can do no harm.
///
/// * Nothing is decoded in this process.
/// * Nothing of an image's bytes is copied into the output: the process that reads them does not write it.
/// * What is answered was verified in a process of its own.
/// * However the work ends, its processes and memory are gone when the call returns or its future is dropped.
#[async_trait]
pub trait Transformer: Send + Sync {
    /// Makes `input` anew.
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
