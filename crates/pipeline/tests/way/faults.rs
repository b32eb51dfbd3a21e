//! Every call of every port on an object's way fails once, or the process dies in it, before and after its effect. The
//! message comes again, and what is left is one decision and no stray copy.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use lazaret_core::{
    SessionState, StateName, WorkerId,
    ports::{EventSink, Treatment},
};
use lazaret_pipeline::{Station, Sweeper};
use lazaret_queue::EmbeddedQueue;
use lazaret_testkit::{
    objects::{Effect, MemoryObjectStore},
    scanners::eicar,
    sinks::MemorySink,
    transformer::{Made, MadeFile, MadeFiles, MemoryTransformer, png},
};

use crate::{
    faulty::{End, Faults, Faulty, FaultyQueue, Strike},
    rig::{BUCKET, PUBLISHED, Rig, Running, a_png, embedded, message, named},
};

/// Long enough for a slow machine to renew it, short enough to wait for its end.
const LEASE: Duration = Duration::from_millis(900);
const AT_ONCE: usize = 24;

/// An object, and where it ends whatever goes wrong.
#[derive(Debug, Clone, Copy)]
enum Case {
    AsIs,
    AsIsVersioned,
    /// The encoder's output differs from attempt to attempt.
    ReEncoded,
    /// The same with two variants.
    Variants,
    /// Of three variants one is the image itself and one is another.
    EqualVariants,
    Infected,
    Encrypted,
}

const CASES: [Case; 7] = [
    Case::AsIs,
    Case::AsIsVersioned,
    Case::ReEncoded,
    Case::Variants,
    Case::EqualVariants,
    Case::Infected,
    Case::Encrypted,
];

impl Case {
    async fn rig(self) -> Rig {
        let store = MemoryObjectStore::new(&[BUCKET, PUBLISHED]);
        match self {
            Self::AsIs | Self::Infected | Self::Encrypted => Rig::over(store).await,
            Self::AsIsVersioned => Rig::over(store.with_versioning()).await,
            Self::ReEncoded => Rig::over(store).await.with_transformer(MemoryTransformer::restless_png()),
            Self::Variants => {
                let rig = Rig::over(store.with_versioning()).await.with_variants(&["thumb", "web"]);
                rig.with_transformer(MemoryTransformer::restless_png())
            }
            Self::EqualVariants => {
                let rig = Rig::over(store).await.with_variants(&["thumb", "web", "print"]);
                rig.with_transformer(equal_variants())
            }
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Self::AsIs | Self::AsIsVersioned => b"plain words".to_vec(),
            Self::ReEncoded | Self::Variants | Self::EqualVariants => a_png(),
            Self::Infected => eicar(),
            Self::Encrypted => b"encrypted".to_vec(),
        }
    }

    const fn declared(self) -> (&'static str, &'static str) {
        match self {
            Self::ReEncoded | Self::Variants | Self::EqualVariants => ("photo.png", "image/png"),
            Self::AsIs | Self::AsIsVersioned | Self::Infected | Self::Encrypted => ("note.txt", "text/plain"),
        }
    }

    /// How many objects are published.
    const fn copies(self) -> usize {
        match self {
            Self::AsIs | Self::AsIsVersioned | Self::ReEncoded => 1,
            Self::EqualVariants => 2,
            Self::Variants => 3,
            Self::Infected | Self::Encrypted => 0,
        }
    }

    const fn ends(self) -> StateName {
        match self {
            Self::AsIs | Self::AsIsVersioned | Self::ReEncoded | Self::Variants | Self::EqualVariants => {
                StateName::Published
            }
            Self::Infected => StateName::Rejected,
            Self::Encrypted => StateName::Held,
        }
    }
}

/// A small image: the larger two of its variants are the image itself.
fn equal_variants() -> MemoryTransformer {
    MemoryTransformer::new(|_, request, call| {
        let Treatment::ReEncode(output) = &request.treatment else { panic!("{request:?}") };
        let file = |text: &str| {
            let bytes = png(&format!("{text} of call {call}"));
            MadeFile::image(bytes, "image/png".parse().unwrap(), 200)
        };
        let bytes_of = |name: &str| if name == "thumb" { "thumb" } else { "image" };
        let variants = output.variants.iter().map(|size| (size.name.clone(), file(bytes_of(size.name.as_str()))));
        Made::Files(MadeFiles { object: file("image"), variants: variants.collect(), thumbhash: None })
    })
}

/// The station as the worker of this name sees it, through the faults.
fn seen_by(rig: &Rig, worker: &str, faults: &Arc<Faults>) -> Arc<Station> {
    Arc::new(rig.station_with(|station| {
        station.sessions = Faulty::new(faults, Arc::clone(&station.sessions));
        station.store = Faulty::new(faults, Arc::clone(&station.store));
        station.settings.worker_id = WorkerId::new(worker);
        station.settings.lease = LEASE;
        station.settings.retain_rejected = Duration::ZERO;
    }))
}

fn start(rig: &Rig, worker: &str, faults: &Arc<Faults>, queue: &Arc<EmbeddedQueue>, sink: &Arc<MemorySink>) -> Running {
    let queue = FaultyQueue { faults: Arc::clone(faults), inner: Arc::clone(queue) as _ };
    let sink = Faulty::new(faults, Arc::clone(sink) as Arc<dyn EventSink>);
    Running::start_telling(&seen_by(rig, worker, faults), Arc::new(queue), sink)
}

/// Sends one object through, with a fault, and gives the calls that were made.
async fn converges(case: Case, strike: Option<Strike>) -> BTreeMap<&'static str, usize> {
    let told = format!("{case:?} {strike:?}");
    let rig = case.rig().await;
    let (name, declared) = case.declared();
    let (session, event) = rig.upload(&case.bytes(), name, declared).await;
    let queue = embedded(LEASE);
    lazaret_core::ports::Queue::send(&*queue, &message(std::slice::from_ref(&event))).await.unwrap();
    let faults = Faults::new(strike);
    let sink = Arc::new(MemorySink::new());
    let mut worker = start(&rig, "worker-1", &faults, &queue, &sink);
    let drained = async || {
        let depth = queue.depth();
        (depth.ready + depth.hidden == 0).then_some(())
    };
    tokio::select! {
        // A worker that dies as it acknowledges leaves no message either; it would never end by itself.
        biased;
        () = faults.died.notified() => {
            worker.kill().await;
            worker = start(&rig, "worker-2", &Faults::new(None), &queue, &sink);
            crate::rig::until(&told, drained).await;
        }
        () = crate::rig::until(&told, drained) => {}
    }
    // Where the relay itself was not cut off the verdict is told within the life of this worker, else by a later one.
    if strike.is_none_or(|strike| strike.operation == "deliver" && strike.end == End::Fails) {
        sink.until_taken(1).await;
    }
    assert_eq!(queue.depth().dead, 0, "{told}: {:?}", queue.dead_letters());
    // A sweeper at any time finishes what a crash left and moves nothing else.
    worker.drain().await;
    Sweeper::new(Arc::clone(&rig.station), Duration::ZERO).sweep(false).await.unwrap();
    let events = sink.events();
    assert!(events.iter().all(|event| event.id == events[0].id), "{told}: {events:?}");
    let state = rig.state(&session).await;
    assert_eq!(state.name(), case.ends(), "{told}");
    let settlements = rig.settlements(&session).await;
    assert_eq!(settlements.len(), 1, "{told}: {settlements:?}");
    let original = rig.store.object(BUCKET, session.key.as_key().as_str());
    if let SessionState::Published(object) = &state {
        assert_eq!(rig.copies(), named(object), "{told}");
        assert_eq!(rig.copies().len(), case.copies(), "{told}");
        assert!(original.is_none(), "{told}: the original is still there");
    } else {
        assert!(rig.copies().is_empty(), "{told}: {:?}", rig.copies());
        assert!(original.is_some(), "{told}: the original is gone");
    }
    // A duplicate after all of that changes nothing.
    rig.pass(&event).await.unwrap();
    assert_eq!(rig.state(&session).await, state, "{told}");
    assert_eq!(rig.settlements(&session).await.len(), 1, "{told}");
    faults.calls()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fault_before_or_after_any_effect_converges() {
    let mut points = Vec::new();
    for case in CASES {
        let calls = converges(case, None).await;
        for (operation, count) in calls {
            // How often an idle worker polls and looks at its outbox is up to the clock.
            let idle = matches!(operation, "receive" | "claim_outbox" | "complete_outbox");
            for nth in 0..if idle { count.min(2) } else { count } {
                for side in [Effect::Before, Effect::After] {
                    points.extend([End::Fails, End::Dies].map(|end| (case, Strike { operation, nth, side, end })));
                }
            }
        }
    }
    let tried = points.len();
    let struck: BTreeSet<_> = points.iter().map(|(_, strike)| strike.operation).collect();
    let outcomes = stream::iter(points).map(|(case, strike)| converges(case, Some(strike)));
    outcomes.buffer_unordered(AT_ONCE).for_each(async |_| ()).await;
    println!("{tried} fault points over {} cases", CASES.len());
    for operation in ["pause", "deliver"] {
        assert!(struck.contains(operation), "{operation} was never struck");
    }
    assert!(tried > 200, "only {tried} fault points: the faults are not where the calls are");
}
