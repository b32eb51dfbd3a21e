//! Scanners from their settings.

use std::{fmt, num::NonZero, sync::Arc};

use anyhow::Result;
use lazaret_core::{
    Timestamp,
    ports::{ProgramJail, Scanner as ScannerPort},
};
use lazaret_pipeline::ScannerSlot;
use lazaret_scanners::{
    ClamdScanner, ClamdSettings, ExecScanner, ExecSettings, Failover, IcapScanner, IcapSettings, ProvenScanner,
    ProvenSettings,
};

use crate::settings::{ClamdAddresses, Period, Scanner, ScannerKind, Settings, Size};

/// The clock that signatures age by.
#[expect(clippy::disallowed_methods, reason = "the clock of the scanners, which take it as an argument")]
const NOW: fn() -> Timestamp = Timestamp::now;
/// Address space of a program that scans.
const PROGRAM_MEMORY: Size = Size::mib(512);

/// A scanner, and what it tells of itself beside verdicts.
#[derive(Clone)]
pub struct WiredScanner {
    /// What the pipeline asks.
    pub slot: ScannerSlot,
    /// The engines behind it, each at its address.
    pub engines: Vec<(String, Arc<ProvenScanner>)>,
    /// Why it works with rules that are no longer those in its folder, where that is so.
    pub broken: Broken,
}

impl fmt::Debug for WiredScanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WiredScanner").field(self.slot.scanner.name()).finish()
    }
}

/// An engine and its address.
type Engine = (String, Arc<dyn ScannerPort>);
/// Why the rules in force are not those in their folder, where that is so.
type Broken = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The scanner that `scanner` describes.
pub fn scanner(settings: &Settings, scanner: &Scanner, jail: &Arc<dyn ProgramJail>) -> Result<WiredScanner> {
    let mut broken: Broken = Arc::new(|| None);
    let engines: Vec<Engine> = match scanner.kind {
        ScannerKind::Clamd => clamds(settings, scanner),
        ScannerKind::Icap => icap(settings, scanner).into_iter().collect(),
        ScannerKind::Exec => vec![exec(settings, scanner, jail)?],
        ScannerKind::Yara => {
            let (engine, tell) = yara(scanner)?;
            broken = tell;
            vec![engine]
        }
    };
    let engines: Vec<_> = engines
        .into_iter()
        .map(|(address, engine)| (address, Arc::new(ProvenScanner::new(engine, canaries(settings, scanner)))))
        .collect();
    let scanning: Arc<dyn ScannerPort> = match engines.as_slice() {
        [(_, only)] => Arc::clone(only) as _,
        several => {
            let members = several.iter().map(|(address, engine)| (address.clone(), Arc::clone(engine) as _)).collect();
            Arc::new(Failover::new(scanner.name.clone(), members))
        }
    };
    let slot = ScannerSlot { scanner: scanning, timeout: scanner.timeout.get(), max_size: scanner.max_size.bytes() };
    Ok(WiredScanner { slot, engines, broken })
}

fn canaries(settings: &Settings, scanner: &Scanner) -> ProvenSettings {
    ProvenSettings {
        canaries: scanner.canaries(),
        max_object_bytes: scanner.max_size.min(settings.limits.max_object_size).bytes(),
        depth: settings.limits.archive_depth,
        dir: settings.worker.spool_dir(),
    }
}

/// As many objects at once as there are slots, and a canary beside them.
fn at_once(settings: &Settings) -> NonZero<usize> {
    NonZero::new(settings.worker.concurrency()).unwrap_or(NonZero::<usize>::MIN).saturating_add(1)
}

fn clamds(settings: &Settings, scanner: &Scanner) -> Vec<Engine> {
    let addresses = scanner.address.iter().flat_map(ClamdAddresses::iter);
    addresses
        .map(|address| {
            let clamd = ClamdSettings {
                max_signature_age: scanner.max_signature_age.map(Period::get),
                max_object_bytes: scanner.max_size.bytes(),
                max_scan_time: scanner.max_scan_time.map(Period::get),
                max_connections: at_once(settings),
                ..ClamdSettings::new(scanner.name.clone(), address.to_scanner(), NOW)
            };
            (address.to_string(), Arc::new(ClamdScanner::new(clamd)) as _)
        })
        .collect()
}

fn icap(settings: &Settings, scanner: &Scanner) -> Option<Engine> {
    let url = scanner.url.as_ref()?;
    let mut icap = IcapSettings {
        max_object_bytes: scanner.max_size.bytes(),
        max_signature_age: scanner.max_signature_age.map(Period::get),
        max_connections: at_once(settings),
        ..IcapSettings::new(scanner.name.clone(), url.to_scanner())
    };
    if let Some(method) = scanner.method {
        icap.method = method.to_scanner();
    }
    Some((url.to_string(), Arc::new(IcapScanner::new(icap))))
}

fn exec(settings: &Settings, scanner: &Scanner, jail: &Arc<dyn ProgramJail>) -> Result<Engine> {
    let command = scanner.command.clone().unwrap_or_default();
    let address = command.first().cloned().unwrap_or_default();
    #[expect(clippy::disallowed_methods, reason = "the clock of the scanner, which takes it as an argument")]
    let exec = ExecSettings {
        max_signature_age: scanner.max_signature_age.map(Period::get),
        threads: scanner.threads.unwrap_or_default(),
        readable: scanner.readable.clone().unwrap_or_default(),
        memory_bytes: scanner.memory.unwrap_or(PROGRAM_MEMORY).bytes(),
        cpu_time: scanner.cpu_time.unwrap_or(scanner.timeout).get(),
        max_object_bytes: scanner.max_size.bytes(),
        max_programs: at_once(settings),
        ..ExecSettings::new(scanner.name.clone(), command, Timestamp::now)
    };
    Ok((address, Arc::new(ExecScanner::new(exec, Arc::clone(jail))?)))
}

#[cfg(feature = "yara")]
fn yara(scanner: &Scanner) -> Result<(Engine, Broken)> {
    use lazaret_scanners::{YaraNews, YaraScanner, YaraSettings};
    use tracing::{error, info};

    let name = scanner.name.clone();
    let observer = Arc::new(move |news: &YaraNews| match news {
        YaraNews::InForce { version, rules, warnings } => {
            info!(scanner = %name, rules, signatures = version.signatures, ?warnings, "YARA rules are in force");
        }
        YaraNews::Broken { why } => {
            error!(scanner = %name, why, "the YARA rules changed and cannot be used; those before stay in force");
        }
    });
    let folder = scanner.rules.clone().unwrap_or_default();
    let address = folder.display().to_string();
    #[expect(clippy::disallowed_methods, reason = "the clock of the scanner, which takes it as an argument")]
    let settings = YaraSettings {
        max_signature_age: scanner.max_signature_age.map(Period::get),
        max_object_bytes: scanner.max_size.bytes(),
        ..YaraSettings::new(scanner.name.clone(), folder, observer, Timestamp::now)
    };
    let engine = Arc::new(YaraScanner::new(settings)?);
    let told = Arc::clone(&engine);
    Ok(((address, engine as _), Arc::new(move || told.broken())))
}

#[cfg(not(feature = "yara"))]
fn yara(scanner: &Scanner) -> Result<(Engine, Broken)> {
    anyhow::bail!("scanner {} is of kind \"yara\", which this program was built without", scanner.name)
}
