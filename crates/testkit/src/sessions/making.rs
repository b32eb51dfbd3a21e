//! Sessions made, found and listed.

use anyhow::{Result, ensure};
use lazaret_core::{
    BucketName, NewSession, ObjectEvent, ObjectId, ObjectKey, QuarantineKey, SessionState, StateName, UploadId,
    ports::{SessionStore, SessionStoreError},
};
use uuid::Uuid;

use super::{LONG, begin, created, new_session};

/// What was promised comes back, by id and by key, with the store's times.
pub async fn keeps_what_it_was_given(store: &dyn SessionStore) -> Result<()> {
    let before = store.now().await?;
    for new in [new_session()?, NewSession { declared_sha256: None, declared_size: 0, ..new_session()? }] {
        let session = store.create(&new).await?;
        ensure!(session.state == SessionState::Created && session.attempts == 0, "{session:?}");
        ensure!(
            (session.upload_id, session.object_id, &session.tenant, &session.bucket, &session.key)
                == (new.upload_id, new.object_id, &new.tenant, &new.bucket, &new.key),
            "{session:?}"
        );
        ensure!(
            (&session.file_name, &session.declared_type, session.declared_size, session.declared_sha256)
                == (&new.file_name, &new.declared_type, new.declared_size, new.declared_sha256),
            "{session:?}"
        );
        ensure!(session.created_at >= before && session.created_at <= store.now().await?, "{session:?}");
        ensure!(session.expires_at == session.created_at + jiff::SignedDuration::try_from(LONG)?, "{session:?}");
        ensure!(session.source.is_none() && session.overrides.is_empty() && session.original_deleted_at.is_none());
        ensure!(store.get(new.upload_id).await?.as_ref() == Some(&session));
        ensure!(store.find(&new.bucket, new.key.as_key()).await?.as_ref() == Some(&session));
    }
    let unknown = new_session()?;
    ensure!(store.get(unknown.upload_id).await?.is_none());
    ensure!(store.find(&unknown.bucket, unknown.key.as_key()).await?.is_none());
    let history = store.history(unknown.upload_id).await?;
    ensure!(history.audit.is_empty() && history.attempts.is_empty() && history.verdicts.is_empty());
    Ok(())
}

/// The same id, or the same bucket and key, is a conflict and leaves the first session alone.
pub async fn refuses_a_second_of_the_same(store: &dyn SessionStore) -> Result<()> {
    let new = new_session()?;
    let first = store.create(&new).await?;
    let other = new_session()?;
    let same_id = NewSession { upload_id: new.upload_id, ..other.clone() };
    let same_key = NewSession { key: new.key.clone(), ..other.clone() };
    for second in [&new, &same_id, &same_key] {
        let answer = store.create(second).await;
        ensure!(matches!(answer, Err(SessionStoreError::Conflict { .. })), "{answer:?}");
    }
    ensure!(store.get(new.upload_id).await? == Some(first));
    ensure!(store.history(new.upload_id).await?.audit.len() == 1);
    // The same key in another bucket is another object.
    let elsewhere = NewSession { bucket: "elsewhere".parse()?, key: QuarantineKey::clone(&new.key), ..other };
    store.create(&elsewhere).await?;
    Ok(())
}

/// By id, a page at a time, of one state or of all.
pub async fn lists_in_pages(store: &dyn SessionStore) -> Result<()> {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(created(store).await?.upload_id);
    }
    let finalized = ids[2];
    begin(store, finalized, LONG).await?;
    let mut seen = Vec::<UploadId>::new();
    loop {
        let page = store.list(None, seen.last().copied(), 2).await?;
        ensure!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        seen.extend(page.iter().map(|session| session.upload_id));
    }
    ensure!(seen == ids, "{seen:?} instead of {ids:?}");
    let of_state: Vec<_> =
        store.list(Some(StateName::Finalized), None, 10).await?.iter().map(|session| session.upload_id).collect();
    ensure!(of_state == [finalized], "{of_state:?}");
    ensure!(store.list(Some(StateName::Finalized), Some(finalized), 10).await?.is_empty());
    Ok(())
}

/// Text that a database cannot hold is neither an outage nor a reason to give a delivery up.
pub async fn takes_any_text(store: &dyn SessionStore) -> Result<()> {
    let odd = "a\0b \u{202e}\u{1f4a9} '; drop table sessions; --";
    let id = created(store).await?.upload_id;
    let (_, fence) = begin(store, id, LONG).await?;
    store.fail_attempt(id, fence, odd).await?;
    let attempts = store.history(id).await?.attempts;
    ensure!(attempts[0].error.as_ref().is_some_and(|error| error.ends_with("drop table sessions; --")), "{attempts:?}");
    store.finalize(created(store).await?.upload_id, odd).await?;
    let key: ObjectKey = odd.parse()?;
    ensure!(store.find(&"uploads".parse()?, &key).await?.is_none());
    let bucket: BucketName = "uploads".parse()?;
    let event = ObjectEvent {
        bucket: bucket.clone(),
        key: key.clone(),
        version: None,
        etag: None,
        size: None,
        occurred_at: None,
    };
    store.record_orphan(&event).await?;
    store.record_orphan_swept(&bucket, &key).await?;
    Ok(())
}

/// A store that is there says so, and its clock runs. An unknown id is an error wherever a session is asked to move.
pub async fn checks_itself(store: &dyn SessionStore) -> Result<()> {
    store.check().await?;
    ensure!(store.now().await? <= store.now().await?);
    let id = UploadId::from_uuid(Uuid::now_v7());
    for answer in [
        store.mark_uploaded(id, "x").await,
        store.finalize(id, "x").await,
        store.release(id, "x").await,
        store.reject_held(id, "x").await,
    ] {
        ensure!(matches!(answer, Err(SessionStoreError::NotFound { .. })), "{answer:?}");
    }
    let object = ObjectId::from_uuid(Uuid::now_v7());
    let second = NewSession { object_id: object, ..new_session()? };
    store.create(&second).await?;
    let answer = store.create(&NewSession { object_id: object, ..new_session()? }).await;
    ensure!(matches!(answer, Err(SessionStoreError::Conflict { .. })), "one object for two sessions: {answer:?}");
    Ok(())
}
