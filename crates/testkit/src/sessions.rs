//! The contract of [`SessionStore`], rule by rule. Every adapter runs [`conforms`] and, if several processes can share
//! its database, [`conforms_shared`].

pub mod attempts;
pub mod making;
pub mod outbox;
pub mod requests;
pub mod revoking;
pub mod settling;
pub mod steering;
pub mod sweeping;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use lazaret_core::{
    EngineVersion, Fence, Finding, NewSession, ObjectId, Prefix, PublishedImage, PublishedKey, PublishedObject,
    PublishedVariant, QuarantineKey, RejectReason, ScanReport, Session, Sha256Digest, SourceObject, UploadId, WorkerId,
    ports::{Begun, Decision, SessionStore, Settled, Settlement},
};
use uuid::Uuid;

/// A lease that no test outlives.
pub const LONG: Duration = Duration::from_hours(1);
/// A lease that has run out when it is taken: what a crash long ago leaves behind.
pub const OVER: Duration = Duration::ZERO;
/// A lease that is live for a moment.
pub const SHORT: Duration = Duration::from_millis(120);
/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

macro_rules! rules {
    ($make:expr; $($rule:path),+ $(,)?) => {
        $({
            let store = $make().await.context("cannot make a store")?;
            $rule(&*store).await.context(stringify!($rule))?;
        })+
    };
}

macro_rules! shared_rules {
    ($make:expr; $($rule:path),+ $(,)?) => {
        $({
            let (one, other) = $make().await.context("cannot make two stores")?;
            $rule(one, other).await.context(stringify!($rule))?;
        })+
    };
}

/// Runs every rule that one store alone can show, each on a store of its own.
pub async fn conforms(make: impl AsyncFn() -> Result<Arc<dyn SessionStore>>) -> Result<()> {
    rules!(make;
        making::keeps_what_it_was_given,
        making::refuses_a_second_of_the_same,
        making::lists_in_pages,
        making::checks_itself,
        making::takes_any_text,
        attempts::lease_is_exclusive_while_live,
        attempts::lease_that_ran_out_is_taken_over,
        attempts::lease_that_nobody_took_over_still_settles,
        attempts::renewal_keeps_the_lease,
        attempts::stale_fence_changes_nothing,
        attempts::unknown_fence_changes_nothing,
        attempts::finalizes_only_when_told,
        attempts::give_back_takes_the_attempt_back,
        attempts::failures_count_and_exhaust,
        attempts::crashes_count_and_exhaust,
        attempts::settled_sessions_are_not_begun,
        settling::publishes,
        settling::rejects,
        settling::holds,
        settling::settles_once,
        settling::tells_the_whole_story,
        steering::upload_is_marked_once,
        steering::finalizes_once,
        steering::settled_sessions_are_not_finalized,
        steering::release_runs_again,
        steering::release_is_for_held_sessions,
        steering::upheld_hold_is_rejected,
        sweeping::overdue_by_its_own_clock,
        sweeping::live_lease_protects,
        sweeping::expires_what_is_as_seen,
        sweeping::expired_session_has_no_worker,
        sweeping::removable_by_state,
        sweeping::deleted_original_is_remembered_once,
        sweeping::contested_by_its_attempts,
        sweeping::contested_in_pages_until_it_is_over,
        sweeping::orphans_are_remembered_once,
        revoking::revokes,
        revoking::revocation_is_for_published_sessions,
        revoking::rechecks_are_on_record,
        revoking::withdrawable_until_it_is_over,
        revoking::counts_by_state,
        revoking::earlier_scans_are_alike,
        revoking::earlier_scans_said_clean_by_themselves,
        outbox::items_go_to_one_claimer,
        outbox::claims_run_out,
        outbox::done_items_are_gone,
        outbox::later_items_wait_for_earlier_ones,
        requests::requests_wait_once,
        requests::requests_are_for_what_waits,
    );
    Ok(())
}

/// Runs the rules about two stores on one database. `make` gives a new database each time.
pub async fn conforms_shared(
    make: impl AsyncFn() -> Result<(Arc<dyn SessionStore>, Arc<dyn SessionStore>)>,
) -> Result<()> {
    let (one, other) = make().await?;
    attempts::attempts_are_committed(&*one, &*other).await.context("attempts_are_committed")?;
    shared_rules!(make;
        attempts::one_of_many_is_leased,
        attempts::fences_are_given_once,
        attempts::one_of_many_settles,
        outbox::claimers_share_nothing,
        outbox::concurrent_claims_keep_the_order,
        requests::one_of_many_requests_waits,
    );
    Ok(())
}

/// A session to be made, with new ids, that expires in an hour.
pub fn new_session() -> Result<NewSession> {
    let upload_id = UploadId::from_uuid(Uuid::now_v7());
    Ok(NewSession {
        upload_id,
        object_id: ObjectId::from_uuid(Uuid::now_v7()),
        tenant: "tenant-1".parse()?,
        bucket: "uploads".parse()?,
        key: QuarantineKey::for_upload(&"quarantine/".parse::<Prefix>()?, upload_id),
        file_name: "holiday photo.png".parse()?,
        declared_type: "image/png".parse()?,
        declared_size: 4096,
        declared_sha256: Some(Sha256Digest::from_bytes([1; 32])),
        expires_in: LONG,
    })
}

/// A created session.
pub async fn created(store: &dyn SessionStore) -> Result<Session> {
    Ok(store.create(&new_session()?).await?)
}

/// A created session whose time is over.
pub async fn overdue(store: &dyn SessionStore) -> Result<Session> {
    Ok(store.create(&NewSession { expires_in: Duration::ZERO, ..new_session()? }).await?)
}

/// The worker of most rules.
pub fn worker() -> WorkerId {
    WorkerId::new("worker-1")
}

/// Begins an attempt that must succeed.
pub async fn begin(store: &dyn SessionStore, id: UploadId, lease: Duration) -> Result<(Session, Fence)> {
    match store.begin_attempt(id, &worker(), lease, 100, true).await? {
        Begun::Leased { session, fence, .. } => Ok((session, fence)),
        other => bail!("expected a lease, got {other:?}"),
    }
}

/// A new session settled with `settlement`.
pub async fn settled(store: &dyn SessionStore, settlement: &Settlement) -> Result<Session> {
    let id = created(store).await?.upload_id;
    let (_, fence) = begin(store, id, LONG).await?;
    commit(store, id, fence, settlement).await
}

/// Settles a session, which must be committed.
pub async fn commit(store: &dyn SessionStore, id: UploadId, fence: Fence, settlement: &Settlement) -> Result<Session> {
    match store.settle(id, fence, settlement).await? {
        Settled::Committed(session) => Ok(*session),
        Settled::Stale => bail!("the settlement of {id} with fence {fence} is stale"),
    }
}

/// The bytes that every settlement here is about.
pub fn source() -> Result<SourceObject> {
    Ok(SourceObject {
        version: Some("v1".parse()?),
        etag: "d41d8cd98f00b204e9800998ecf8427e".parse()?,
        size: 4096,
        sha256: Some(Sha256Digest::from_bytes([1; 32])),
        detected_type: Some("image/png".parse()?),
    })
}

/// A scanner's answer.
pub fn report(finding: Finding) -> Result<ScanReport> {
    Ok(ScanReport {
        scanner: "clamd".parse()?,
        engine: EngineVersion {
            engine: "ClamAV 1.4.6".to_owned(),
            signatures: Some("27000".to_owned()),
            signatures_at: Some("2026-11-01T00:00:00Z".parse()?),
        },
        finding,
        matches: Vec::new(),
        allowed_by: None,
        reused_from: None,
        elapsed_ms: 12,
    })
}

/// A clean image, published with a variant.
pub fn publish() -> Result<Settlement> {
    publish_with(Some(PublishedImage {
        width: 640,
        height: 480,
        frames: 1,
        thumbhash: Some("3OcRJYB4d3h/iIeHeEh3eIhw+j2w".to_owned()),
        variants: vec![PublishedVariant {
            name: "thumb".parse()?,
            key: PublishedKey::from_key("published/x/thumb".parse()?),
            sha256: Sha256Digest::from_bytes([3; 32]),
            size: 400,
            content_type: "image/png".parse()?,
            width: 256,
            height: 192,
        }],
    }))
}

/// A clean object, published, that looks like this.
pub fn publish_with(image: Option<PublishedImage>) -> Result<Settlement> {
    let sha256 = Sha256Digest::from_bytes([2; 32]);
    let key = PublishedKey::for_object(&"published/".parse()?, ObjectId::from_uuid(Uuid::now_v7()), &sha256);
    let (bucket, content_type) = ("published".parse()?, "image/png".parse()?);
    let object = PublishedObject { bucket, key, sha256, size: 4000, content_type, image };
    Ok(Settlement {
        decision: Decision::Publish(object),
        source: Some(source()?),
        policy: Some("images".to_owned()),
        reports: vec![report(Finding::Clean)?],
    })
}

/// An infected object, rejected.
pub fn reject() -> Result<Settlement> {
    Ok(Settlement {
        decision: Decision::Reject { reason: RejectReason::Infected, detail: "Eicar-Test-Signature".to_owned() },
        source: Some(source()?),
        policy: Some("images".to_owned()),
        reports: vec![report(Finding::Infected { signature: "Eicar-Test-Signature".to_owned() })?],
    })
}

/// An encrypted object, held.
pub fn hold() -> Result<Settlement> {
    use lazaret_core::HoldReason::Encrypted;

    let detail = "Heuristics.Encrypted.Zip".to_owned();
    Ok(Settlement {
        decision: Decision::Hold { reason: Encrypted, detail: detail.clone() },
        source: Some(source()?),
        policy: Some("archives".to_owned()),
        reports: vec![report(Finding::Unscannable { reason: Encrypted, detail })?],
    })
}

/// The session as it stands.
pub async fn now_is(store: &dyn SessionStore, id: UploadId) -> Result<Session> {
    store.get(id).await?.with_context(|| format!("session {id} is gone"))
}

/// Asks until `condition` gives something, for at most `PATIENCE`.
pub async fn until<T>(what: &str, condition: impl AsyncFn() -> Result<Option<T>>) -> Result<T> {
    let ask = async {
        loop {
            if let Some(found) = condition().await? {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ask).await.with_context(|| format!("{what}: not within {PATIENCE:?}"))?
}
