//! Is the object what its session promised? Size, digest, magic bytes, declared type, extension, policy.

mod extension;
mod json;

use lazaret_core::{FileName, MediaType, Policy, PolicySet, RejectReason, Session, Sha256Digest, Spooled};

use crate::detect::{DetectError, Detected, detect};

/// What a client promised of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promise {
    pub(crate) file_name: FileName,
    pub(crate) media_type: MediaType,
    pub(crate) size: u64,
    pub(crate) sha256: Option<Sha256Digest>,
}

impl From<&Session> for Promise {
    fn from(session: &Session) -> Self {
        Self {
            file_name: session.file_name.clone(),
            media_type: session.declared_type.clone(),
            size: session.declared_size,
            sha256: session.declared_sha256,
        }
    }
}

/// A finding about the bytes that ends the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejection {
    pub(crate) reason: RejectReason,
    pub(crate) detail: String,
    /// What the bytes are, where they were looked at.
    pub(crate) detected: Option<MediaType>,
}

impl Rejection {
    pub(crate) fn new(reason: RejectReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), detected: None }
    }
}

/// What the store says of the size, before a byte is read.
pub(crate) fn check_size(actual: u64, declared: u64, max_object_size: u64) -> Result<(), Rejection> {
    if actual == 0 {
        return Err(Rejection::new(RejectReason::Empty, "the object has no bytes"));
    }
    if actual > max_object_size {
        let detail = format!("{actual} bytes are more than limits.max_object_size of {max_object_size} bytes");
        return Err(Rejection::new(RejectReason::TooLarge, detail));
    }
    if actual != declared {
        let detail = format!("{actual} bytes came, {declared} bytes were declared");
        return Err(Rejection::new(RejectReason::SizeMismatch, detail));
    }
    Ok(())
}

/// The type that an object has and may have.
#[derive(Debug)]
pub(crate) struct Verified<'a> {
    pub(crate) media_type: MediaType,
    pub(crate) policy: &'a Policy,
}

/// Looks at the bytes. Blocking.
pub(crate) fn check_content<'a>(
    object: &Spooled,
    promise: &Promise,
    policies: &'a PolicySet,
) -> Result<Result<Verified<'a>, Rejection>, DetectError> {
    let detected = detect(object)?;
    let checked = match check_digest(object, promise) {
        Ok(()) => check_type(object, &detected, promise, policies)?,
        Err(rejection) => Err(rejection),
    };
    Ok(checked.map_err(|rejection| Rejection { detected: Some(detected.media_type), ..rejection }))
}

fn check_digest(object: &Spooled, promise: &Promise) -> Result<(), Rejection> {
    let Some(declared) = promise.sha256.filter(|declared| declared != object.sha256()) else { return Ok(()) };
    let detail = format!("sha256 is {}, {declared} was declared", object.sha256());
    Err(Rejection::new(RejectReason::DigestMismatch, detail))
}

fn check_type<'a>(
    object: &Spooled,
    detected: &Detected,
    promise: &Promise,
    policies: &'a PolicySet,
) -> Result<Result<Verified<'a>, Rejection>, DetectError> {
    let refined = refine(object, detected, &promise.media_type)?;
    let why = detected.why.as_deref();
    Ok(refined.and_then(|media_type| admit(object, media_type, why, promise, policies)))
}

fn admit<'a>(
    object: &Spooled,
    media_type: MediaType,
    why: Option<&str>,
    promise: &Promise,
    policies: &'a PolicySet,
) -> Result<Verified<'a>, Rejection> {
    if !is_same_type(&media_type, &promise.media_type) {
        let why = why.map(|why| format!("; {why}")).unwrap_or_default();
        let detail = format!("the bytes are {media_type}, {} was declared{why}", promise.media_type);
        return Err(Rejection::new(RejectReason::TypeMismatch, detail));
    }
    if let Some(extension) = promise.file_name.extension()
        && !extension::allows(&extension, &media_type)
    {
        let detail = format!("the bytes are {media_type}, the name ends in .{extension}");
        return Err(Rejection::new(RejectReason::ExtensionMismatch, detail));
    }
    let Some(policy) = policies.choose(&media_type) else {
        let undecodable = matches!(media_type.as_str(), "image/heic" | "image/heif");
        let note = if undecodable { ": it is not decoded here; JPEG, PNG, WebP and AVIF are" } else { "" };
        let detail = format!("no policy allows {media_type}{note}");
        return Err(Rejection::new(RejectReason::TypeNotAllowed, detail));
    };
    if let Some(limit) = policy.max_size.filter(|limit| object.len() > *limit) {
        let detail =
            format!("{} bytes are more than max_size of {limit} bytes in policy {}", object.len(), policy.name);
        return Err(Rejection::new(RejectReason::TooLarge, detail));
    }
    Ok(Verified { media_type, policy })
}

/// Plain text may be declared as one of the formats that are nothing but text; JSON must also parse.
fn refine(
    object: &Spooled,
    detected: &Detected,
    declared: &MediaType,
) -> Result<Result<MediaType, Rejection>, DetectError> {
    if !detected.is_plain_text {
        return Ok(Ok(detected.media_type.clone()));
    }
    Ok(match declared.as_str() {
        "text/csv" | "text/tab-separated-values" | "text/markdown" => Ok(declared.clone()),
        "application/json" => match json::check(object)? {
            Ok(()) => Ok(declared.clone()),
            Err(error) => {
                Err(Rejection::new(RejectReason::TypeMismatch, format!("declared JSON does not parse: {error}")))
            }
        },
        _ => Ok(detected.media_type.clone()),
    })
}

/// Whether the detected and the declared name mean the same type.
fn is_same_type(detected: &MediaType, declared: &MediaType) -> bool {
    detected == declared
        || matches!(
            (detected.as_str(), declared.as_str()),
            ("image/bmp", "image/x-ms-bmp" | "image/x-bmp")
                | ("image/jpeg", "image/jpg" | "image/pjpeg")
                | ("image/png", "image/apng" | "image/x-png")
                | ("image/tiff", "image/tif" | "image/x-tiff")
                | ("image/x-icon", "image/vnd.microsoft.icon" | "image/ico" | "image/icon")
                | ("image/heif", "image/heic")
                | ("image/heic" | "image/avif", "image/heif")
                | ("image/svg+xml", "image/svg")
                | ("application/pdf", "application/x-pdf")
                | ("application/zip", "application/x-zip-compressed" | "application/x-zip")
                | ("application/gzip", "application/x-gzip" | "application/x-compressed-tar")
                | (
                    "application/x-bzip2",
                    "application/bzip2" | "application/x-bzip" | "application/x-bzip2-compressed-tar"
                )
                | ("application/x-xz", "application/xz" | "application/x-xz-compressed-tar")
                | ("application/zstd", "application/x-zstd" | "application/x-zstd-compressed-tar")
                | ("application/x-tar", "application/tar" | "application/x-gtar")
                | ("application/vnd.rar", "application/x-rar" | "application/x-rar-compressed" | "application/rar")
                | ("text/xml", "application/xml")
                | ("audio/mpeg", "audio/mp3")
                | ("audio/wav", "audio/x-wav" | "audio/vnd.wave")
        )
}

#[cfg(test)]
mod tests;
