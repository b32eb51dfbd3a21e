//! Making anew: what goes into the jail, and what is believed of what comes out.

use std::{io, os::unix::fs::FileExt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lazaret_core::{
    Action, HoldReason, ImageLimits, ImageOutput, MediaType, MultiPage, OutputFormat, Policy, Sha256Digest, Spooled,
    VariantName,
    ports::{
        Artefact, Decision, Dimensions, TransformError, TransformOutcome, TransformRequest, Transformed, Treatment,
    },
};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::task::JoinError;

use crate::{
    detect::{DetectError, detect, detect_image},
    station::Station,
};

/// The longest `ThumbHash` there is: of an image with alpha.
const MAX_THUMBHASH_BYTES: usize = 25;

/// Why nothing can be said of the object.
#[derive(Debug, Error)]
pub(crate) enum TransformStageError {
    #[error(transparent)]
    Transformer(#[from] TransformError),
    #[error("what was made anew is not what the transform says: {0}")]
    Untrue(String),
    #[error("what was made anew could not be read")]
    Read(#[from] io::Error),
    #[error("what was made anew could not be looked at")]
    Detect(#[from] DetectError),
    #[error("hashing what was made anew broke off")]
    Hash(#[from] JoinError),
}

/// What comes of an object that a policy has made anew.
#[derive(Debug)]
pub(crate) enum Remade {
    /// Files that are safe to publish.
    Made(Box<Made>),
    /// An operator took it on himself that it cannot be made anew: the scanned bytes.
    Released,
    /// It is not to be published.
    Decided(Decision),
}

/// What the transform made, as it was measured here.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) object: MadeFile,
    /// Of an image; nothing else is fit to be shown.
    pub(crate) looks: Option<Looks>,
}

impl Made {
    /// The digests of all that is to be published.
    pub(crate) fn digests(&self) -> impl Iterator<Item = &Sha256Digest> {
        let variants = self.looks.iter().flat_map(|looks| &looks.variants).map(|variant| &variant.file);
        std::iter::once(&self.object).chain(variants).map(|file| file.spooled.sha256())
    }
}

/// One file of them.
#[derive(Debug)]
pub(crate) struct MadeFile {
    pub(crate) spooled: Spooled,
    pub(crate) media_type: MediaType,
}

/// What can be seen of an image.
#[derive(Debug)]
pub(crate) struct Looks {
    pub(crate) dimensions: Dimensions,
    /// In base64.
    pub(crate) thumbhash: Option<String>,
    /// In the policy's order.
    pub(crate) variants: Vec<Variant>,
}

/// A derived size of it.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) name: VariantName,
    pub(crate) file: MadeFile,
    pub(crate) dimensions: Dimensions,
}

/// What a policy has done to the objects that it lets pass, if anything.
pub(crate) fn treatment(policy: &Policy, overrides: &[HoldReason]) -> Option<Treatment> {
    match policy.action {
        Action::ReEncode => {
            let mut output = policy.image.clone();
            // Who releases an image of several pages has the first of them published.
            if overrides.contains(&HoldReason::MultiPage) {
                output.pages = MultiPage::First;
            }
            Some(Treatment::ReEncode(output))
        }
        Action::Sanitise => Some(Treatment::Sanitise),
        Action::AsIs | Action::Reject => None,
    }
}

/// Makes the object anew in the jail; every file that comes out is sniffed, measured and hashed.
pub(crate) async fn remake(
    station: &Station,
    policy: &Policy,
    treatment: Treatment,
    object: &Spooled,
    media_type: &MediaType,
    overrides: &[HoldReason],
) -> Result<Remade, TransformStageError> {
    let limits = limits(policy);
    let request = TransformRequest { media_type: media_type.clone(), limits, treatment };
    let treatment = request.treatment.clone();
    let remade = match station.transformer.transform(object, &request).await? {
        TransformOutcome::Refused { reason, detail } => Remade::Decided(Decision::Reject { reason, detail }),
        TransformOutcome::Held { reason, detail } => Remade::Decided(Decision::Hold { reason, detail }),
        TransformOutcome::Done(transformed) => {
            tokio::task::spawn_blocking(move || measure(transformed, &request)).await??
        }
    };
    Ok(match remade {
        Remade::Decided(Decision::Hold { reason, .. })
            if is_published_as_it_is(&treatment, reason) && overrides.contains(&reason) =>
        {
            Remade::Released
        }
        Remade::Made(_) | Remade::Released | Remade::Decided(_) => remade,
    })
}

/// Whether an operator's release for this reason means the bytes as they are. Images are never published unseen.
const fn is_published_as_it_is(treatment: &Treatment, reason: HoldReason) -> bool {
    match treatment {
        Treatment::ReEncode(_) => false,
        Treatment::Sanitise => matches!(reason, HoldReason::Unparsable | HoldReason::Encrypted),
    }
}

fn limits(policy: &Policy) -> ImageLimits {
    let defaults = ImageLimits::default();
    ImageLimits {
        max_pixels: policy.max_pixels.unwrap_or(defaults.max_pixels),
        max_side: policy.max_side.unwrap_or(defaults.max_side),
        max_frames: policy.max_frames.unwrap_or(defaults.max_frames),
        max_total_pixels: defaults.max_total_pixels.max(policy.max_pixels.unwrap_or(0)),
    }
}

/// Reads everything once. Blocking.
fn measure(transformed: Transformed, request: &TransformRequest) -> Result<Remade, TransformStageError> {
    match &request.treatment {
        Treatment::ReEncode(output) => Ok(Remade::Made(Box::new(re_encoded(transformed, output, &request.limits)?))),
        Treatment::Sanitise if transformed.variants.is_empty() && transformed.thumbhash.is_none() => {
            document(transformed.object, &request.media_type)
        }
        Treatment::Sanitise => Err(TransformStageError::Untrue("a document with variants".to_owned())),
    }
}

fn re_encoded(
    transformed: Transformed,
    output: &ImageOutput,
    limits: &ImageLimits,
) -> Result<Made, TransformStageError> {
    let Transformed { object, variants, thumbhash } = transformed;
    if let Some(long) = thumbhash.as_ref().filter(|hash| hash.len() > MAX_THUMBHASH_BYTES) {
        return Err(TransformStageError::Untrue(format!("a placeholder of {} bytes", long.len())));
    }
    if !variants.iter().map(|(name, _)| name).eq(output.variants.iter().map(|size| &size.name)) {
        let told: Vec<_> = variants.iter().map(|(name, _)| name.as_str()).collect();
        return Err(TransformStageError::Untrue(format!("variants {told:?}, others were asked for")));
    }
    let max_side = output.max_side.unwrap_or(limits.max_side).min(limits.max_side);
    let formats = output.format.as_ref().map_or(&OutputFormat::ALL[..], std::slice::from_ref);
    let (object, format, dimensions) = image(object, formats, max_side, limits.max_frames)?;
    let variants = variants.into_iter().zip(&output.variants).map(|((name, artefact), size)| {
        let (file, _, dimensions) = image(artefact, &[format.of_variants()], size.max_side, 1)?;
        Ok(Variant { name, file, dimensions })
    });
    let variants = variants.collect::<Result<_, TransformStageError>>()?;
    let thumbhash = thumbhash.map(|hash| STANDARD.encode(hash));
    Ok(Made { object, looks: Some(Looks { dimensions, thumbhash, variants }) })
}

/// An image, by its head: another process has walked all of it.
fn image(
    artefact: Artefact,
    formats: &[OutputFormat],
    max_side: u32,
    max_frames: u32,
) -> Result<(MadeFile, OutputFormat, Dimensions), TransformStageError> {
    let Artefact { file, len, media_type, image } = artefact;
    let (spooled, head_type) = hash(file, len)?;
    if head_type != Some(media_type.as_str()) {
        let told = format!("magic bytes say {head_type:?}, {media_type} was announced");
        return Err(TransformStageError::Untrue(told));
    }
    let Some(format) = formats.iter().copied().find(|format| format.type_name() == media_type.as_str()) else {
        return Err(TransformStageError::Untrue(format!("{media_type} was not asked for")));
    };
    let is_sound = |Dimensions { width, height, frames }: &Dimensions| {
        (1..=max_side).contains(width) && (1..=max_side).contains(height) && (1..=max_frames).contains(frames)
    };
    let Some(dimensions) = image.filter(is_sound) else {
        let told = format!("{image:?}, at most {max_side} pixels a side and {max_frames} frames were asked for");
        return Err(TransformStageError::Untrue(told));
    };
    Ok((MadeFile { spooled, media_type }, format, dimensions))
}

/// A document: of the type that it was, all of it. A PDF in which a browser would find a page is one for people to look
/// at: its words are where they are, however often it is sanitised.
fn document(artefact: Artefact, input_type: &MediaType) -> Result<Remade, TransformStageError> {
    let Artefact { file, len, media_type, image } = artefact;
    let (spooled, _) = hash(file, len)?;
    let detected = detect(&spooled)?.media_type;
    let is_as_expected = media_type == *input_type && image.is_none();
    if is_as_expected && detected != media_type && begins_as_pdf(&spooled, &media_type)? {
        let detail = format!("sanitised, it would still be taken for {detected}");
        return Ok(Remade::Decided(Decision::Hold { reason: HoldReason::Unparsable, detail }));
    }
    if detected != media_type || !is_as_expected {
        let told = format!("{detected}, {media_type} was announced, {input_type} was expected");
        return Err(TransformStageError::Untrue(told));
    }
    Ok(Remade::Made(Box::new(Made { object: MadeFile { spooled, media_type }, looks: None })))
}

/// Whether a file that is said to be a PDF has the header of one.
fn begins_as_pdf(spooled: &Spooled, media_type: &MediaType) -> io::Result<bool> {
    const HEADER: &[u8; 5] = b"%PDF-";
    let mut head = [0; HEADER.len()];
    Ok(media_type.as_str() == "application/pdf"
        && spooled.file().read_at(&mut head, 0)? == HEADER.len()
        && head == *HEADER)
}

/// The whole file with its digest, and what its head says.
fn hash(file: std::fs::File, len: u64) -> Result<(Spooled, Option<&'static str>), TransformStageError> {
    let actual = file.metadata()?.len();
    if actual != len || actual == 0 {
        return Err(TransformStageError::Untrue(format!("{actual} bytes, {len} were announced")));
    }
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut position = 0;
    let mut head_type = None;
    while position < actual {
        let count = file.read_at(&mut buffer, position)?;
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if position == 0 {
            head_type = detect_image(&buffer[..count]);
        }
        hasher.update(&buffer[..count]);
        position += count as u64;
    }
    let sha256 = Sha256Digest::from_bytes(hasher.finalize().into());
    Ok((Spooled::new(file, actual, sha256, Arc::new(())), head_type))
}
