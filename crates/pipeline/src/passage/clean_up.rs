//! What a settled session leaves behind in the store, and how it goes.
//!
//! Every step may be repeated: a crash in between is mended by the next delivery or by the sweeper.

use lazaret_core::{BucketName, ObjectKey, Prefix, Session, SessionState, VersionId, ports::StoreError};

use super::PassageError;
use crate::station::Station;

/// Deletes what the session's state does not want any more: the original of a published upload, a late write under a
/// key that is done, copies that a decision does not name.
pub(crate) async fn clean_up(
    station: &Station,
    session: &Session,
    event_version: Option<&VersionId>,
) -> Result<(), PassageError> {
    match &session.state {
        SessionState::Created | SessionState::Uploaded | SessionState::Finalized => {}
        SessionState::Published(_) | SessionState::Revoked(_) => {
            if session.attempts > 1 {
                withdraw_copies(station, session).await?;
            }
            let judged = session.source.as_ref().and_then(|source| source.version.as_ref());
            let key = session.key.as_key();
            if let Some(late) = event_version.filter(|version| Some(*version) != judged) {
                station.store.delete(&session.bucket, key, Some(late)).await?;
            }
            station.store.delete(&session.bucket, key, judged).await?;
            station.sessions.record_original_deleted(session.upload_id).await?;
        }
        SessionState::Expired => {
            delete_all_versions(station, &session.bucket, session.key.as_key()).await?;
            station.sessions.record_original_deleted(session.upload_id).await?;
        }
        // The original stays until `retain_rejected` has passed, or until an operator has decided.
        SessionState::Rejected(_) | SessionState::Held(_) => withdraw_copies(station, session).await?,
    }
    Ok(())
}

/// Deletes every published copy of the session's object but the one its state names.
pub(crate) async fn withdraw_copies(station: &Station, session: &Session) -> Result<(), StoreError> {
    let bucket = &station.settings.published_bucket;
    let text = format!("{}{}/", station.settings.published_prefix, session.object_id);
    // A prefix that settings accepted and a UUID make a prefix again.
    let Ok(prefix) = text.parse::<Prefix>() else { return Ok(()) };
    let kept = session.state.published().map(|object| object.key.as_key());
    let mut from = None;
    loop {
        let page = station.store.list(bucket, &prefix, from.as_deref()).await?;
        for copy in page.items.iter().filter(|copy| Some(&copy.key) != kept) {
            delete_all_versions(station, bucket, &copy.key).await?;
        }
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(()),
        }
    }
}

/// Deletes the object under a key with all its versions.
pub(crate) async fn delete_all_versions(
    station: &Station,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<(), StoreError> {
    let versions = station.store.versions(bucket, key).await?;
    if versions.is_empty() {
        return station.store.delete(bucket, key, None).await;
    }
    for version in &versions {
        station.store.delete(bucket, key, Some(version)).await?;
    }
    Ok(())
}
