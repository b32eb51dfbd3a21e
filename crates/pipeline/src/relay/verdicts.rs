//! Verdicts, told to the world: at least once, and in order for each upload.
//!
//! The database hands out no later item of an upload while an earlier one is claimed or not completed. Within one claim
//! the earlier item is delivered *and completed* before the later one goes, and nothing is begun that could outlast the
//! claim: so nobody else delivers the same upload's events meanwhile. A process that is put to sleep in the middle of a
//! delivery can only repeat an event that others have told since; its `id` gives that away.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use lazaret_core::{
    StateName, Timestamp, UploadId,
    error::chain,
    ports::{EventSink, OutboxItem, OutboxKind, SessionStore, SinkError, VerdictEvent},
};
use serde::Deserialize;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{AT_ONCE, BATCH, CLAIM, LONGEST_PAUSE, Progress, RelayError, Rhythm};
use crate::{
    metrics,
    worker::{Availability, jittered},
};

/// How long one delivery may take. A sink that does not answer is as good as away.
const DELIVERY: Duration = Duration::from_secs(15);
/// What is kept of a claim for the write that completes its items.
const RESERVE: Duration = Duration::from_secs(5);
/// The pause after the first round in which nothing went.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The first wait of an upload whose event the sink was not there for while it took others.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The first and the longest wait of an event that was refused.
const FIRST_REFUSAL: Duration = Duration::from_mins(1);
const LONGEST_REFUSAL: Duration = Duration::from_mins(15);
/// How many events are remembered that were refused, or that the sink was not there for. More are only tried, and told
/// of, more often.
const MAX_REMEMBERED: usize = 10_000;

/// Where verdicts are told, and in whose name.
#[derive(Clone)]
pub struct Verdicts {
    /// Who takes the events.
    pub sink: Arc<dyn EventSink>,
    /// The events' `source`: a URI reference.
    pub source: String,
}

impl fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdicts").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Carries out the items that tell of verdicts.
pub(crate) struct VerdictRelay {
    sessions: Arc<dyn SessionStore>,
    verdicts: Option<Verdicts>,
    lines: Vec<Line>,
    /// Items that were told and are not completed yet.
    told: Vec<i64>,
    refused: HashMap<i64, Wait>,
    /// Items that the sink was not there for when they were tried last.
    tried_in_vain: HashSet<i64>,
    /// The pause after a round in which nothing went; zero while events go.
    pause: Duration,
}

/// The claimed events of one upload, in their order.
struct Line {
    items: VecDeque<OutboxItem>,
    /// Until when they are ours alone.
    until: Instant,
    wait: Wait,
}

#[derive(Debug, Clone, Copy)]
struct Wait {
    not_before: Instant,
    length: Duration,
}

impl Wait {
    fn longer(self, now: Instant, first: Duration, longest: Duration) -> Self {
        let length = (self.length * 2).clamp(first, longest);
        Self { not_before: now + jittered(length), length }
    }
}

/// Why an event was not told.
#[derive(Debug, Error)]
enum UntoldError {
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error("event sink did not take the event within {} s", DELIVERY.as_secs())]
    Slow,
    #[error("the outbox holds a verdict that cannot be read")]
    Unreadable(#[from] serde_json::Error),
}

impl UntoldError {
    const fn is_refusal(&self) -> bool {
        match self {
            Self::Sink(SinkError::Unavailable { .. }) | Self::Slow => false,
            Self::Sink(SinkError::Refused { .. }) | Self::Unreadable(_) => true,
        }
    }
}

impl VerdictRelay {
    pub(crate) fn new(sessions: Arc<dyn SessionStore>, verdicts: Option<Verdicts>) -> Self {
        let (lines, told, pause) = (Vec::new(), Vec::new(), Duration::ZERO);
        let (refused, tried_in_vain) = (HashMap::new(), HashSet::new());
        Self { sessions, verdicts, lines, told, refused, tried_in_vain, pause }
    }

    /// Tells until `stop`.
    pub(crate) async fn run(mut self, stop: &CancellationToken, availability: &Availability) {
        let mut rhythm = Rhythm::default();
        while let Some(ended) = stop.run_until_cancelled(self.run_once()).await
            && rhythm.wait(ended, stop, availability).await
        {}
    }

    /// Claims what is there and tells the first event of each upload.
    async fn run_once(&mut self) -> Result<Progress, RelayError> {
        self.complete_told().await?;
        let limit = self.limit();
        let until = Instant::now() + CLAIM - RESERVE;
        let items = self.sessions.claim_outbox(OutboxKind::Verdict, limit, CLAIM).await?;
        let mut progress = if items.len() < limit as usize { Progress::Empty } else { Progress::More };
        let Some(verdicts) = self.verdicts.clone() else {
            // Nobody subscribes to verdicts: they are dropped, not hoarded.
            self.told = items.iter().map(|item| item.id).collect();
            self.complete_told().await?;
            return Ok(progress);
        };
        self.line_up(items, until);
        let failed = self.round(&verdicts).await;
        let (goes, fails) = (!self.told.is_empty(), !failed.is_empty());
        self.put_off(failed);
        if goes {
            self.complete_told().await?;
            progress = if self.lines.is_empty() { progress } else { Progress::More };
            self.goes_again();
        } else if fails {
            self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            sleep(jittered(self.pause)).await;
        }
        Ok(progress)
    }

    /// While nothing goes, little is claimed, so that little waits for its claim to run out when it goes again; but more
    /// than was tried in vain, which is the oldest there is and would be all that is ever claimed.
    fn limit(&self) -> u32 {
        if self.pause.is_zero() {
            return BATCH;
        }
        u32::try_from(self.tried_in_vain.len()).map_or(BATCH, |known| known.saturating_add(1).min(BATCH))
    }

    /// An event is completed before the next one of its upload is told.
    async fn complete_told(&mut self) -> Result<(), RelayError> {
        if !self.told.is_empty() {
            self.sessions.complete_outbox(&self.told).await?;
            for line in &mut self.lines {
                line.items.pop_front_if(|item| self.told.contains(&item.id));
            }
            self.lines.retain(|line| !line.items.is_empty());
            self.told.clear();
        }
        Ok(())
    }

    fn line_up(&mut self, items: Vec<OutboxItem>, until: Instant) {
        let now = Instant::now();
        // What cannot be told in time is left until its claim has run out.
        self.lines.retain(|line| now + DELIVERY < line.until);
        let mut by_upload: HashMap<UploadId, usize> = HashMap::new();
        for item in items {
            let index = *by_upload.entry(item.upload_id).or_insert_with(|| {
                let wait = Wait { not_before: now, length: Duration::ZERO };
                self.lines.push(Line { items: VecDeque::new(), until, wait });
                self.lines.len() - 1
            });
            self.lines[index].items.push_back(item);
        }
        let is_due = |item: &OutboxItem| self.refused.get(&item.id).is_none_or(|wait| wait.not_before <= now);
        self.lines.retain(|line| line.items.front().is_some_and(is_due));
    }

    /// Tells the first event of each upload that is due, some at the same time. Gives those that were not taken.
    async fn round(&mut self, verdicts: &Verdicts) -> Vec<(i64, UntoldError)> {
        let now = Instant::now();
        // What never goes must not use up the tries of a round before it comes to the others.
        let tried_in_vain = &self.tried_in_vain;
        self.lines.sort_by_key(|line| line.items.front().is_some_and(|item| tried_in_vain.contains(&item.id)));
        let due = self.lines.iter().filter(|line| line.wait.not_before <= now);
        let in_vain = AtomicUsize::new(0);
        let deliveries: Vec<_> = due.map(|line| try_to_tell(verdicts, line, &in_vain)).collect();
        let mut failed = Vec::new();
        let mut deliveries = stream::iter(deliveries).buffer_unordered(AT_ONCE);
        while let Some(tried) = deliveries.next().await {
            match tried {
                Some((id, Ok(()))) => {
                    self.told.push(id);
                    self.refused.remove(&id);
                    self.tried_in_vain.remove(&id);
                }
                Some((id, Err(error))) => failed.push((id, error)),
                None => {}
            }
        }
        failed
    }

    /// Keeps the uploads whose event was not taken back, and nobody else.
    fn put_off(&mut self, failed: Vec<(i64, UntoldError)>) {
        let now = Instant::now();
        if let Some((_, error)) = failed.first()
            && self.told.is_empty()
            && self.pause.is_zero()
        {
            warn!(error = chain(error), "no verdict can be told, will retry");
        }
        for (id, error) in failed {
            if error.is_refusal() {
                self.refuse(id, &error, now);
                self.lines.retain(|line| line.items.front().is_none_or(|item| item.id != id));
                continue;
            }
            if self.tried_in_vain.len() >= MAX_REMEMBERED {
                self.tried_in_vain.clear();
            }
            self.tried_in_vain.insert(id);
            if let Some(line) = self.lines.iter_mut().find(|line| line.items.front().is_some_and(|item| item.id == id))
                && !self.told.is_empty()
            {
                line.wait = line.wait.longer(now, FIRST_WAIT, LONGEST_PAUSE);
            }
        }
    }

    fn refuse(&mut self, id: i64, error: &UntoldError, now: Instant) {
        self.tried_in_vain.remove(&id);
        if self.refused.len() >= MAX_REMEMBERED {
            self.refused.clear();
        }
        let before = self.refused.get(&id).copied();
        if before.is_none() {
            warn!(outbox.id = id, error = chain(error), "a verdict is refused, will retry ever more slowly");
        }
        let wait = before.unwrap_or(Wait { not_before: now, length: Duration::ZERO });
        self.refused.insert(id, wait.longer(now, FIRST_REFUSAL, LONGEST_REFUSAL));
    }

    fn goes_again(&mut self) {
        if !self.pause.is_zero() {
            info!("verdicts are told again");
            self.pause = Duration::ZERO;
        }
    }
}

/// Tells a line's first event. None: it was not tried, as so many others went in vain, or as it could outlast its claim.
async fn try_to_tell(
    verdicts: &Verdicts,
    line: &Line,
    in_vain: &AtomicUsize,
) -> Option<(i64, Result<(), UntoldError>)> {
    let item = line.items.front()?;
    if in_vain.load(Ordering::Relaxed) >= AT_ONCE || Instant::now() + DELIVERY >= line.until {
        return None;
    }
    let told = tell(verdicts, item).await;
    match told {
        Ok(()) => in_vain.store(0, Ordering::Relaxed),
        Err(_) => _ = in_vain.fetch_add(1, Ordering::Relaxed),
    }
    Some((item.id, told))
}

async fn tell(verdicts: &Verdicts, item: &OutboxItem) -> Result<(), UntoldError> {
    let told = match event(verdicts, item) {
        Ok(event) => timeout(DELIVERY, verdicts.sink.deliver(&event)).await,
        Err(error) => return Err(count(error.into())),
    };
    match told {
        Ok(Ok(())) => {
            ::metrics::counter!(metrics::VERDICT_EVENTS, "result" => "delivered").increment(1);
            Ok(())
        }
        Ok(Err(error)) => Err(count(error.into())),
        Err(_) => Err(count(UntoldError::Slow)),
    }
}

fn count(error: UntoldError) -> UntoldError {
    let result = if error.is_refusal() { "refused" } else { "unavailable" };
    ::metrics::counter!(metrics::VERDICT_EVENTS, "result" => result).increment(1);
    error
}

/// What of a verdict's payload the event itself names.
#[derive(Deserialize)]
struct Verdict {
    state: StateName,
    settled_at: Timestamp,
}

fn event(verdicts: &Verdicts, item: &OutboxItem) -> Result<VerdictEvent, serde_json::Error> {
    let data: serde_json::Value = serde_json::from_str(&item.payload)?;
    let verdict = Verdict::deserialize(&data)?;
    Ok(VerdictEvent {
        specversion: "1.0",
        // The item's id alone could come again in another database.
        id: format!("{}-{}", item.upload_id, item.id),
        source: verdicts.source.clone(),
        kind: format!("lazaret.upload.{}", verdict.state),
        subject: item.upload_id,
        time: verdict.settled_at,
        datacontenttype: "application/json",
        data,
    })
}
