//! A session's row and the values it holds.

use std::str::FromStr;

use lazaret_core::{
    Fence, HoldReason, InvalidValue, ObjectKey, PublishedKey, PublishedObject, QuarantineKey, Reason, RejectReason,
    Session, SessionState, SourceObject, StateName, Timestamp, UploadId, WorkerId, ports::SessionStoreError,
};
use sqlx::{Any, Row, any::AnyRow};

use crate::error::{corrupt, failed, invalid};

/// The columns that a [`Record`] is read from, by name: a running program must not meet one that a later version adds. A
/// statement that PostgreSQL keeps prepared fails once `*` means something else.
macro_rules! columns {
    () => {
        "upload_id, object_id, tenant, bucket, key, file_name, declared_type, declared_size, declared_sha256, state, reason, \
         revoked_reason, detail, overrides, policy, attempts, fence, lease_worker, lease_until_ms, source_version, \
         source_etag, source_size, source_sha256, source_type, published_bucket, published_key, published_sha256, \
         published_size, published_type, published_image, published_deleted_at_ms, original_deleted_at_ms, created_at_ms, \
         updated_at_ms, expires_at_ms"
    };
}
pub(super) use columns;

/// A session with what only the store needs to know of it.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) session: Session,
    /// The newest fence; 0 before the first attempt.
    pub(super) fence: Fence,
    /// The lease, until it is given up. It may have run out.
    pub(super) lease: Option<Lease>,
    /// The policy of the last settlement.
    pub(super) policy: Option<String>,
}

/// Who may settle a session.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) worker: WorkerId,
    pub(super) until_ms: i64,
}

impl Record {
    pub(super) fn read(row: &AnyRow) -> Result<Self, SessionStoreError> {
        let lease = match (optional(row, "lease_worker")?, get(row, "lease_until_ms")?) {
            (Some(worker), Some(until_ms)) => Some(Lease { worker: WorkerId::new(worker), until_ms }),
            (None, None) => None,
            (worker, _) => return Err(corrupt(format!("lease_worker {worker:?} without the other half of its lease"))),
        };
        Ok(Self { session: session(row)?, fence: Fence(get(row, "fence")?), lease, policy: optional(row, "policy")? })
    }

    /// The lease that a write with this fence needs: the session's newest, and not given up. One that ran out and that
    /// nobody took over still counts: nobody else can have done anything meanwhile.
    pub(super) fn leased(&self, fence: Fence) -> Option<&Lease> {
        self.lease.as_ref().filter(|_| self.fence == fence)
    }

    /// For how many milliseconds more a live lease protects the session.
    pub(super) fn protected_ms(&self, now_ms: i64) -> Option<i64> {
        let remaining = self.lease.as_ref()?.until_ms - now_ms;
        (remaining > 0).then_some(remaining)
    }
}

fn session(row: &AnyRow) -> Result<Session, SessionStoreError> {
    Ok(Session {
        upload_id: parsed(row, "upload_id")?,
        object_id: parsed(row, "object_id")?,
        tenant: parsed(row, "tenant")?,
        bucket: parsed(row, "bucket")?,
        key: QuarantineKey::from_key(parsed::<ObjectKey>(row, "key")?),
        file_name: parsed(row, "file_name")?,
        declared_type: parsed(row, "declared_type")?,
        declared_size: bytes(row, "declared_size")?,
        declared_sha256: parsed_if(row, "declared_sha256")?,
        state: state(row)?,
        detail: optional(row, "detail")?,
        overrides: overrides(row)?,
        attempts: u32::try_from(get::<i64>(row, "attempts")?).map_err(|error| corrupt(format!("attempts: {error}")))?,
        source: source(row)?,
        original_deleted_at: time_if(row, "original_deleted_at_ms")?,
        published_deleted_at: time_if(row, "published_deleted_at_ms")?,
        created_at: time(row, "created_at_ms")?,
        updated_at: time(row, "updated_at_ms")?,
        expires_at: time(row, "expires_at_ms")?,
    })
}

fn state(row: &AnyRow) -> Result<SessionState, SessionStoreError> {
    Ok(match parsed::<StateName>(row, "state")? {
        StateName::Created => SessionState::Created,
        StateName::Uploaded => SessionState::Uploaded,
        StateName::Finalized => SessionState::Finalized,
        StateName::Published => SessionState::Published(published(row)?),
        StateName::Rejected => SessionState::Rejected(parsed::<Reason>(row, "reason")?),
        StateName::Held => SessionState::Held(hold_reason(get(row, "reason")?)?),
        StateName::Expired => SessionState::Expired,
        StateName::Revoked => SessionState::Revoked { object: published(row)?, reason: revoked_reason(row)? },
    })
}

fn revoked_reason(row: &AnyRow) -> Result<Option<RejectReason>, SessionStoreError> {
    optional(row, "revoked_reason")?
        .map(|code| RejectReason::try_from(code).map_err(invalid("revoked_reason")))
        .transpose()
}

fn hold_reason(code: String) -> Result<HoldReason, SessionStoreError> {
    HoldReason::try_from(code).map_err(invalid("reason"))
}

fn overrides(row: &AnyRow) -> Result<Vec<HoldReason>, SessionStoreError> {
    from_json(&get::<String>(row, "overrides")?)
}

fn published(row: &AnyRow) -> Result<PublishedObject, SessionStoreError> {
    Ok(PublishedObject {
        bucket: parsed(row, "published_bucket")?,
        key: PublishedKey::from_key(parsed::<ObjectKey>(row, "published_key")?),
        sha256: parsed(row, "published_sha256")?,
        size: bytes(row, "published_size")?,
        content_type: parsed(row, "published_type")?,
        image: optional(row, "published_image")?.map(|text| from_json(&text)).transpose()?,
    })
}

fn source(row: &AnyRow) -> Result<Option<SourceObject>, SessionStoreError> {
    let Some(etag) = parsed_if(row, "source_etag")? else { return Ok(None) };
    Ok(Some(SourceObject {
        version: parsed_if(row, "source_version")?,
        etag,
        size: bytes(row, "source_size")?,
        sha256: parsed_if(row, "source_sha256")?,
        detected_type: parsed_if(row, "source_type")?,
    }))
}

/// The published object of a state that carries one, readable or not.
pub(super) fn published_of(state: &SessionState) -> Option<&PublishedObject> {
    match state {
        SessionState::Published(object) | SessionState::Revoked { object, .. } => Some(object),
        SessionState::Created
        | SessionState::Uploaded
        | SessionState::Finalized
        | SessionState::Rejected(_)
        | SessionState::Held(_)
        | SessionState::Expired => None,
    }
}

pub(super) fn get<'r, T>(row: &'r AnyRow, column: &str) -> Result<T, SessionStoreError>
where
    T: sqlx::Decode<'r, Any> + sqlx::Type<Any>,
{
    row.try_get(column).map_err(failed("read a record"))
}

fn optional(row: &AnyRow, column: &str) -> Result<Option<String>, SessionStoreError> {
    get(row, column)
}

pub(super) fn parsed<T: FromStr<Err = InvalidValue>>(row: &AnyRow, column: &str) -> Result<T, SessionStoreError> {
    get::<String>(row, column)?.parse().map_err(invalid(column))
}

pub(super) fn parsed_if<T: FromStr<Err = InvalidValue>>(
    row: &AnyRow,
    column: &str,
) -> Result<Option<T>, SessionStoreError> {
    optional(row, column)?.map(|text| text.parse().map_err(invalid(column))).transpose()
}

fn bytes(row: &AnyRow, column: &str) -> Result<u64, SessionStoreError> {
    u64::try_from(get::<i64>(row, column)?).map_err(|error| corrupt(format!("{column}: {error}")))
}

/// Text from outside as the databases can hold it: PostgreSQL knows no NUL.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A length as the database can hold it.
pub(super) fn length(bytes: u64) -> Result<i64, SessionStoreError> {
    i64::try_from(bytes).map_err(|_| corrupt(format!("{bytes} bytes are more than the {} a record can hold", i64::MAX)))
}

pub(super) fn time(row: &AnyRow, column: &str) -> Result<Timestamp, SessionStoreError> {
    at(get(row, column)?)
}

pub(super) fn time_if(row: &AnyRow, column: &str) -> Result<Option<Timestamp>, SessionStoreError> {
    get::<Option<i64>>(row, column)?.map(at).transpose()
}

/// A point in time as the database holds it.
pub(super) fn at(ms: i64) -> Result<Timestamp, SessionStoreError> {
    Timestamp::from_millisecond(ms).map_err(|error| corrupt(format!("time {ms} ms: {error}")))
}

/// A value that a column holds as JSON.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, SessionStoreError> {
    serde_json::from_str(text).map_err(|error| corrupt(format!("{error} in {text:?}")))
}

/// The error for an id that no row has.
pub(super) fn unknown(id: UploadId) -> impl FnOnce() -> SessionStoreError {
    move || SessionStoreError::NotFound { id }
}
