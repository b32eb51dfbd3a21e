//! One attempt, under one lease and one fence.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use lazaret_core::{
    Action, Disposition, Fence, HoldReason, MediaType, ObjectEvent, Policy, RejectReason, ScanReport, Session,
    SourceObject, Spooled,
    error::chain,
    ports::{Decision, ObjectHead, ScanError, SessionStoreError, Settled, Settlement, StoreError},
};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Span, info, info_span, warn};

use super::{Passage, PassageError, Passed, clean_up, clean_up::Copies};
use crate::{
    archive::{Bounds, Opaque, first_of, opaque_members},
    detect::DetectError,
    metrics::{self, stage},
    publish::{Copy, PublishError, publish},
    scan::{Job, ScanStageError, Scanned, blocked, scan},
    station::Station,
    transform::{Remade, TransformStageError, remake, treatment},
    verify::{Promise, Rejection, Verified, check_content, check_size},
};

/// How long a dependency may take to say that it is there after it failed.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Attempt<'a> {
    pub(super) passage: &'a Passage,
    pub(super) event: &'a ObjectEvent,
    pub(super) session: Session,
    pub(super) fence: Fence,
    pub(super) number: u32,
    /// The bytes and the policy of this attempt, once they were read and verified.
    pub(super) seen: OnceLock<(SourceObject, String)>,
}

/// What the stages came to.
enum Judged {
    Missing,
    Decided(Box<Settlement>),
}

/// The type and policy that verification arrived at.
struct Accepted {
    media_type: MediaType,
    policy: Policy,
    opaque: Vec<Opaque>,
}

impl Attempt<'_> {
    const fn station(&self) -> &Arc<Station> {
        &self.passage.station
    }

    /// Runs the stages, then commits, cleans up, or ends the lease with the reason.
    pub(super) async fn run(&self, stop: &CancellationToken) -> Result<Passed, PassageError> {
        let judged = tokio::select! {
            judged = self.judge() => judged,
            lost = self.keep_lease() => Err(lost),
            () = stop.cancelled() => {
                self.give_back("stopped", stop).await?;
                return Ok(Passed::Interrupted);
            }
        };
        let outcome = match judged {
            Ok(Judged::Missing) => {
                self.give_back("the object is not there", stop).await?;
                return Ok(Passed::Missing);
            }
            Ok(Judged::Decided(settlement)) => self.settle(&settlement).await,
            Err(error) => {
                let error = self.outage_behind(error).await;
                match self.hold_for(&error) {
                    Some(settlement) => self.settle(&settlement).await,
                    None => Err(error),
                }
            }
        };
        match outcome {
            Ok(passed) => Ok(passed),
            Err(error) => Err(self.end_with(error, stop).await?),
        }
    }

    /// The work panicked: its attempt counts, and its lease keeps nobody away.
    pub(super) async fn broke_off(&self, message: &str) {
        let why = format!("its work broke off: {message}");
        if let Err(error) = self.station().sessions.fail_attempt(self.session.upload_id, self.fence, &why).await {
            warn!(error = chain(&error), "the end of an attempt could not be recorded, its lease runs out");
        }
    }

    /// Renews the lease three times in its length. Ends only when it is lost or cannot be renewed.
    async fn keep_lease(&self) -> PassageError {
        let lease = self.station().settings.lease;
        let mut ticks = interval(lease / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            match self.station().sessions.renew_lease(self.session.upload_id, self.fence, lease).await {
                Ok(true) => {}
                Ok(false) => return PassageError::LeaseLost,
                Err(error) => return error.into(),
            }
        }
    }

    async fn judge(&self) -> Result<Judged, PassageError> {
        let version = self.event.version.as_ref();
        let store = &self.station().store;
        let head = store.head(&self.event.bucket, &self.event.key, version);
        let head = match stage("head", info_span!("head"), head).await {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(Judged::Missing),
            Err(error) => return Err(self.of_this_object(error).await),
        };
        if let Err(rejection) =
            check_size(head.size, self.session.declared_size, self.station().settings.max_object_size)
        {
            return Ok(decided(reject(rejection), source(&head, None, None), None, Vec::new()));
        }
        let spooled = match stage("fetch", info_span!("fetch", size = head.size), store.fetch(&head)).await {
            Ok(spooled) => spooled,
            Err(error @ StoreError::SpoolBudget { .. }) => {
                let decision = Decision::Reject { reason: RejectReason::TooLarge, detail: error.to_string() };
                return Ok(decided(decision, source(&head, None, None), None, Vec::new()));
            }
            Err(error) => return Err(self.of_this_object(error).await),
        };
        match stage("verify", info_span!("verify"), self.verify(&spooled)).await? {
            Err(rejection) => {
                let source = source(&head, Some(&spooled), rejection.detected.as_ref());
                Ok(decided(reject(rejection), source, None, Vec::new()))
            }
            Ok(accepted) => self.judge_content(&head, &spooled, &accepted).await,
        }
    }

    /// A refusal is the station's trouble unless the bucket is open to us: then it is about this object alone.
    async fn of_this_object(&self, error: StoreError) -> PassageError {
        match error {
            StoreError::Refused { .. } if self.station().store.check(&self.event.bucket).await.is_ok() => {
                PassageError::Withheld(error)
            }
            error => error.into(),
        }
    }

    /// A dependency that goes away in the middle of its work leaves an error that looks like the object's own.
    async fn outage_behind(&self, error: PassageError) -> PassageError {
        let is_away = match &error {
            PassageError::Store(StoreError::Body { .. })
            | PassageError::Publish(PublishError::Store(StoreError::Body { .. })) => {
                let checked = timeout(PATIENCE, self.station().store.check(&self.event.bucket)).await;
                checked.map_or(true, |checked| matches!(checked, Err(StoreError::Unavailable { .. })))
            }
            PassageError::Scanner(
                ScanError::NoVerdict { scanner, .. } | ScanError::DeadlineExceeded { scanner, .. },
            ) => match self.station().scanner(scanner) {
                Some(slot) => {
                    let checked = timeout(PATIENCE, slot.scanner.check()).await;
                    checked.map_or(true, |checked| {
                        checked.is_err_and(|error| error.disposition() == Disposition::Unavailable)
                    })
                }
                None => false,
            },
            _ => false,
        };
        if is_away { PassageError::WentAway(Box::new(error)) } else { error }
    }

    async fn judge_content(
        &self,
        head: &ObjectHead,
        spooled: &Spooled,
        accepted: &Accepted,
    ) -> Result<Judged, PassageError> {
        let policy = &accepted.policy;
        let source = source(head, Some(spooled), Some(&accepted.media_type));
        // Set once: an attempt judges once.
        self.seen.get_or_init(|| (source.clone(), policy.name.clone()));
        let conclude = |decision, reports| Ok(decided(decision, source.clone(), Some(policy.name.clone()), reports));
        if policy.action == Action::Reject {
            let detail = format!("policy {} rejects {}", policy.name, accepted.media_type);
            return conclude(Decision::Reject { reason: RejectReason::TypeNotAllowed, detail }, Vec::new());
        }
        let overrides = self.overrides_for(spooled);
        let job = Job { policy, object: spooled, overrides, made_of: None, reuse: true };
        let scanning = scan(self.station(), &job);
        let Scanned { reports, decision } = stage("scan", info_span!("scan"), scanning).await?;
        if let Some(decision) = first_of(decision, &accepted.opaque, overrides) {
            return conclude(decision, reports);
        }
        let made = match treatment(policy, overrides) {
            None => None,
            Some(treatment) => {
                let remaking = remake(self.station(), policy, treatment, spooled, &accepted.media_type, overrides);
                match stage("transform", info_span!("transform"), remaking).await? {
                    Remade::Made(made) => {
                        if let Some(decision) = blocked(self.station(), made.digests()).await? {
                            return conclude(decision, reports);
                        }
                        Some(made)
                    }
                    Remade::Released => None,
                    Remade::Decided(decision) => return conclude(decision, reports),
                }
            }
        };
        self.renew().await?;
        let (session, media_type, made) = (&self.session, &accepted.media_type, made.as_deref());
        let copy = Copy { session, head, scanned: spooled, media_type, made };
        conclude(Decision::Publish(publish(self.station(), self.fence, &copy).await?), reports)
    }

    /// An operator's release is about the bytes that were held: other bytes under the same key start afresh.
    fn overrides_for(&self, spooled: &Spooled) -> &[HoldReason] {
        let judged = self.session.source.as_ref().and_then(|source| source.sha256.as_ref());
        if judged == Some(spooled.sha256()) { &self.session.overrides } else { &[] }
    }

    async fn verify(&self, spooled: &Spooled) -> Result<Result<Accepted, Rejection>, PassageError> {
        let (object, promise, station) = (spooled.clone(), Promise::from(&self.session), Arc::clone(self.station()));
        let looked = tokio::task::spawn_blocking(move || {
            let verified = check_content(&object, &promise, &station.settings.policies)?;
            let Verified { media_type, policy } = match verified {
                Ok(verified) => verified,
                Err(rejection) => return Ok(Err(rejection)),
            };
            let opaque = opaque_members(&object, &media_type, &Bounds::of(&station, policy))?;
            Ok::<_, DetectError>(Ok(Accepted { policy: policy.clone(), media_type, opaque }))
        });
        Ok(looked.await.map_err(|error| PassageError::Unsound(format!("verification broke off: {error}")))??)
    }

    async fn renew(&self) -> Result<(), PassageError> {
        let lease = self.station().settings.lease;
        let ours = self.station().sessions.renew_lease(self.session.upload_id, self.fence, lease).await?;
        if ours { Ok(()) } else { Err(PassageError::LeaseLost) }
    }

    async fn settle(&self, settlement: &Settlement) -> Result<Passed, PassageError> {
        let commit = self.station().sessions.settle(self.session.upload_id, self.fence, settlement);
        let Settled::Committed(session) = stage("commit", info_span!("commit"), commit).await? else {
            return Err(PassageError::LeaseLost);
        };
        self.passage.desk.got_through(self.session.upload_id);
        let reason = settlement.decision.reason();
        metrics::count_object(reason);
        if let Some(occurred_at) = self.event.occurred_at {
            let seconds = session.updated_at.duration_since(occurred_at).as_secs_f64();
            ::metrics::histogram!(metrics::EVENT_TO_SETTLED).record(seconds.max(0.0));
        }
        if let Some(reason) = reason {
            Span::current().record("reason", reason.code());
        }
        let detail = session.detail.as_deref();
        info!(state = %session.state.name(), reason = reason.map(lazaret_core::Reason::code), detail, "settled");
        // Under the first fence nobody else can have left a copy, and this attempt published what it settled or nothing.
        let copies = if self.fence == Fence::FIRST { Copies::None } else { Copies::Perhaps };
        let cleaning = clean_up(self.station(), &session, self.event.version.as_ref(), copies);
        match stage("clean-up", info_span!("clean-up"), cleaning).await {
            Ok(()) => {}
            // The decision stands. The original that could not be deleted now, the sweeper finds by the same record.
            Err(error) if session.state.published().is_some() => {
                warn!(error = chain(&error), "clean-up failed, left to the sweeper");
            }
            // A copy of what was rejected or held may be readable: the delivery is kept until it is gone.
            Err(error) => return Err(error),
        }
        Ok(Passed::Settled(session))
    }

    /// Another worker decided meanwhile. A copy of ours that its decision does not name must not stay readable.
    async fn withdraw_late_copy(&self) -> Result<(), PassageError> {
        if let Some(session) = self.station().sessions.get(self.session.upload_id).await?
            && session.state.is_settled()
        {
            clean_up::withdraw_copies(self.station(), &session).await?;
        }
        Ok(())
    }

    async fn give_back(&self, why: &str, stop: &CancellationToken) -> Result<(), SessionStoreError> {
        self.passage.give_back(self.session.upload_id, self.fence, why, stop).await
    }

    /// A scanner that fails to the last attempt holds the object by its own name.
    fn hold_for(&self, error: &PassageError) -> Option<Settlement> {
        let PassageError::Scanner(_) = error else { return None };
        if error.disposition() != Disposition::Retry || self.number < self.station().settings.max_attempts {
            return None;
        }
        let decision = Decision::Hold { reason: HoldReason::ScannerError, detail: chain(error) };
        let (source, policy) = self.seen.get().cloned().unzip();
        Some(Settlement { decision, source, policy, reports: Vec::new() })
    }

    /// Ends the lease as the error asks, and gives the error that the delivery ends with. After a commit the lease is over
    /// already, and nothing of this has an effect.
    async fn end_with(&self, error: PassageError, stop: &CancellationToken) -> Result<PassageError, PassageError> {
        if let PassageError::LeaseLost = error {
            self.withdraw_late_copy().await.inspect_err(|error| self.passage.tell_of(error))?;
            return Ok(error);
        }
        let id = self.session.upload_id;
        let is_outage = error.disposition() == Disposition::Unavailable;
        let error =
            if is_outage && self.passage.desk.met_outage(id) { PassageError::Alone(Box::new(error)) } else { error };
        match error.disposition() {
            Disposition::Unavailable => {
                self.passage.tell_of(&error);
                self.give_back(&chain(&error), stop).await?;
            }
            Disposition::Retry | Disposition::Reject | Disposition::DeadLetter => {
                let failed = self.station().sessions.fail_attempt(id, self.fence, &chain(&error)).await;
                failed.map_err(PassageError::from).inspect_err(|error| self.passage.tell_of(error))?;
            }
        }
        Ok(error)
    }
}

fn reject(rejection: Rejection) -> Decision {
    Decision::Reject { reason: rejection.reason, detail: rejection.detail }
}

fn source(head: &ObjectHead, spooled: Option<&Spooled>, detected: Option<&MediaType>) -> SourceObject {
    SourceObject {
        version: head.version.clone(),
        etag: head.etag.clone(),
        size: head.size,
        sha256: spooled.map(|spooled| *spooled.sha256()),
        detected_type: detected.cloned(),
    }
}

fn decided(decision: Decision, source: SourceObject, policy: Option<String>, reports: Vec<ScanReport>) -> Judged {
    Judged::Decided(Box::new(Settlement { decision, source: Some(source), policy, reports }))
}

impl From<ScanStageError> for PassageError {
    fn from(error: ScanStageError) -> Self {
        match error {
            ScanStageError::Scanner(error) => Self::Scanner(error),
            ScanStageError::Sessions(error) => Self::Sessions(error),
            ScanStageError::Unconfigured { .. } | ScanStageError::NoScanner { .. } => Self::Unsound(error.to_string()),
        }
    }
}

impl From<TransformStageError> for PassageError {
    fn from(error: TransformStageError) -> Self {
        match error {
            TransformStageError::Transformer(error) => Self::Transform(error),
            TransformStageError::Untrue(_)
            | TransformStageError::Read(_)
            | TransformStageError::Detect(_)
            | TransformStageError::Hash(_) => Self::Unsound(chain(&error)),
        }
    }
}
