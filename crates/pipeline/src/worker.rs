//! The pool of workers: a slot first, then a delivery; the acknowledgement last.

mod availability;
mod delivery;

use std::{mem, sync::Arc, time::Duration};

use futures_util::future::join_all;
use lazaret_core::{
    error::chain,
    ports::{Delivery, QueueError},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    bus::Bus,
    metrics,
    passage::Passage,
    relay::{Relay, VerdictRelay, Verdicts},
    station::Station,
};

pub use availability::Availability;
pub(crate) use availability::jittered;
use delivery::{Settler, UNAVAILABLE_DELAY};

/// The most deliveries one call to the queue may bring.
const MAX_RECEIVE: usize = 10;

/// How long a call to the queue may go on after a stop.
const RECEIVE_GRACE: Duration = Duration::from_secs(2);

/// How long giving back may take after the drain time-out: a dependency that hangs must not keep the process.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(5);

/// How many objects at once, and how long they may take to end.
#[derive(Debug, Clone, Copy)]
pub struct WorkerSettings {
    /// Deliveries in work at the same time.
    pub concurrency: usize,
    /// How long deliveries in work may go on after a stop.
    pub drain_timeout: Duration,
}

/// Consumes the queue.
#[derive(Debug)]
pub struct Worker {
    station: Arc<Station>,
    bus: Bus,
    settings: WorkerSettings,
    availability: Arc<Availability>,
    verdicts: Option<Verdicts>,
}

impl Worker {
    /// A worker over `station` that is fed by `bus`.
    pub fn new(station: Arc<Station>, bus: Bus, settings: WorkerSettings) -> Self {
        let availability = Arc::new(Availability::new(Arc::clone(&station), Arc::clone(&bus.queue)));
        Self { station, bus, settings, availability, verdicts: None }
    }

    /// The same worker, telling verdicts. Without this they are dropped.
    #[must_use]
    pub fn with_verdicts(self, verdicts: Verdicts) -> Self {
        Self { verdicts: Some(verdicts), ..self }
    }

    /// Whether what the worker depends on is there, for as long as it runs.
    pub fn availability(&self) -> Arc<Availability> {
        Arc::clone(&self.availability)
    }

    /// Consumes until `stop`, then lets the deliveries in work end within the drain time-out; what is left then is
    /// given back. Returns when nothing of it runs any more.
    pub async fn run(self, stop: CancellationToken) {
        let hard_stop = CancellationToken::new();
        tokio::join!(self.relay(&stop), self.tell(&stop), self.consume(&stop, &hard_stop));
    }

    async fn relay(&self, stop: &CancellationToken) {
        let (sessions, bus) = (Arc::clone(&self.station.sessions), self.bus.clone());
        Relay { sessions, bus, availability: Arc::clone(&self.availability) }.run(stop).await;
    }

    async fn tell(&self, stop: &CancellationToken) {
        let relay = VerdictRelay::new(Arc::clone(&self.station.sessions), self.verdicts.clone());
        relay.run(stop, &self.availability).await;
    }

    async fn consume(&self, stop: &CancellationToken, hard_stop: &CancellationToken) {
        let slots = Arc::new(Semaphore::new(self.settings.concurrency));
        let settler = Arc::new(Settler {
            passage: Passage::new(Arc::clone(&self.station)).telling(Arc::clone(&self.availability)),
            bus: self.bus.clone(),
            availability: Arc::clone(&self.availability),
            hard_stop: hard_stop.clone(),
        });
        let mut jobs = JoinSet::new();
        let mut takes_part = false;
        let receiving = loop {
            while let Some(ended) = jobs.try_join_next() {
                log_panic(ended);
            }
            if self.availability.is_paused() {
                if mem::take(&mut takes_part) {
                    self.pause_queue().await;
                }
                if stop.run_until_cancelled(self.availability.wait()).await.is_none() {
                    break None;
                }
            }
            let free = tokio::select! {
                biased;
                () = stop.cancelled() => break None,
                () = self.availability.until_lost() => continue,
                free = self.take_slots(&slots) => free,
            };
            takes_part = true;
            let mut receiving = self.bus.queue.receive(free.len());
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => break Some(receiving),
                received = &mut receiving => received,
            };
            for (slot, delivery) in free.into_iter().zip(self.wanted(received).await) {
                let settler = Arc::clone(&settler);
                jobs.spawn(async move {
                    let _slot = slot;
                    settler.settle(delivery).await;
                });
            }
        };
        let leave = async {
            if let Some(receiving) = receiving {
                self.end_receiving(receiving).await;
            }
            if takes_part {
                self.pause_queue().await;
            }
        };
        tokio::join!(leave, self.drain(jobs, hard_stop));
    }

    /// At least one slot, and as many more as are free and one call can fill.
    async fn take_slots(&self, slots: &Arc<Semaphore>) -> Vec<OwnedSemaphorePermit> {
        let mut taken = Vec::with_capacity(MAX_RECEIVE);
        // The semaphore is never closed.
        taken.extend(Arc::clone(slots).acquire_owned().await.ok());
        while taken.len() < MAX_RECEIVE
            && let Ok(slot) = Arc::clone(slots).try_acquire_owned()
        {
            taken.push(slot);
        }
        taken
    }

    /// What was received, unless a dependency was lost while the call waited for it: then it goes back.
    async fn wanted(&self, received: Result<Vec<Delivery>, QueueError>) -> Vec<Delivery> {
        match received {
            Ok(deliveries) if self.availability.is_paused() => {
                self.return_unopened(&deliveries, UNAVAILABLE_DELAY, "unavailable").await;
                Vec::new()
            }
            Ok(deliveries) => deliveries,
            Err(error) => {
                self.availability.lost(&error);
                Vec::new()
            }
        }
    }

    /// Messages may be on their way in a call that is cut off, and then nobody sees them for the whole visibility
    /// timeout: it may go on for a moment, and what it brings goes back at once.
    async fn end_receiving(&self, receiving: impl Future<Output = Result<Vec<Delivery>, QueueError>>) {
        if let Ok(Ok(deliveries)) = timeout(RECEIVE_GRACE, receiving).await {
            self.return_unopened(&deliveries, Duration::ZERO, "interrupted").await;
        }
    }

    async fn return_unopened(&self, deliveries: &[Delivery], delay: Duration, result: &'static str) {
        join_all(deliveries.iter().map(|delivery| self.return_one(delivery, delay, result))).await;
    }

    async fn return_one(&self, delivery: &Delivery, delay: Duration, result: &'static str) {
        ::metrics::counter!(metrics::DELIVERIES, "result" => result).increment(1);
        let returned = timeout(GIVE_BACK_TIMEOUT, self.bus.queue.retry_after(&delivery.tag, delay)).await;
        if let Ok(Err(error)) = returned {
            warn!(error = chain(&error), "a delivery could not be given back and comes again by itself");
        }
    }

    /// Lets others have what the queue has brought here and nobody has taken.
    async fn pause_queue(&self) {
        if let Ok(Err(error)) = timeout(GIVE_BACK_TIMEOUT, self.bus.queue.pause()).await {
            warn!(error = chain(&error), "the queue could not be told of a pause");
        }
    }

    async fn drain(&self, mut jobs: JoinSet<()>, hard_stop: &CancellationToken) {
        if !jobs.is_empty() {
            info!(in_flight = jobs.len(), "draining");
        }
        let all = async {
            while let Some(ended) = jobs.join_next().await {
                log_panic(ended);
            }
        };
        if timeout(self.settings.drain_timeout, all).await.is_err() {
            hard_stop.cancel();
            let given_back = async {
                while let Some(ended) = jobs.join_next().await {
                    log_panic(ended);
                }
            };
            if timeout(GIVE_BACK_TIMEOUT, given_back).await.is_err() {
                warn!(in_flight = jobs.len(), "some deliveries could not be given back and come again by themselves");
                jobs.shutdown().await;
            }
        }
        info!("drained");
    }
}

/// A panic in one delivery must not end the others. Its lease runs out, and the delivery comes again.
fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = &error as &dyn std::error::Error, "a delivery's work broke off");
    }
}
