use std::{
    collections::BTreeSet,
    env,
    os::unix::fs::FileExt,
    sync::{Mutex, atomic::AtomicUsize, atomic::Ordering},
};

use anyhow::{Context, Result};
use lazaret_testkit::scanners::{conforms, spooled};

use super::*;
use crate::{ClamdScanner, ClamdSettings, clamd::tests::fixtures};

const SOON: Duration = Duration::from_secs(20);
const LARGEST: u64 = 8 << 20;
/// How long a scan takes.
const WORK: Duration = Duration::from_millis(20);

/// An engine that looks only where it is told to.
struct Engine {
    name: ScannerName,
    looks: Mutex<Looks>,
    scans: AtomicUsize,
}

#[derive(Clone)]
struct Looks {
    markers: Vec<Marker>,
    containers: BTreeSet<Container>,
    depth: u32,
    bytes: u64,
    version: &'static str,
}

impl Engine {
    fn new(looks: Looks) -> Arc<Self> {
        let name = "engine".parse().unwrap();
        Arc::new(Self { name, looks: Mutex::new(looks), scans: AtomicUsize::new(0) })
    }

    fn set(&self, change: impl FnOnce(&mut Looks)) {
        change(&mut self.looks.lock().unwrap());
    }

    fn engine(&self) -> EngineVersion {
        let version = self.looks.lock().unwrap().version;
        EngineVersion { engine: "Engine 1".to_owned(), signatures: Some(version.to_owned()), signatures_at: None }
    }

    fn finds(&self, object: &Spooled) -> bool {
        let looks = self.looks.lock().unwrap().clone();
        let mut bytes = vec![0; usize::try_from(object.len()).unwrap()];
        object.file().read_exact_at(&mut bytes, 0).unwrap();
        let knows = |marker| looks.markers.contains(&marker);
        let packed = canary::CONTAINERS
            .iter()
            .any(|(container, packed)| looks.containers.contains(container) && *packed == bytes.as_slice());
        let deep = (1..=looks.depth).any(|depth| canary::nested(depth) == bytes);
        let eicar = bytes == Marker::Eicar.plain() || packed || deep;
        let own = bytes.ends_with(Marker::Own.plain()) && object.len() <= looks.bytes;
        knows(Marker::Eicar) && eicar || knows(Marker::Own) && own
    }
}

#[async_trait]
impl Scanner for Engine {
    fn name(&self) -> &ScannerName {
        &self.name
    }

    async fn scan(&self, object: &Spooled, _: Duration) -> Result<ScanReport, ScanError> {
        self.scans.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(WORK).await;
        let finding =
            if self.finds(object) { Finding::Infected { signature: "Canary".to_owned() } } else { Finding::Clean };
        Ok(ScanReport {
            scanner: self.name.clone(),
            engine: self.engine(),
            finding,
            matches: Vec::new(),
            allowed_by: None,
            reused_from: None,
            elapsed_ms: 1,
        })
    }

    async fn check(&self) -> Result<EngineVersion, ScanError> {
        Ok(self.engine())
    }
}

fn all() -> Looks {
    let containers = canary::CONTAINERS.iter().map(|(container, _)| *container).collect();
    Looks { markers: vec![Marker::Own, Marker::Eicar], containers, depth: 30, bytes: u64::MAX, version: "1" }
}

fn proven(engine: &Arc<Engine>, canaries: Canaries) -> ProvenScanner {
    let settings = ProvenSettings { canaries, max_object_bytes: LARGEST, depth: 8, dir: env::temp_dir() };
    ProvenScanner::new(Arc::clone(engine) as _, settings)
}

async fn finding(scanner: &ProvenScanner, bytes: &[u8]) -> Result<Finding> {
    Ok(scanner.scan(&spooled(bytes)?, SOON).await?.finding)
}

fn held_for(finding: &Finding, words: &str) -> bool {
    matches!(finding, Finding::Unscannable { reason: HoldReason::ScanLimits, detail } if detail.contains(words))
}

#[tokio::test]
async fn an_engine_that_looks_everywhere_is_believed() -> Result<()> {
    let scanner = proven(&Engine::new(all()), Canaries::Required);
    scanner.check().await?;
    let coverage = scanner.coverage().context("nothing was measured")?;
    assert_eq!(scanner.misses(), Vec::<String>::new());
    assert_eq!((coverage.marker, coverage.largest), (Some(Marker::Own), Some(LARGEST)));
    for bytes in [&b"text"[..], b"PK\x03\x04 a zip", b"Rar! an archive"] {
        assert_eq!(finding(&scanner, bytes).await?, Finding::Clean);
    }
    Ok(())
}

#[tokio::test]
async fn what_an_engine_misses_it_may_not_call_clean() -> Result<()> {
    let engine = Engine::new(all());
    engine.set(|looks| {
        looks.containers.remove(&Container::Rar);
        looks.bytes = LARGEST / 4;
    });
    let scanner = proven(&engine, Canaries::Required);
    assert!(held_for(&finding(&scanner, b"Rar! an archive").await?, "did not find a canary in rar"));
    assert!(held_for(&finding(&scanner, &vec![b' '; 3 << 20]).await?, "missed a canary behind 2097152 bytes"));
    assert_eq!(finding(&scanner, b"PK\x03\x04 a zip").await?, Finding::Clean);
    assert_eq!(finding(&scanner, &vec![b' '; 2 << 20]).await?, Finding::Clean);
    Ok(())
}

#[tokio::test]
async fn an_engine_that_does_not_look_deep_enough_is_believed_about_no_container() -> Result<()> {
    let engine = Engine::new(all());
    engine.set(|looks| looks.depth = 7);
    let scanner = proven(&engine, Canaries::Auto);
    assert!(held_for(&finding(&scanner, b"PK\x03\x04 a zip").await?, "8 archives deep"));
    assert_eq!(finding(&scanner, b"text").await?, Finding::Clean);
    Ok(())
}

#[tokio::test]
async fn signatures_that_are_lost_are_noticed_before_anything_is_called_clean() -> Result<()> {
    let engine = Engine::new(all());
    let scanner = proven(&engine, Canaries::Auto);
    assert_eq!(finding(&scanner, b"text").await?, Finding::Clean);
    engine.set(|looks| looks.markers.clear());
    let lost = scanner.scan(&spooled(b"text")?, SOON).await;
    assert!(matches!(lost, Err(ScanError::Unproven { .. })), "{lost:?}");
    assert!(matches!(scanner.check().await, Err(ScanError::Unproven { .. })));
    assert!(scanner.coverage().is_none());
    engine.set(|looks| looks.markers = vec![Marker::Own, Marker::Eicar]);
    scanner.check().await?;
    assert_eq!(finding(&scanner, b"text").await?, Finding::Clean);
    Ok(())
}

/// Lazaret's own is found anywhere, which shows nothing of what an engine unpacks.
#[tokio::test]
async fn an_engine_that_knows_the_own_canary_alone_is_believed_about_no_container() -> Result<()> {
    let scanner = proven(&Engine::new(Looks { markers: vec![Marker::Own], ..all() }), Canaries::Required);
    assert!(held_for(&finding(&scanner, b"PK\x03\x04 a zip").await?, "did not find a canary in zip"));
    assert_eq!(finding(&scanner, b"text").await?, Finding::Clean);
    Ok(())
}

#[tokio::test]
async fn other_signatures_are_measured_anew() -> Result<()> {
    let engine = Engine::new(all());
    let scanner = proven(&engine, Canaries::Auto);
    assert_eq!(finding(&scanner, b"7z\xbc\xaf\x27\x1c").await?, Finding::Clean);
    engine.set(|looks| {
        looks.version = "2";
        looks.containers.remove(&Container::SevenZip);
    });
    assert!(held_for(&finding(&scanner, b"7z\xbc\xaf\x27\x1c").await?, "did not find a canary in 7z"));
    Ok(())
}

#[tokio::test]
async fn an_engine_without_a_canary_is_believed_about_plain_objects_only_where_none_is_demanded() -> Result<()> {
    let engine = Engine::new(Looks { markers: Vec::new(), ..all() });
    let scanner = proven(&engine, Canaries::Auto);
    assert_eq!(finding(&scanner, b"text").await?, Finding::Clean);
    assert!(held_for(&finding(&scanner, b"\x1f\x8b\x08").await?, "knows no canary"));
    let strict = proven(&engine, Canaries::Required);
    assert!(matches!(strict.check().await, Err(ScanError::Unproven { .. })));
    assert!(matches!(strict.scan(&spooled(b"text")?, SOON).await, Err(ScanError::Unproven { .. })));
    Ok(())
}

#[tokio::test]
async fn scans_at_once_share_a_look() -> Result<()> {
    const AT_ONCE: usize = 50;
    let engine = Engine::new(all());
    let scanner = proven(&engine, Canaries::Auto);
    scanner.check().await?;
    let before = engine.scans.load(Ordering::SeqCst);
    let object = spooled(b"text")?;
    for report in futures_util::future::join_all((0..AT_ONCE).map(|_| scanner.scan(&object, SOON))).await {
        assert_eq!(report?.finding, Finding::Clean);
    }
    let looks = engine.scans.load(Ordering::SeqCst) - before - AT_ONCE;
    assert!((1..=AT_ONCE / 5).contains(&looks), "{looks} looks");
    Ok(())
}

#[tokio::test]
async fn conforms_around_a_clamd() -> Result<()> {
    let socket = env::var("LAZARET_TEST_CLAMD_SOCKET").context("LAZARET_TEST_CLAMD_SOCKET is not set")?;
    let settings =
        ProvenSettings { canaries: Canaries::Auto, max_object_bytes: 64 << 20, depth: 8, dir: env::temp_dir() };
    let scanner = ProvenScanner::new(Arc::new(clamd(&socket)?), settings);
    conforms(&scanner, &fixtures()?).await
}

fn clamd(socket: &str) -> Result<ClamdScanner> {
    #[expect(clippy::disallowed_methods, reason = "the clock of the scanner")]
    let clamd = ClamdSettings::new("clamd".parse()?, format!("unix:{socket}").parse()?, lazaret_core::Timestamp::now);
    Ok(ClamdScanner::new(clamd))
}

/// Debian's clamd, which unpacks neither RAR nor Zstandard and calls both clean.
#[tokio::test]
async fn a_real_clamd_is_narrowed_to_what_it_unpacks() -> Result<()> {
    let socket = env::var("LAZARET_TEST_CLAMD_SOCKET").context("LAZARET_TEST_CLAMD_SOCKET is not set")?;
    let settings =
        ProvenSettings { canaries: Canaries::Auto, max_object_bytes: LARGEST, depth: 8, dir: env::temp_dir() };
    let scanner = ProvenScanner::new(Arc::new(clamd(&socket)?), settings);
    scanner.check().await?;
    let coverage = scanner.coverage().context("nothing was measured")?;
    let missed: Vec<_> = coverage.containers.iter().filter(|(_, sight)| **sight == Sight::Missed).collect();
    for (container, _) in canary::CONTAINERS {
        let unpacked = !matches!(container, Container::Rar | Container::Zstd);
        assert_eq!(coverage.containers[container] == Sight::Found, unpacked, "{container}: {missed:?}");
    }
    assert!(held_for(&finding(&scanner, canary::CONTAINERS[7].1).await?, "did not find a canary in rar"));
    Ok(())
}
