//! A scanner whose signatures change, and whose rules match.

use std::{
    os::unix::fs::FileExt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use lazaret_core::{
    EngineVersion, Finding, RuleMatch, ScanReport, ScannerName, Severity, Spooled,
    ports::{ScanError, Scanner},
};

/// What an engine finds: a finding, and the rules that match.
pub(crate) type Found = (Finding, Vec<RuleMatch>);

type Judge = dyn Fn(&[u8]) -> Result<Found, ScanError> + Send + Sync;

struct State {
    judge: Box<Judge>,
    signatures: Option<String>,
}

/// Clones share everything.
#[derive(Clone)]
pub(crate) struct Engine {
    name: ScannerName,
    state: Arc<Mutex<State>>,
    scans: Arc<AtomicUsize>,
}

pub(crate) const CLEAN: fn(&[u8]) -> Result<Found, ScanError> = |_| Ok((Finding::Clean, Vec::new()));

pub(crate) fn infected(signature: &str) -> Finding {
    Finding::Infected { signature: signature.to_owned() }
}

pub(crate) fn rule(namespace: &str, rule: &str, severity: Severity) -> RuleMatch {
    RuleMatch { namespace: namespace.to_owned(), rule: rule.to_owned(), severity, metadata: [].into() }
}

impl Engine {
    /// One with the signatures `1` that finds nothing.
    pub(crate) fn new(name: &str) -> Self {
        let state = State { judge: Box::new(CLEAN), signatures: Some("1".to_owned()) };
        Self { name: name.parse().unwrap(), state: Arc::new(Mutex::new(state)), scans: Arc::default() }
    }

    /// From now on it has these signatures, and finds this.
    pub(crate) fn load(
        &self,
        signatures: Option<&str>,
        judge: impl Fn(&[u8]) -> Result<Found, ScanError> + Send + Sync + 'static,
    ) {
        let signatures = signatures.map(str::to_owned);
        *self.state.lock().unwrap() = State { judge: Box::new(judge), signatures };
    }

    /// The same as [`Engine::load`] for one signature that is in these bytes.
    pub(crate) fn learn(&self, signatures: &str, signature: &'static str, bytes: &'static [u8]) {
        self.load(Some(signatures), move |object| {
            let is_in = object.windows(bytes.len()).any(|window| window == bytes);
            Ok((if is_in { infected(signature) } else { Finding::Clean }, Vec::new()))
        });
    }

    pub(crate) fn scans(&self) -> usize {
        self.scans.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Scanner for Engine {
    fn name(&self) -> &ScannerName {
        &self.name
    }

    async fn scan(&self, object: &Spooled, _: Duration) -> Result<ScanReport, ScanError> {
        self.scans.fetch_add(1, Ordering::SeqCst);
        let engine = self.check().await?;
        let mut bytes = vec![0; usize::try_from(object.len()).unwrap()];
        object.file().read_exact_at(&mut bytes, 0).unwrap();
        let (finding, matches) = (self.state.lock().unwrap().judge)(&bytes)?;
        let scanner = self.name.clone();
        Ok(ScanReport { scanner, engine, finding, matches, allowed_by: None, reused_from: None, elapsed_ms: 1 })
    }

    async fn check(&self) -> Result<EngineVersion, ScanError> {
        let signatures = self.state.lock().unwrap().signatures.clone();
        Ok(EngineVersion { engine: "Engine 1".to_owned(), signatures, signatures_at: None })
    }
}
