use std::{
    fmt,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lazaret_core::{
    EngineVersion, Finding, ScanReport, ScannerName, Spooled,
    ports::{ScanError, Scanner},
};
use tokio::{sync::Semaphore, time};

type Judge = dyn Fn(&[u8]) -> Result<Finding, ScanError> + Send + Sync;

/// A scanner that judges with a closure. Clones share everything.
#[derive(Clone)]
pub struct MemoryScanner {
    name: ScannerName,
    judge: Arc<Judge>,
    delay: Duration,
    gate: Option<Arc<Semaphore>>,
    scans: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
}

impl MemoryScanner {
    /// Judges all bytes of each object, at once.
    pub fn new(name: ScannerName, judge: impl Fn(&[u8]) -> Result<Finding, ScanError> + Send + Sync + 'static) -> Self {
        Self {
            name,
            judge: Arc::new(judge),
            delay: Duration::ZERO,
            gate: None,
            scans: Arc::default(),
            down: Arc::default(),
        }
    }

    /// Calls everything clean.
    pub fn clean(name: ScannerName) -> Self {
        Self::new(name, |_| Ok(Finding::Clean))
    }

    /// Takes this long for each object.
    #[must_use]
    pub fn with_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Waits for, and uses up, one permit of `gate` for each object.
    #[must_use]
    pub fn with_gate(self, gate: Arc<Semaphore>) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// Out of reach from now on, or back again.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// How many scans have begun.
    pub fn scans(&self) -> usize {
        self.scans.load(Ordering::SeqCst)
    }

    fn reach(&self) -> Result<(), ScanError> {
        if self.down.load(Ordering::SeqCst) {
            let (scanner, address) = (self.name.clone(), "memory".to_owned());
            return Err(ScanError::Unavailable { scanner, address, source: "it was set down".into() });
        }
        Ok(())
    }

    async fn examine(&self, object: &Spooled) -> Result<Finding, ScanError> {
        if object.is_empty() {
            let answer = "(not asked: the object is empty)".to_owned();
            return Err(ScanError::NoVerdict { scanner: self.name.clone(), answer });
        }
        if let Some(gate) = &self.gate {
            gate.acquire()
                .await
                .map_err(|closed| ScanError::NoVerdict { scanner: self.name.clone(), answer: closed.to_string() })?
                .forget();
        }
        time::sleep(self.delay).await;
        self.reach()?;
        let mut bytes = vec![0; usize::try_from(object.len()).unwrap_or(usize::MAX)];
        object
            .file()
            .read_exact_at(&mut bytes, 0)
            .map_err(|source| ScanError::Spool { scanner: self.name.clone(), source })?;
        (self.judge)(&bytes)
    }
}

impl fmt::Debug for MemoryScanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryScanner").field("name", &self.name).finish_non_exhaustive()
    }
}

fn engine() -> EngineVersion {
    EngineVersion { engine: "Memory 1.0".to_owned(), signatures: None, signatures_at: None }
}

#[async_trait]
impl Scanner for MemoryScanner {
    fn name(&self) -> &ScannerName {
        &self.name
    }

    async fn scan(&self, object: &Spooled, deadline: Duration) -> Result<ScanReport, ScanError> {
        let started = Instant::now();
        self.scans.fetch_add(1, Ordering::SeqCst);
        self.reach()?;
        let exceeded = || ScanError::DeadlineExceeded { scanner: self.name.clone(), deadline };
        let finding = time::timeout(deadline, self.examine(object)).await.unwrap_or_else(|_| Err(exceeded()))?;
        // An answer that is there by the next poll passes by the timer.
        if started.elapsed() > deadline {
            return Err(exceeded());
        }
        let elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(ScanReport {
            scanner: self.name.clone(),
            engine: engine(),
            finding,
            matches: Vec::new(),
            allowed_by: None,
            reused_from: None,
            elapsed_ms,
        })
    }

    async fn check(&self) -> Result<EngineVersion, ScanError> {
        self.reach()?;
        Ok(engine())
    }
}

#[cfg(test)]
mod tests {
    use lazaret_core::HoldReason;

    use super::*;
    use crate::scanners::{Fixtures, conforms, eicar};

    #[tokio::test]
    async fn the_fake_conforms() {
        let fixtures = Fixtures {
            clean: b"clean".to_vec(),
            infected: eicar(),
            signature: "Eicar".to_owned(),
            encrypted: Some(b"encrypted".to_vec()),
            over_limits: Some(b"over limits".to_vec()),
            huge: vec![7; 30_000_000],
        };
        let held = |reason| Finding::Unscannable { reason, detail: "told to".to_owned() };
        let judge = move |bytes: &[u8]| {
            Ok(match bytes {
                b"encrypted" => held(HoldReason::Encrypted),
                b"over limits" => held(HoldReason::ScanLimits),
                _ if bytes == eicar() => Finding::Infected { signature: "Eicar".to_owned() },
                _ => Finding::Clean,
            })
        };
        let scanner = MemoryScanner::new("memory".parse().unwrap(), judge).with_delay(Duration::from_millis(5));
        conforms(&scanner, &fixtures).await.unwrap();
    }

    #[tokio::test]
    async fn a_scanner_that_is_down_is_unavailable_until_it_is_back() {
        let scanner = MemoryScanner::clean("memory".parse().unwrap());
        scanner.set_down(true);
        let object = crate::scanners::spooled(b"x").unwrap();
        let answer = scanner.scan(&object, Duration::from_secs(1)).await;
        assert!(matches!(answer, Err(ScanError::Unavailable { .. })), "{answer:?}");
        assert!(matches!(scanner.check().await, Err(ScanError::Unavailable { .. })));
        scanner.set_down(false);
        assert_eq!(scanner.scan(&object, Duration::from_secs(1)).await.unwrap().finding, Finding::Clean);
    }
}
