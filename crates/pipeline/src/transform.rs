//! Re-encoding: what goes into the jail, and what is believed of what comes out.

use std::{io, os::unix::fs::FileExt, sync::Arc};

use lazaret_core::{
    MediaType, Policy, Sha256Digest, Spooled,
    ports::{Decision, ImageLimits, TransformError, TransformOutcome, TransformRequest, Transformed},
};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::task::JoinError;

use crate::{detect::detect_image, station::Station};

/// Why nothing can be said of the image.
#[derive(Debug, Error)]
pub(crate) enum TransformStageError {
    #[error(transparent)]
    Transformer(#[from] TransformError),
    #[error("the re-encoded image is not what the transform says: {0}")]
    Untrue(String),
    #[error("the re-encoded image could not be read")]
    Read(#[from] io::Error),
    #[error("hashing the re-encoded image broke off")]
    Hash(#[from] JoinError),
}

/// An image that is safe to publish, or the decision not to.
#[derive(Debug)]
pub(crate) enum Reencoded {
    Image { spooled: Spooled, media_type: MediaType },
    Decided(Decision),
}

/// Re-encodes in the jail; the output is sniffed, measured and hashed anew.
pub(crate) async fn re_encode(
    station: &Station,
    policy: &Policy,
    object: &Spooled,
    media_type: &MediaType,
) -> Result<Reencoded, TransformStageError> {
    let defaults = ImageLimits::default();
    let limits = ImageLimits {
        max_pixels: policy.max_pixels.unwrap_or(defaults.max_pixels),
        max_side: policy.max_side.unwrap_or(defaults.max_side),
        max_frames: policy.max_frames.unwrap_or(defaults.max_frames),
        max_total_pixels: defaults.max_total_pixels.max(policy.max_pixels.unwrap_or(0)),
    };
    let request = TransformRequest { media_type: media_type.clone(), limits };
    match station.transformer.transform(object, &request).await? {
        TransformOutcome::Refused { reason, detail } => Ok(Reencoded::Decided(Decision::Reject { reason, detail })),
        TransformOutcome::Stopped { reason, detail } => Ok(Reencoded::Decided(Decision::Hold { reason, detail })),
        TransformOutcome::Done(transformed) => {
            let media_type = transformed.media_type.clone();
            let spooled = tokio::task::spawn_blocking(move || measure(transformed)).await??;
            if spooled.sha256() == object.sha256() {
                return Err(TransformStageError::Untrue("it is the input, byte for byte".to_owned()));
            }
            Ok(Reencoded::Image { spooled, media_type })
        }
    }
}

fn measure(transformed: Transformed) -> Result<Spooled, TransformStageError> {
    let actual = transformed.file.metadata()?.len();
    if actual != transformed.len || actual == 0 {
        let told = format!("{actual} bytes, {} were announced", transformed.len);
        return Err(TransformStageError::Untrue(told));
    }
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut position = 0;
    let mut head_type = None;
    while position < actual {
        let count = transformed.file.read_at(&mut buffer, position)?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if position == 0 {
            head_type = detect_image(&buffer[..count]);
        }
        hasher.update(&buffer[..count]);
        position += count as u64;
    }
    if head_type != Some(transformed.media_type.as_str()) {
        let told = format!("magic bytes say {head_type:?}, {} was announced", transformed.media_type);
        return Err(TransformStageError::Untrue(told));
    }
    let sha256 = Sha256Digest::from_bytes(hasher.finalize().into());
    Ok(Spooled::new(transformed.file, actual, sha256, Arc::new(())))
}
