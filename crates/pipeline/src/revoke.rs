//! The published copies of what is published no more.

use lazaret_core::{BucketName, ObjectKey, PublishedKey, PublishedObject, Session, SessionState};

use crate::{
    passage::{PassageError, delete_all_versions, stray_copies},
    station::Station,
};

/// Deletes every copy of a revoked object and its variants, with all versions, and records that they are gone. The state
/// is committed by now, so that nobody can come to name them again; what is cut off here the sweeper finishes.
pub(crate) async fn withdraw(station: &Station, session: &Session) -> Result<(), PassageError> {
    let Some(object) = revoked(session) else { return Ok(()) };
    for key in object.keys().collect::<Vec<_>>() {
        delete_all_versions(station, &object.bucket, key.as_key()).await?;
    }
    for copy in stray_copies(station, session).await? {
        delete_all_versions(station, &station.settings.published_bucket, &copy).await?;
    }
    Ok(station.sessions.record_published_deleted(session.upload_id).await?)
}

/// The copies of a revoked object that are there: those it names, wherever they were published, and any that came late.
pub(crate) async fn copies(station: &Station, session: &Session) -> Result<Vec<(BucketName, ObjectKey)>, PassageError> {
    let published = &station.settings.published_bucket;
    let strays = stray_copies(station, session).await?;
    let mut copies: Vec<_> = strays.into_iter().map(|key| (published.clone(), key)).collect();
    let Some(object) = revoked(session) else { return Ok(copies) };
    let bucket = &object.bucket;
    for key in object.keys().map(PublishedKey::as_key).collect::<Vec<_>>() {
        let is_known = copies.iter().any(|copy| (&copy.0, &copy.1) == (bucket, key));
        if !is_known && station.store.head(bucket, key, None).await?.is_some() {
            copies.push((bucket.clone(), key.clone()));
        }
    }
    Ok(copies)
}

const fn revoked(session: &Session) -> Option<&PublishedObject> {
    match &session.state {
        SessionState::Revoked { object, .. } => Some(object),
        SessionState::Created
        | SessionState::Uploaded
        | SessionState::Finalized
        | SessionState::Published(_)
        | SessionState::Rejected(_)
        | SessionState::Held(_)
        | SessionState::Expired => None,
    }
}
