//! The bodies of outbox items.

use lazaret_core::{ScanReport, Session, SessionState};
use serde_json::{Value, json};

/// What puts a session's object on the queue: its bucket and key, and the version where it is known.
pub(crate) fn process(session: &Session) -> String {
    let mut body = json!({ "bucket": session.bucket, "key": session.key });
    if let Some(version) = session.source.as_ref().and_then(|source| source.version.as_ref()) {
        body["version"] = json!(version);
    }
    body.to_string()
}

/// The data of a `lazaret.upload.published|rejected|held|expired|revoked` event: the last part of that type is `state`.
pub(crate) fn verdict(session: &Session, policy: Option<&str>, reports: &[ScanReport]) -> String {
    let published = match &session.state {
        SessionState::Published(object) | SessionState::Revoked { object, .. } => json!(object),
        SessionState::Created
        | SessionState::Uploaded
        | SessionState::Finalized
        | SessionState::Rejected(_)
        | SessionState::Held(_)
        | SessionState::Expired => Value::Null,
    };
    let source = session.source.as_ref().map(|source| {
        json!({
            "version": source.version,
            "etag": source.etag,
            "sha256": source.sha256,
            "size": source.size,
            "content_type": source.detected_type,
        })
    });
    json!({
        "upload_id": session.upload_id,
        "object_id": session.object_id,
        "tenant": session.tenant,
        "state": session.state.name(),
        "reason": session.state.reason(),
        "detail": session.detail,
        "policy": policy,
        "settled_at": session.updated_at,
        "published": published,
        "source": source,
        "scanners": reports,
    })
    .to_string()
}
