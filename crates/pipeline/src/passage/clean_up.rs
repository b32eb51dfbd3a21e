//! What a settled session leaves behind in the store, and how it goes.
//!
//! Every step may be repeated: a crash in between is mended by the next delivery or by the sweeper.

use std::collections::HashSet;

use lazaret_core::{
    BucketName, ObjectKey, Prefix, PublishedKey, PublishedObject, Session, SessionState, VersionId,
    ports::{ListFrom, StoreError},
};

use super::PassageError;
use crate::station::Station;

/// Whether published copies can be there that the session's state does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Copies {
    /// No attempt but the one that decided has published anything.
    None,
    /// An attempt before may have published and ended before its commit, given back or not.
    Perhaps,
}

/// Deletes what the session's state does not want any more: the original of a published upload, a late write under a
/// key that is done, copies that a decision does not name.
pub(crate) async fn clean_up(
    station: &Station,
    session: &Session,
    event_version: Option<&VersionId>,
    copies: Copies,
) -> Result<(), PassageError> {
    let key = session.key.as_key();
    match &session.state {
        SessionState::Created | SessionState::Uploaded | SessionState::Finalized => return Ok(()),
        SessionState::Published(_)
        | SessionState::Revoked { .. }
        | SessionState::Expired
        | SessionState::Rejected(_)
        | SessionState::Held(_) => {
            if copies == Copies::Perhaps {
                withdraw_copies(station, session).await?;
            }
        }
    }
    match &session.state {
        SessionState::Published(_) | SessionState::Revoked { .. } => {
            let judged = session.source.as_ref().and_then(|source| source.version.as_ref());
            if let Some(late) = event_version.filter(|version| Some(*version) != judged) {
                station.store.delete(&session.bucket, key, Some(late)).await?;
            }
            station.store.delete(&session.bucket, key, judged).await?;
            station.sessions.record_original_deleted(session.upload_id).await?;
        }
        SessionState::Expired => {
            delete_all_versions(station, &session.bucket, key).await?;
            station.sessions.record_original_deleted(session.upload_id).await?;
        }
        // The original stays until `retain_rejected` has passed, or until an operator has decided.
        SessionState::Rejected(_)
        | SessionState::Held(_)
        | SessionState::Created
        | SessionState::Uploaded
        | SessionState::Finalized => {}
    }
    Ok(())
}

/// Deletes every published copy of the session's object, and of its variants, but those that its state names.
pub(crate) async fn withdraw_copies(station: &Station, session: &Session) -> Result<(), PassageError> {
    for copy in stray_copies(station, session).await? {
        if !withdraw_copy(station, session, &copy).await? {
            break;
        }
    }
    Ok(())
}

/// The published copies of the session's object and its variants but for those its state names: a few, for each is of an
/// attempt.
pub(crate) async fn stray_copies(station: &Station, session: &Session) -> Result<Vec<ObjectKey>, PassageError> {
    let bucket = &station.settings.published_bucket;
    let text = format!("{}{}/", station.settings.published_prefix, session.object_id);
    let prefix: Prefix =
        text.parse().map_err(|error| PassageError::Unsound(format!("copies cannot be listed: {error}")))?;
    let kept: HashSet<_> =
        session.state.published().into_iter().flat_map(PublishedObject::keys).map(PublishedKey::as_key).collect();
    let (mut stray, mut from) = (Vec::new(), None);
    loop {
        let page = station.store.list(bucket, &prefix, ListFrom::page(from.as_deref())).await?;
        stray.extend(page.items.into_iter().map(|copy| copy.key).filter(|key| !kept.contains(key)));
        match page.next {
            Some(next) => from = Some(next),
            None => return Ok(stray),
        }
    }
}

/// Deletes a stray copy with all its versions. False: the session is not as it was seen, so nothing is deleted. A held one
/// that was released meanwhile may have a newer attempt, and the copy be its own.
pub(crate) async fn withdraw_copy(
    station: &Station,
    session: &Session,
    copy: &ObjectKey,
) -> Result<bool, PassageError> {
    let now = station.sessions.get(session.upload_id).await?;
    if now.is_none_or(|now| now.updated_at != session.updated_at) {
        return Ok(false);
    }
    delete_all_versions(station, &station.settings.published_bucket, copy).await?;
    Ok(true)
}

/// Deletes the object under a key with all its versions.
pub(crate) async fn delete_all_versions(
    station: &Station,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<(), StoreError> {
    let versions = station.store.versions(bucket, key).await?;
    if versions.is_empty() {
        // Where there is nothing, a bucket with versioning would answer a deletion with a delete marker, and so it would
        // where a version arrived meanwhile: under a marker nobody would find it again.
        return match station.store.head(bucket, key, None).await? {
            Some(head) => station.store.delete(bucket, key, head.version.as_ref()).await,
            None => Ok(()),
        };
    }
    for version in &versions {
        station.store.delete(bucket, key, Some(version)).await?;
    }
    Ok(())
}
