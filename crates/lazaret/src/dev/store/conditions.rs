//! Conditions on reads and writes (RFC 9110 section 13, with the answers that S3 gives).

use jiff::{SignedDuration, Timestamp};
use s3s::dto::{ETag, ETagCondition, Timestamp as S3Time};
use s3s::{S3Error, S3ErrorCode};

use super::fault::{Fault, refuse};
use super::index::Listed;
use super::record::s3_time;

/// What must hold for an object to be read.
#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "they are named after their headers")]
pub(super) struct ReadCondition {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
    pub(super) if_modified_since: Option<S3Time>,
    pub(super) if_unmodified_since: Option<S3Time>,
}

impl ReadCondition {
    /// Answers 412, or 304 where the reader has this version already.
    pub(super) fn check(&self, etag: &str, last_modified: Timestamp) -> Result<(), Fault> {
        let changed = whole_seconds(last_modified);
        match (&self.if_match, &self.if_unmodified_since) {
            (Some(wanted), _) if !matches(wanted, etag) => return Err(failed("If-Match")),
            (None, Some(since)) if changed > *since => return Err(failed("If-Unmodified-Since")),
            (Some(_) | None, _) => {}
        }
        match (&self.if_none_match, &self.if_modified_since) {
            (Some(known), _) if matches(known, etag) => Err(not_modified(etag)),
            (None, Some(since)) if changed <= *since => Err(not_modified(etag)),
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// The same for the source of a copy, where "not modified" is a failure like any other.
    pub(super) fn check_source(&self, etag: &str, last_modified: Timestamp) -> Result<(), Fault> {
        self.check(etag, last_modified).map_err(|_| failed("x-amz-copy-source-if"))
    }
}

/// What must hold for a key to be written.
#[derive(Debug, Default)]
pub(super) struct WriteCondition {
    pub(super) if_match: Option<ETagCondition>,
    pub(super) if_none_match: Option<ETagCondition>,
}

impl WriteCondition {
    /// To be called under the lock that the write itself holds.
    pub(super) fn check(&self, current: Option<&Listed>) -> Result<(), Fault> {
        match (&self.if_none_match, current) {
            (Some(ETagCondition::ETag(_)), _) => {
                return Err(refuse(S3ErrorCode::NotImplemented, "If-None-Match of a write can only be *"));
            }
            (Some(ETagCondition::Any), Some(_)) => return Err(failed("If-None-Match")),
            (Some(ETagCondition::Any), None) | (None, _) => {}
        }
        match (&self.if_match, current) {
            (Some(_), None) => Err(S3ErrorCode::NoSuchKey.into()),
            (Some(wanted), Some(object)) if !matches(wanted, &object.etag) => Err(failed("If-Match")),
            (Some(_) | None, _) => Ok(()),
        }
    }
}

pub(super) fn matches(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.value() == etag,
    }
}

/// `Last-Modified` has no fractions, so a client's date cannot have them either.
fn whole_seconds(at: Timestamp) -> S3Time {
    s3_time(at - SignedDuration::from_nanos(i64::from(at.subsec_nanosecond())))
}

fn failed(condition: &str) -> Fault {
    refuse(S3ErrorCode::PreconditionFailed, format!("the condition {condition} does not hold"))
}

fn not_modified(etag: &str) -> Fault {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    if let Ok(value) = ETag::Strong(etag.to_owned()).to_http_header() {
        error.set_headers([(s3s::header::ETAG, value)].into_iter().collect());
    }
    Fault::Refused(error)
}

/// The conditions that an input puts on the source of a copy.
macro_rules! source_condition {
    ($input:expr) => {
        $crate::dev::store::conditions::ReadCondition {
            if_match: $input.copy_source_if_match.clone(),
            if_none_match: $input.copy_source_if_none_match.clone(),
            if_modified_since: $input.copy_source_if_modified_since.clone(),
            if_unmodified_since: $input.copy_source_if_unmodified_since.clone(),
        }
    };
}
pub(super) use source_condition;
