//! A clamd for `lazaret dev`: one that runs already, or one of its own.

mod process;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use lazaret_core::{
    Timestamp,
    ports::{ScanError, Scanner as _},
};
use lazaret_scanners::{ClamdScanner, ClamdSettings};
use serde::Serialize;
use tracing::info;

use super::home::Home;
use crate::settings::{ClamdAddress, Scanner};

use process::Process;

/// Where a clamd of the system listens, on Debian and elsewhere.
const USUAL: [&str; 3] = ["unix:/run/clamav/clamd.ctl", "unix:/var/run/clamav/clamd.ctl", "tcp:127.0.0.1:3310"];
/// Where freshclam puts the system's signatures.
const SYSTEM_DATABASE: &str = "/var/lib/clamav";

/// Whose signatures are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Signatures {
    /// Those that freshclam keeps on this machine.
    System,
    /// Those that this program brings: they find the EICAR test file.
    BuiltInTest,
    /// Those of a clamd that is not ours.
    External,
}

impl Signatures {
    /// As in JSON.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::BuiltInTest => "built-in-test",
            Self::External => "external",
        }
    }

    fn warning(self) -> Option<String> {
        match self {
            Self::System | Self::External => None,
            Self::BuiltInTest => Some(format!(
                "clamd has the built-in test signatures only: it finds the EICAR test file and NO REAL MALWARE; install \
                 clamav-freshclam and run freshclam to fill {SYSTEM_DATABASE}, then start again"
            )),
        }
    }
}

/// What others are told of it.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    pub(super) address: String,
    pub(super) signatures: Signatures,
    pub(super) signature_warning: Option<String>,
}

/// A clamd that answers.
#[derive(Debug)]
pub(super) struct Clamd {
    scanner: Scanner,
    signatures: Signatures,
    own: Option<Process>,
}

impl Clamd {
    /// The one at `address`, which must answer; else one that runs here; else one of our own.
    pub(super) async fn find_or_start(address: Option<&ClamdAddress>, home: &Home) -> Result<Self> {
        if let Some(address) = address {
            check(address).await.context("the clamd given by --clamd cannot be used")?;
            return Ok(Self { scanner: Scanner::clamd(address.clone()), signatures: Signatures::External, own: None });
        }
        for address in USUAL.iter().filter_map(|text| text.parse().ok()) {
            match check(&address).await {
                Ok(()) => {
                    return Ok(Self { scanner: Scanner::clamd(address), signatures: Signatures::External, own: None });
                }
                // Nobody there is the usual case; one that answers and cannot be used is worth a line.
                Err(error) if answers(&error) => {
                    info!(%address, error = &error as &dyn std::error::Error, "a clamd runs here that cannot be used");
                }
                Err(_) => {}
            }
        }
        let signatures =
            if has_signatures(Path::new(SYSTEM_DATABASE)) { Signatures::System } else { Signatures::BuiltInTest };
        let own = Process::start(&home.folder, signatures).await?;
        let scanner = Scanner { max_size: process::MAX_SIZE, ..Scanner::clamd(own.address().clone()) };
        check(own.address()).await.context("the clamd of `lazaret dev` cannot be used")?;
        Ok(Self { scanner, signatures, own: Some(own) })
    }

    /// What the settings say of it.
    pub(super) const fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    pub(super) fn told(&self) -> Told {
        Told {
            address: self.scanner.addresses(),
            signatures: self.signatures,
            signature_warning: self.signatures.warning(),
        }
    }

    /// Returns when our own clamd ended by itself; never for one that is not ours.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        match &mut self.own {
            Some(own) => own.ended().await,
            None => std::future::pending().await,
        }
    }
}

async fn check(address: &ClamdAddress) -> Result<(), ScanError> {
    #[expect(clippy::disallowed_methods, reason = "the clock of the scanner, which takes it as an argument")]
    let settings = ClamdSettings::new(Scanner::clamd(address.clone()).name, address.to_scanner(), Timestamp::now);
    ClamdScanner::new(settings).check().await.map(drop)
}

const fn answers(error: &ScanError) -> bool {
    !matches!(error, ScanError::Unavailable { .. })
}

fn has_signatures(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return false };
    entries
        .filter_map(Result::ok)
        .any(|entry| matches!(entry.path().extension().and_then(|text| text.to_str()), Some("cvd" | "cld" | "cud")))
}
