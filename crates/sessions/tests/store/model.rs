//! Random sequences of operations on one session, against a model that knows the contract by names only.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lazaret_core::{
    Fence, NewSession, RejectReason, Session, Sha256Digest, StateName,
    ports::{Begun, OutboxKind, Recheck, Revocation, SessionStore, Settled, Settlement},
};
use lazaret_testkit::sessions::{self, LONG, OVER, hold, new_session, publish, reject};
use proptest::{prelude::*, test_runner::TestRunner};

use crate::database::{Database, Engine};

const MAX_ATTEMPTS: u32 = 3;

#[derive(Debug, Clone, Copy)]
enum Step {
    MarkUploaded,
    Finalize,
    Begin { live: bool, finalize: bool },
    Renew { fence: Which, live: bool },
    GiveBack(Which),
    Fail(Which),
    Settle(Which, StateName),
    Release,
    RejectHeld,
    Revoke,
    Expire { as_seen_before: bool },
}

/// Which fence a write carries.
#[derive(Debug, Clone, Copy)]
enum Which {
    Newest,
    Older,
}

fn any_step() -> impl Strategy<Value = Step> {
    let which = || prop_oneof![3 => Just(Which::Newest), 1 => Just(Which::Older)];
    let decision =
        proptest::sample::select(&[StateName::Published, StateName::Rejected, StateName::Held, StateName::Held]);
    prop_oneof![
        1 => Just(Step::MarkUploaded),
        1 => Just(Step::Finalize),
        6 => (any::<bool>(), any::<bool>()).prop_map(|(live, finalize)| Step::Begin { live, finalize }),
        1 => (which(), any::<bool>()).prop_map(|(fence, live)| Step::Renew { fence, live }),
        2 => which().prop_map(Step::GiveBack),
        2 => which().prop_map(Step::Fail),
        2 => (which(), decision).prop_map(|(which, state)| Step::Settle(which, state)),
        2 => Just(Step::Release),
        1 => Just(Step::RejectHeld),
        1 => Just(Step::Revoke),
        1 => any::<bool>().prop_map(|as_seen_before| Step::Expire { as_seen_before }),
    ]
}

/// What the contract says of one session.
#[derive(Debug, Clone)]
struct Model {
    state: StateName,
    due: bool,
    attempts: u32,
    fence: i64,
    /// The lease, and whether it is live, until it is given up.
    lease: Option<bool>,
    ended: Vec<Option<&'static str>>,
    changes: usize,
    verdict_items: usize,
    process_items: usize,
}

impl Model {
    fn new(due: bool) -> Self {
        Self {
            state: StateName::Created,
            due,
            attempts: 0,
            fence: 0,
            lease: None,
            ended: Vec::new(),
            changes: 0,
            verdict_items: 0,
            process_items: 0,
        }
    }

    fn settled(&self) -> bool {
        !matches!(self.state, StateName::Created | StateName::Uploaded | StateName::Finalized)
    }

    fn go(&mut self, state: StateName) {
        self.state = state;
        self.changes += 1;
        if self.settled() {
            self.lease = None;
            self.verdict_items += 1;
        }
    }

    fn end(&mut self, result: &'static str) {
        self.lease = None;
        if let Some(last) = self.ended.last_mut() {
            *last = Some(result);
        }
    }

    fn holds(&self, which: Which) -> bool {
        matches!(which, Which::Newest) && self.lease.is_some()
    }
}

async fn take(store: &dyn SessionStore, model: &mut Model, step: Step, before: &Session, now: &Session) -> Result<()> {
    let id = now.upload_id;
    let fence = |which: Which| Fence(if matches!(which, Which::Newest) { model.fence } else { model.fence - 1 });
    let lease = |live: bool| if live { LONG } else { OVER };
    match step {
        Step::MarkUploaded => {
            store.mark_uploaded(id, "w").await?;
            if model.state == StateName::Created {
                model.go(StateName::Uploaded);
            }
        }
        Step::Finalize => {
            let answer = store.finalize(id, "w").await;
            ensure!(answer.is_err() == model.settled(), "{answer:?}");
            if matches!(model.state, StateName::Created | StateName::Uploaded) {
                model.go(StateName::Finalized);
                model.process_items += 1;
            }
        }
        Step::Begin { live, finalize } => {
            let answer = store.begin_attempt(id, &sessions::worker(), lease(live), MAX_ATTEMPTS, finalize).await?;
            begin(model, live, finalize, &answer)?;
        }
        Step::Renew { fence: which, live } => {
            let renewed = store.renew_lease(id, fence(which), lease(live)).await?;
            ensure!(renewed == model.holds(which));
            model.lease = if renewed { Some(live) } else { model.lease };
        }
        Step::GiveBack(which) => {
            store.give_back(id, fence(which), "w").await?;
            if model.holds(which) {
                model.attempts -= 1;
                model.end("given-back");
            }
        }
        Step::Fail(which) => {
            store.fail_attempt(id, fence(which), "w").await?;
            if model.holds(which) {
                model.end("failed");
            }
        }
        Step::Settle(which, state) => {
            let answer = store.settle(id, fence(which), &settlement(state)?).await?;
            ensure!(matches!(answer, Settled::Committed(_)) == model.holds(which), "{answer:?}");
            if model.holds(which) {
                model.end("committed");
                model.go(state);
            }
        }
        Step::Release => {
            ensure!(store.release(id, "w").await.is_ok() == (model.state == StateName::Held));
            if model.state == StateName::Held {
                model.go(StateName::Finalized);
                model.attempts = 0;
                model.process_items += 1;
            }
        }
        Step::RejectHeld => {
            ensure!(store.reject_held(id, "w").await.is_ok() == (model.state == StateName::Held));
            if model.state == StateName::Held {
                model.go(StateName::Rejected);
            }
        }
        Step::Revoke => {
            let answer = store.revoke(id, "w", &revocation()).await;
            ensure!(answer.is_ok() == matches!(model.state, StateName::Published | StateName::Revoked), "{answer:?}");
            if model.state == StateName::Published {
                model.go(StateName::Revoked);
            }
        }
        Step::Expire { as_seen_before } => {
            let seen = if as_seen_before { before } else { now };
            let expected = seen == now && model.due && !model.settled() && model.lease != Some(true);
            ensure!(store.expire(seen).await? == expected);
            if expected {
                model.go(StateName::Expired);
            }
        }
    }
    Ok(())
}

fn begin(model: &mut Model, live: bool, finalize: bool, answer: &Begun) -> Result<()> {
    if model.settled() {
        ensure!(matches!(answer, Begun::Settled(_)), "{answer:?}");
        return Ok(());
    }
    if model.lease == Some(true) {
        ensure!(matches!(answer, Begun::Busy { .. }), "{answer:?}");
        return Ok(());
    }
    if model.state != StateName::Finalized {
        if !finalize {
            ensure!(matches!(answer, Begun::NotFinalized(_)), "{answer:?}");
            return Ok(());
        }
        model.go(StateName::Finalized);
    }
    if model.attempts >= MAX_ATTEMPTS {
        ensure!(matches!(answer, Begun::Exhausted(_)), "{answer:?}");
        model.go(StateName::Held);
        return Ok(());
    }
    model.attempts += 1;
    model.fence += 1;
    model.lease = Some(live);
    model.ended.push(None);
    match answer {
        Begun::Leased { fence, attempt, .. } => ensure!((fence.0, *attempt) == (model.fence, model.attempts)),
        other => ensure!(false, "{other:?}"),
    }
    Ok(())
}

fn settlement(state: StateName) -> Result<Settlement> {
    match state {
        StateName::Published => publish(),
        StateName::Rejected => reject(),
        _ => hold(),
    }
}

fn revocation() -> Revocation {
    let sha256 = Sha256Digest::from_bytes([2; 32]);
    let found = Recheck { policy: None, sha256, reports: Vec::new(), detail: "blocked".to_owned() };
    Revocation { reason: RejectReason::Blocked, found }
}

async fn run(store: &dyn SessionStore, due: bool, steps: &[Step]) -> Result<()> {
    let expires_in = if due { Duration::ZERO } else { LONG };
    let mut session = store.create(&NewSession { expires_in, ..new_session()? }).await?;
    let mut before = session.clone();
    let mut model = Model::new(due);
    for step in steps {
        take(store, &mut model, *step, &before, &session).await.with_context(|| format!("{step:?} on {model:?}"))?;
        let next = sessions::now_is(store, session.upload_id).await?;
        ensure!(
            (next.state.name(), next.attempts) == (model.state, model.attempts),
            "{step:?}: {next:?} for {model:?}"
        );
        let moved = next.state.name() != session.state.name();
        ensure!(moved == (next.updated_at > session.updated_at), "{step:?}: updated_at tells {moved} wrongly");
        if next != session {
            before = std::mem::replace(&mut session, next);
        }
    }
    let history = store.history(session.upload_id).await?;
    ensure!(history.audit.len() == model.changes + 1, "{:?} for {model:?}", history.audit);
    ensure!(history.audit.windows(2).all(|pair| pair[1].from == Some(pair[0].to)), "{:?}", history.audit);
    let contested = model.settled() && model.ended.iter().any(|result| *result != Some("committed"));
    ensure!(store.contested(LONG, None, u32::MAX).await?.contains(&session) == contested, "{session:?} for {model:?}");
    let ended: Vec<_> = history.attempts.iter().map(|attempt| attempt.result.as_deref()).collect();
    ensure!(ended == model.ended, "{ended:?} for {model:?}");
    for (kind, expected) in [(OutboxKind::Verdict, model.verdict_items), (OutboxKind::Process, model.process_items)] {
        let items = store.claim_outbox(kind, 1000, LONG).await?;
        ensure!(items.len() == expected, "{items:?} for {model:?}");
        store.complete_outbox(&items.iter().map(|item| item.id).collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// One database for all sequences: each has a session of its own.
fn check(engine: Engine, cases: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let database = runtime.block_on(Database::migrated(engine)).unwrap();
    let store = runtime.block_on(database.open()).unwrap();
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let sequences = (any::<bool>(), proptest::collection::vec(any_step(), 1..50));
    let checked = TestRunner::new(config).run(&sequences, |(due, steps)| {
        runtime.block_on(run(&store, due, &steps)).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    checked.unwrap();
}

#[test]
fn any_sequence_on_sqlite_does_what_the_contract_says() {
    check(Engine::Sqlite, 96);
}

#[test]
fn any_sequence_on_postgres_does_what_the_contract_says() {
    check(Engine::Postgres, 96);
}
