//! What every adapter of the sink port must do.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use lazaret_core::{
    Timestamp, UploadId,
    error::chain,
    ports::{EventSink, SinkError, VerdictEvent},
};
use serde_json::json;
use uuid::Uuid;

/// How much later an event may arrive, on a busy machine.
const SLACK: Duration = Duration::from_secs(15);

/// The longest that a target which is down may keep its caller.
const BOUND: Duration = Duration::from_mins(1);

/// Where the events of a sink arrive.
#[async_trait]
pub trait Received: Send + Sync {
    /// The bodies of everything that arrived so far, in the order it arrived. It may wait a moment for more.
    async fn received(&self) -> Result<Vec<String>>;
}

/// Sinks under test.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// A sink whose target takes everything.
    pub sink: &'a dyn EventSink,
    /// That target: empty, and used by nobody else.
    pub received: &'a dyn Received,
    /// A sink whose target is down.
    pub down: &'a dyn EventSink,
    /// A sink whose target answers that it takes nothing from us.
    pub refusing: &'a dyn EventSink,
    /// What the settings of these sinks hold and nobody may see.
    pub secrets: &'a [&'a str],
}

/// An event of upload number `upload`; the same numbers give the same event.
pub fn event(upload: u64, number: u64) -> VerdictEvent {
    let subject = UploadId::from_uuid(Uuid::from_u64_pair(0x0190_0000_0000_7000, 0x8000_0000_0000_0000 | upload));
    let second = 1_790_000_000_i64.saturating_add_unsigned(number.min(1_000_000));
    VerdictEvent {
        specversion: "1.0",
        id: format!("{subject}/{number}"),
        source: "/lazaret/test".to_owned(),
        kind: "lazaret.upload.published".to_owned(),
        subject,
        time: Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH),
        datacontenttype: "application/json",
        data: json!({"file_name": "caf\u{e9} \u{1f600} \"<&>\"\n.png", "size": 9_007_199_254_740_993_u64}),
    }
}

/// Runs every case. The error names the one that failed.
pub async fn conforms(setup: Setup<'_>) -> Result<()> {
    let case = |name: &'static str| move || format!("sink contract: {name}");
    delivered_as_it_is(setup).await.with_context(case("an event arrives exactly as it serialises"))?;
    a_redelivery_is_recognised(setup).await.with_context(case("a redelivery has the id of the first"))?;
    many_at_once_arrive(setup).await.with_context(case("many at once arrive, each once"))?;
    a_target_that_is_down(setup).await.with_context(case("a target that is down is unavailable, in bounded time"))?;
    a_target_that_refuses(setup).await.with_context(case("a target that takes nothing refuses"))?;
    Ok(())
}

/// Waits until every event of `expected` has arrived, and gives all that did.
async fn arrived(setup: Setup<'_>, expected: &[VerdictEvent]) -> Result<Vec<String>> {
    let expected: Vec<String> = expected.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    let end = Instant::now() + SLACK;
    loop {
        let came = setup.received.received().await?;
        if expected.iter().all(|body| came.contains(body)) {
            return Ok(came);
        }
        ensure!(Instant::now() < end, "{expected:?} was expected, and {came:?} came");
    }
}

async fn delivered_as_it_is(setup: Setup<'_>) -> Result<()> {
    let event = event(1, 1);
    setup.sink.deliver(&event).await?;
    let came = arrived(setup, &[event]).await?;
    ensure!(came.len() == 1, "more than one arrived: {came:?}");
    Ok(())
}

/// A target may drop the second one: it knows it by its id.
async fn a_redelivery_is_recognised(setup: Setup<'_>) -> Result<()> {
    let (event, last) = (event(2, 1), event(2, 2));
    for event in [&event, &event, &last] {
        setup.sink.deliver(event).await?;
    }
    let came = arrived(setup, &[event.clone(), last]).await?;
    let same = came.iter().filter(|body| body.contains(&event.id)).collect::<BTreeSet<_>>();
    ensure!(same.len() == 1, "one event came in {} shapes: {same:?}", same.len());
    Ok(())
}

async fn many_at_once_arrive(setup: Setup<'_>) -> Result<()> {
    let events: Vec<VerdictEvent> = (100..120).map(|upload| event(upload, 1)).collect();
    let delivered = futures_util::future::join_all(events.iter().map(|event| setup.sink.deliver(event))).await;
    delivered.into_iter().collect::<Result<Vec<()>, _>>()?;
    let came = arrived(setup, &events).await?;
    for event in &events {
        let count = came.iter().filter(|body| body.contains(&event.id)).count();
        ensure!(count == 1, "event {} arrived {count} times", event.id);
    }
    Ok(())
}

async fn a_target_that_is_down(setup: Setup<'_>) -> Result<()> {
    let delivering = tokio::time::timeout(BOUND, setup.down.deliver(&event(3, 1))).await;
    match delivering.with_context(|| format!("it still tries after {BOUND:?}"))? {
        Err(error @ SinkError::Unavailable { .. }) => no_secrets(setup, &error),
        other => bail!("{other:?}"),
    }
}

async fn a_target_that_refuses(setup: Setup<'_>) -> Result<()> {
    match setup.refusing.deliver(&event(4, 1)).await {
        Err(error @ SinkError::Refused { .. }) => no_secrets(setup, &error),
        other => bail!("{other:?}"),
    }
}

fn no_secrets(setup: Setup<'_>, error: &SinkError) -> Result<()> {
    let told = format!("{} {error:?}", chain(error));
    for secret in setup.secrets {
        ensure!(!told.contains(secret), "a secret is told: {told}");
    }
    Ok(())
}
