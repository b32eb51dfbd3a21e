//! The port that the pipeline knows.

use std::os::fd::AsFd;

use async_trait::async_trait;
use lazaret_core::{
    HoldReason, RejectReason, Spooled,
    ports::{TransformError, TransformOutcome, TransformRequest, Transformed, Transformer},
};

use super::{
    ExitCause, Jail, JailError,
    run::{Ending, Task},
};
use crate::{
    format::{ImageFormat, Refusal, RefusalCode},
    wire::Work,
};

#[async_trait]
impl Transformer for Jail {
    async fn transform(&self, input: &Spooled, request: &TransformRequest) -> Result<TransformOutcome, TransformError> {
        let Some(format) = ImageFormat::from_media_type(request.media_type.as_str()) else {
            let detail = format!("{} cannot be re-encoded", request.media_type);
            return Ok(TransformOutcome::Refused { reason: RejectReason::DecodeFailed, detail });
        };
        if input.is_empty() {
            let detail = "there is nothing to decode".into();
            return Ok(TransformOutcome::Refused { reason: RejectReason::DecodeFailed, detail });
        }
        let task = Task::Work(Work { format, limits: request.limits });
        let ending = self.run(input.as_fd(), input.len(), task).await.map_err(|error| self.unable(error))?;
        Ok(match ending {
            Ending::Done { file, done } => {
                TransformOutcome::Done(Transformed {
                    file,
                    len: done.len,
                    // The names of the five formats are media types.
                    media_type: done.format.media_type().parse().map_err(|_| TransformError::Unconfined {
                        layer: "wire: the answer has no media type".into(),
                    })?,
                    width: done.width,
                    height: done.height,
                    frames: done.frames,
                })
            }
            Ending::Refused(Refusal { code, detail }) => {
                TransformOutcome::Refused { reason: reject_reason(code), detail: detail.to_string() }
            }
            Ending::Stopped { cause, detail, .. } => {
                let detail = self.with_limit(cause, &detail);
                match hold_reason(cause) {
                    Some(reason) => TransformOutcome::Stopped { reason, detail },
                    None => return Err(TransformError::Killed { detail }),
                }
            }
        })
    }

    async fn self_test(&self) -> Result<(), TransformError> {
        self.test_all().await.map_err(|error| self.unable(error))
    }
}

impl Jail {
    fn unable(&self, error: JailError) -> TransformError {
        match error {
            JailError::MissingLayer { .. } | JailError::SelfTest { .. } => {
                TransformError::Unconfined { layer: error.to_string() }
            }
            JailError::Start { .. } | JailError::Resource { .. } | JailError::Closed => {
                TransformError::Spawn { program: self.settings.program.display().to_string(), source: Box::new(error) }
            }
        }
    }

    /// The line for people, with the limit that was met.
    fn with_limit(&self, cause: ExitCause, detail: &str) -> String {
        match cause {
            ExitCause::Memory => format!("{detail}, limit {} bytes", self.settings.memory_bytes),
            ExitCause::CpuTime => format!("{detail}, limit {} ms", self.settings.cpu_time.as_millis()),
            _ => detail.to_owned(),
        }
    }
}

const fn reject_reason(code: RefusalCode) -> RejectReason {
    match code {
        RefusalCode::DecodeFailed => RejectReason::DecodeFailed,
        RefusalCode::PixelLimit => RejectReason::PixelLimit,
        RefusalCode::FrameLimit => RejectReason::FrameLimit,
        RefusalCode::OutputLimit => RejectReason::OutputLimit,
    }
}

/// Time that ran out says something else to an operator than a process that was stopped. None: the end says nothing
/// about the input.
const fn hold_reason(cause: ExitCause) -> Option<HoldReason> {
    match cause {
        ExitCause::CpuTime | ExitCause::WallTime => Some(HoldReason::TransformTimeout),
        ExitCause::Done
        | ExitCause::Refused
        | ExitCause::Memory
        | ExitCause::PolicyViolation
        | ExitCause::Panic
        | ExitCause::SetUp
        | ExitCause::Crash
        | ExitCause::Protocol => Some(HoldReason::TransformKilled),
        ExitCause::Killed | ExitCause::Cancelled => None,
    }
}
