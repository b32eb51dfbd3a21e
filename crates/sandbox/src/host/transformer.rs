//! The port that the pipeline knows.

use async_trait::async_trait;
use lazaret_core::{
    HoldReason, ImageLimits, ImageOutput, MediaType, RejectReason, Spooled,
    ports::{
        Artefact, Dimensions, TransformError, TransformOutcome, TransformRequest, Transformed, Transformer, Treatment,
    },
};

use super::{
    ExitCause, Jail, JailError,
    job::{Ending, Plan},
};
use crate::format::{
    self, Animation, ArtefactFormat, Decode, DocumentFormat, Encode, ImageFormat, List, OutputFormat, Refusal,
    RefusalCode, Sanitise,
};

/// Longest side of an image without pixels where the policy names none.
const DRAW_SIDE: u32 = 1024;

#[async_trait]
impl Transformer for Jail {
    async fn transform(&self, input: &Spooled, request: &TransformRequest) -> Result<TransformOutcome, TransformError> {
        let refused = |reason, detail| Ok(TransformOutcome::Refused { reason, detail });
        let plan = match plan(request)? {
            Ok(plan) => plan,
            Err(detail) => return refused(RejectReason::DecodeFailed, detail),
        };
        if input.is_empty() {
            return refused(RejectReason::DecodeFailed, "there is nothing to decode".into());
        }
        let limit = self.settings.max_input_bytes;
        if input.len() > limit {
            let detail = format!("{} bytes are more than the {limit} that are transformed", input.len());
            return refused(RejectReason::TooLarge, detail);
        }
        match self.run(input, plan).await.map_err(|error| self.unable(error))? {
            Ending::Done { files, thumbhash } => Ok(TransformOutcome::Done(transformed(files, thumbhash, request)?)),
            Ending::Refused(refusal) => Ok(refusal_outcome(&refusal)),
            Ending::Stopped { cause, detail } => match hold_reason(cause) {
                Some(reason) => Ok(TransformOutcome::Held { reason, detail }),
                None => Err(TransformError::Killed { detail }),
            },
        }
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
}

/// The tasks of a request, or why there are none.
fn plan(request: &TransformRequest) -> Result<Result<Plan, String>, TransformError> {
    let media_type = request.media_type.as_str();
    let limits = request.limits;
    match &request.treatment {
        Treatment::ReEncode(output) => {
            let Some(format) = ImageFormat::from_media_type(media_type) else {
                return Ok(Err(format!("{media_type} cannot be re-encoded")));
            };
            image_plan(format, limits, output).map(Ok).map_err(|what| unspeakable(&what))
        }
        Treatment::Sanitise => Ok(match DocumentFormat::from_media_type(media_type) {
            Some(format) => Ok(Plan::Document { sanitise: Sanitise { input_bytes: 0, format }, limits }),
            None => Err(format!("{media_type} cannot be sanitised")),
        }),
    }
}

/// The tasks of an image, or which of them the wire cannot say.
pub(super) fn image_plan(format: ImageFormat, limits: ImageLimits, output: &ImageOutput) -> Result<Plan, String> {
    let variants = List::of(output.variants.iter().map(|variant| variant.max_side))
        .ok_or_else(|| format!("{} variants", output.variants.len()))?;
    let wanted = output.format.unwrap_or_else(|| format.output());
    let encode = Encode {
        input_bytes: 0,
        limits,
        format: wanted,
        quality: output.quality,
        max_side: output.max_side.unwrap_or(0),
        background: output.background,
        original_bytes: 0,
        variants,
    };
    let decode = Decode {
        input_bytes: 0,
        format,
        limits,
        animation: animation(output, wanted),
        pages: output.pages,
        colour: output.colour,
        draw_side: output.max_side.unwrap_or(DRAW_SIDE).min(limits.max_side),
        planes_side: encode.planes_side(),
    };
    Ok(Plan::Image { decode, encode })
}

/// Frames are not decoded where they cannot be written.
const fn animation(output: &ImageOutput, wanted: OutputFormat) -> Animation {
    match wanted {
        OutputFormat::Jpeg => Animation::FirstFrame,
        OutputFormat::Png | OutputFormat::Gif | OutputFormat::WebP => output.animation,
    }
}

fn transformed(
    files: Vec<(std::fs::File, format::Artefact)>,
    thumbhash: Vec<u8>,
    request: &TransformRequest,
) -> Result<Transformed, TransformError> {
    let mut artefacts = files.into_iter().map(|(file, artefact)| {
        let format::Artefact { len, format, width, height, frames, .. } = artefact;
        let image = format.is_image().then_some(Dimensions { width, height, frames });
        Ok(Artefact { file, len, media_type: media_type(format)?, image })
    });
    let object = artefacts.next().ok_or_else(|| unspeakable("an answer without a file"))??;
    let names = match &request.treatment {
        Treatment::ReEncode(output) => output.variants.as_slice(),
        Treatment::Sanitise => &[],
    };
    let variants = names.iter().map(|size| size.name.clone()).zip(artefacts);
    let variants = variants.map(|(name, artefact)| Ok((name, artefact?))).collect::<Result<_, TransformError>>()?;
    Ok(Transformed { object, variants, thumbhash: (!thumbhash.is_empty()).then_some(thumbhash) })
}

/// The names of all formats are media types.
fn media_type(format: ArtefactFormat) -> Result<MediaType, TransformError> {
    format.media_type().parse().map_err(|_| unspeakable("an answer without a media type"))
}

/// What no settings and no child that was checked can bring about.
fn unspeakable(what: &str) -> TransformError {
    TransformError::Unconfined { layer: format!("the wire does not know {what}") }
}

fn refusal_outcome(refusal: &Refusal) -> TransformOutcome {
    let detail = refusal.detail.to_string();
    let refused = |reason, detail| TransformOutcome::Refused { reason, detail };
    let held = |reason, detail| TransformOutcome::Held { reason, detail };
    match refusal.code {
        RefusalCode::DecodeFailed => refused(RejectReason::DecodeFailed, detail),
        RefusalCode::PixelLimit => refused(RejectReason::PixelLimit, detail),
        RefusalCode::FrameLimit => refused(RejectReason::FrameLimit, detail),
        RefusalCode::OutputLimit => refused(RejectReason::OutputLimit, detail),
        RefusalCode::MultiPage => held(HoldReason::MultiPage, detail),
        RefusalCode::Unparsable => held(HoldReason::Unparsable, detail),
        RefusalCode::Encrypted => held(HoldReason::Encrypted, detail),
        RefusalCode::Unverified => held(HoldReason::TransformKilled, detail),
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
        | ExitCause::Protocol
        | ExitCause::Unverified => Some(HoldReason::TransformKilled),
        ExitCause::Killed | ExitCause::Cancelled => None,
    }
}
