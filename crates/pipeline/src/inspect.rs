//! The same verify, scan and transform for a file on this machine; nothing is stored or published.

use std::sync::Arc;

use lazaret_core::{
    Action, FileName, MediaType, RejectReason, ScanReport, Sha256Digest, Spooled, VariantName,
    ports::{Decision, ScanError, SessionStoreError, TransformError},
};
use serde::Serialize;
use thiserror::Error;

use crate::{
    archive::{Bounds, Opaque, first_of, opaque_members},
    detect::{DetectError, detect},
    scan::{Job, ScanStageError, Scanned, scan},
    station::Station,
    transform::{Made, Remade, TransformStageError, Variant, remake, treatment},
    verify::{Promise, Rejection, Verified, check_content, check_size},
};

/// A file to look at.
#[derive(Debug, Clone)]
pub struct LocalFile {
    /// Its bytes.
    pub spooled: Spooled,
    /// Its name.
    pub name: FileName,
    /// What it is said to be; without it, what its bytes say.
    pub declared_type: Option<MediaType>,
}

/// What a client would get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// What the bytes are, where they were looked at.
    pub media_type: Option<MediaType>,
    /// The policy that matched.
    pub policy: Option<String>,
    /// Every scanner's answer.
    pub reports: Vec<ScanReport>,
    /// Why it would not be published. None: it would be.
    pub decision: Option<Decision>,
    /// What would be published instead of the file, where it is made anew.
    pub made: Option<MadeAnew>,
}

/// What would be published instead of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MadeAnew {
    /// Its type.
    pub content_type: MediaType,
    /// Length in bytes.
    pub size: u64,
    /// Digest of its bytes.
    pub sha256: Sha256Digest,
    /// Width, height and frames of an image.
    pub image: Option<MadeImage>,
}

/// What can be seen of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MadeImage {
    /// Width in pixels, upright.
    pub width: u32,
    /// Height in pixels, upright.
    pub height: u32,
    /// How many frames; 1 for a still image.
    pub frames: u32,
    /// A `ThumbHash` in base64.
    pub thumbhash: Option<String>,
    /// What would be published beside it, in the policy's order.
    pub variants: Vec<MadeVariant>,
}

/// A derived size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MadeVariant {
    /// Its name in the policy.
    pub name: VariantName,
    /// Its type.
    pub content_type: MediaType,
    /// Length in bytes.
    pub size: u64,
    /// Digest of its bytes.
    pub sha256: Sha256Digest,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl MadeAnew {
    fn of(Made { object, looks }: &Made) -> Self {
        let image = looks.as_ref().map(|looks| MadeImage {
            width: looks.dimensions.width,
            height: looks.dimensions.height,
            frames: looks.dimensions.frames,
            thumbhash: looks.thumbhash.clone(),
            variants: looks.variants.iter().map(MadeVariant::of).collect(),
        });
        let (size, sha256) = (object.spooled.len(), *object.spooled.sha256());
        Self { content_type: object.media_type.clone(), size, sha256, image }
    }
}

impl MadeVariant {
    fn of(Variant { name, file, dimensions }: &Variant) -> Self {
        Self {
            name: name.clone(),
            content_type: file.media_type.clone(),
            size: file.spooled.len(),
            sha256: *file.spooled.sha256(),
            width: dimensions.width,
            height: dimensions.height,
        }
    }
}

/// Why nothing can be said.
#[derive(Debug, Error)]
pub enum InspectError {
    /// The magic bytes.
    #[error(transparent)]
    Detect(#[from] DetectError),
    /// A scanner.
    #[error(transparent)]
    Scanner(#[from] ScanError),
    /// The allow and block lists.
    #[error(transparent)]
    Lists(SessionStoreError),
    /// The transform.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// A policy and the scanners do not fit together, or a result is not to be believed.
    #[error("{0}")]
    Unsound(String),
}

/// Looks at one file as the pipeline would.
pub async fn inspect(station: &Arc<Station>, file: &LocalFile) -> Result<Inspection, InspectError> {
    let nothing = |decision| Inspection { media_type: None, policy: None, reports: Vec::new(), decision, made: None };
    let refused = |Rejection { reason, detail, detected }: Rejection| Inspection {
        media_type: detected,
        ..nothing(Some(Decision::Reject { reason, detail }))
    };
    let object = &file.spooled;
    if let Err(rejection) = check_size(object.len(), object.len(), station.settings.max_object_size) {
        return Ok(refused(rejection));
    }
    let (media_type, policy, opaque) = match look(station, file).await? {
        Ok(accepted) => accepted,
        Err(rejection) => return Ok(refused(rejection)),
    };
    let found = Inspection { media_type: Some(media_type.clone()), policy: Some(policy.name.clone()), ..nothing(None) };
    if policy.action == Action::Reject {
        let detail = format!("policy {} rejects {media_type}", policy.name);
        let decision = Some(Decision::Reject { reason: RejectReason::TypeNotAllowed, detail });
        return Ok(Inspection { decision, ..found });
    }
    let job = Job { policy: &policy, object, overrides: &[], made_of: None, reuse: false };
    let Scanned { reports, decision } = scan(station, &job).await?;
    let decision = first_of(decision, &opaque, &[]);
    let treatment = treatment(&policy, &[]).filter(|_| decision.is_none());
    let Some(treatment) = treatment else { return Ok(Inspection { reports, decision, ..found }) };
    Ok(match remake(station, &policy, treatment, object, &media_type, &[]).await? {
        Remade::Decided(decision) => Inspection { reports, decision: Some(decision), ..found },
        Remade::Made(made) => Inspection { reports, made: Some(MadeAnew::of(&made)), ..found },
        Remade::Released => Inspection { reports, ..found },
    })
}

type Looked = Result<(MediaType, lazaret_core::Policy, Vec<Opaque>), Rejection>;

async fn look(station: &Arc<Station>, file: &LocalFile) -> Result<Looked, InspectError> {
    let (station, file) = (Arc::clone(station), file.clone());
    let looking = tokio::task::spawn_blocking(move || {
        let object = &file.spooled;
        let media_type = match file.declared_type {
            Some(declared) => declared,
            None => detect(object)?.media_type,
        };
        let promise = Promise { file_name: file.name, media_type, size: object.len(), sha256: None };
        let Verified { media_type, policy } = match check_content(object, &promise, &station.settings.policies)? {
            Ok(verified) => verified,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let opaque = opaque_members(object, &media_type, &Bounds::of(&station, policy))?;
        Ok::<_, DetectError>(Ok((media_type, policy.clone(), opaque)))
    });
    Ok(looking.await.map_err(|error| InspectError::Unsound(format!("verification broke off: {error}")))??)
}

impl From<ScanStageError> for InspectError {
    fn from(error: ScanStageError) -> Self {
        match error {
            ScanStageError::Scanner(error) => Self::Scanner(error),
            ScanStageError::Sessions(error) => Self::Lists(error),
            ScanStageError::Unconfigured { .. } | ScanStageError::NoScanner { .. } => Self::Unsound(error.to_string()),
        }
    }
}

impl From<TransformStageError> for InspectError {
    fn from(error: TransformStageError) -> Self {
        match error {
            TransformStageError::Transformer(error) => Self::Transform(error),
            TransformStageError::Untrue(_)
            | TransformStageError::Read(_)
            | TransformStageError::Detect(_)
            | TransformStageError::Hash(_) => Self::Unsound(error.to_string()),
        }
    }
}
