//! What sessions look like outside: the stable JSON shapes.

use comfy_table::Cell;
use lazaret_core::{
    HoldReason, MediaType, ObjectId, PublishedObject, Reason, ScanReport, Session, Sha256Digest, SourceObject,
    StateName, Timestamp, UploadId,
    ports::{AttemptRecord, AuditRecord, History},
};
use serde::Serialize;

use crate::output;

/// One line of a list.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) upload_id: UploadId,
    pub(super) object_id: ObjectId,
    pub(super) tenant: String,
    pub(super) file_name: String,
    pub(super) state: StateName,
    pub(super) reason: Option<Reason>,
    pub(super) declared_size: u64,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) expires_at: Timestamp,
}

impl Summary {
    pub(super) fn of(session: &Session) -> Self {
        Self {
            upload_id: session.upload_id,
            object_id: session.object_id,
            tenant: session.tenant.to_string(),
            file_name: session.file_name.to_string(),
            state: session.state.name(),
            reason: session.state.reason(),
            declared_size: session.declared_size,
            created_at: session.created_at,
            updated_at: session.updated_at,
            expires_at: session.expires_at,
        }
    }

    pub(super) fn cells(&self) -> Vec<Cell> {
        vec![
            Cell::new(self.upload_id),
            Cell::new(&self.tenant),
            Cell::new(&self.file_name),
            Cell::new(self.declared_size),
            output::state(self.state),
            Cell::new(output::or_dash(self.reason)),
            Cell::new(format!("{:.0}", self.updated_at)),
        ]
    }
}

/// What the client promised.
#[derive(Debug, Serialize)]
pub(super) struct Declared {
    #[serde(rename = "type")]
    pub(super) media_type: MediaType,
    pub(super) size: u64,
    pub(super) sha256: Option<Sha256Digest>,
}

/// The whole story.
#[derive(Debug, Serialize)]
pub(super) struct Story {
    pub(super) upload_id: UploadId,
    pub(super) object_id: ObjectId,
    pub(super) tenant: String,
    pub(super) file_name: String,
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) state: StateName,
    pub(super) reason: Option<Reason>,
    pub(super) detail: Option<String>,
    pub(super) declared: Declared,
    pub(super) source: Option<SourceObject>,
    pub(super) published: Option<PublishedObject>,
    pub(super) verdicts: Vec<ScanReport>,
    pub(super) attempts: u32,
    pub(super) attempt_history: Vec<AttemptRecord>,
    pub(super) overrides: Vec<HoldReason>,
    pub(super) audit: Vec<AuditRecord>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) original_deleted_at: Option<Timestamp>,
    pub(super) published_deleted_at: Option<Timestamp>,
}

impl Story {
    pub(super) fn of(session: Session, history: History) -> Self {
        Self {
            upload_id: session.upload_id,
            object_id: session.object_id,
            tenant: session.tenant.to_string(),
            file_name: session.file_name.to_string(),
            bucket: session.bucket.to_string(),
            key: session.key.to_string(),
            state: session.state.name(),
            reason: session.state.reason(),
            detail: session.detail,
            declared: Declared {
                media_type: session.declared_type,
                size: session.declared_size,
                sha256: session.declared_sha256,
            },
            source: session.source,
            published: session.state.published().cloned(),
            verdicts: history.verdicts,
            attempts: session.attempts,
            attempt_history: history.attempts,
            overrides: session.overrides,
            audit: history.audit,
            created_at: session.created_at,
            updated_at: session.updated_at,
            expires_at: session.expires_at,
            original_deleted_at: session.original_deleted_at,
            published_deleted_at: session.published_deleted_at,
        }
    }
}
