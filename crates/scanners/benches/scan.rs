//! What Lazaret puts around clamd: objects per second and MB/s with it, divided by those of bare
//! `clamdscan --fdpass --multiscan` on the same files, the two by turns in one run.
//!
//! The clamd is the shared one of the tests, without its cache of clean files. Around it are the canaries, the engine's
//! version before and after each scan, and a look for the canary after each clean one.

use std::{
    env,
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use lazaret_core::{Finding, Sha256Digest, Spooled, Timestamp, ports::Scanner};
use lazaret_scanners::{Canaries, ClamdScanner, ClamdSettings, ProvenScanner, ProvenSettings};
use tempfile::TempDir;
use tokio::task::JoinSet;

/// clamd's own `MaxThreads`, which is how many `--multiscan` uses.
const AT_ONCE: usize = 10;
const DEADLINE: Duration = Duration::from_mins(2);
const MAX_OBJECT_BYTES: u64 = 64 << 20;
/// How many files of how many bytes.
const SETS: [(usize, usize); 4] = [(4000, 10_000), (400, 100_000), (120, 1_000_000), (12, 20_000_000)];

fn main() -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> Result<()> {
    let rounds: usize = env::var("LAZARET_BENCH_ROUNDS").as_deref().unwrap_or("5").parse()?;
    let socket = env::var("LAZARET_TEST_CLAMD_SOCKET").context("LAZARET_TEST_CLAMD_SOCKET is not set")?;
    let scratch = tempfile::tempdir()?;
    let client = scratch.path().join("clamd.conf");
    fs::write(&client, format!("LocalSocket {socket}\n"))?;
    let scanner = scanner(&socket, scratch.path())?;
    scanner.check().await?;
    println!("{:>9} {:>6} {:>22} {:>22} {:>6}", "bytes", "files", "clamdscan", "Lazaret", "ratio");
    for (count, len) in SETS {
        let files = files(count, len)?;
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            bare.push(clamdscan(&client, files.path())?);
            ours.push(lazaret(&scanner, files.path()).await?);
        }
        let (bare, ours) = (median(bare), median(ours));
        println!(
            "{len:>9} {count:>6} {:>22} {:>22} {:>6.2}",
            speed(count, len, bare),
            speed(count, len, ours),
            bare.as_secs_f64() / ours.as_secs_f64()
        );
    }
    Ok(())
}

fn scanner(socket: &str, dir: &Path) -> Result<Arc<ProvenScanner>> {
    #[expect(clippy::disallowed_methods, reason = "the clock of the scanner")]
    let clamd = ClamdSettings::new("clamd".parse()?, format!("unix:{socket}").parse()?, Timestamp::now);
    let settings =
        ProvenSettings { canaries: Canaries::Auto, max_object_bytes: MAX_OBJECT_BYTES, depth: 8, dir: dir.to_owned() };
    Ok(Arc::new(ProvenScanner::new(Arc::new(ClamdScanner::new(clamd)), settings)))
}

/// Files of bytes that no signature is in and no two of which are alike.
fn files(count: usize, len: usize) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ len as u64;
    for index in 0..count {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            // xorshift64 (Marsaglia 2003).
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(len);
        fs::write(folder.path().join(format!("{index}.bin")), bytes)?;
    }
    Ok(folder)
}

fn clamdscan(client: &Path, files: &Path) -> Result<Duration> {
    let began = Instant::now();
    let status = Command::new("clamdscan")
        .arg(format!("--config-file={}", client.display()))
        .args(["--fdpass", "--multiscan", "--no-summary", "--quiet"])
        .arg(files)
        .stdout(Stdio::null())
        .status()
        .context("clamdscan cannot be started")?;
    ensure!(status.success(), "clamdscan ended with {status}");
    Ok(began.elapsed())
}

async fn lazaret(scanner: &Arc<ProvenScanner>, files: &Path) -> Result<Duration> {
    let began = Instant::now();
    let mut scans = JoinSet::new();
    for entry in fs::read_dir(files)? {
        if scans.len() == AT_ONCE {
            clean(scans.join_next().await)?;
        }
        let (file, scanner) = (File::open(entry?.path())?, Arc::clone(scanner));
        let object = Spooled::new(file.try_clone()?, file.metadata()?.len(), Sha256Digest::from_bytes([0; 32]), ());
        scans.spawn(async move { scanner.scan(&object, DEADLINE).await.map(|report| report.finding) });
    }
    while !scans.is_empty() {
        clean(scans.join_next().await)?;
    }
    Ok(began.elapsed())
}

fn clean(
    scanned: Option<Result<Result<Finding, lazaret_core::ports::ScanError>, tokio::task::JoinError>>,
) -> Result<()> {
    match scanned.context("no scan was under way")??? {
        Finding::Clean => Ok(()),
        other => bail!("expected clean: {other:?}"),
    }
}

fn speed(count: usize, len: usize, took: Duration) -> String {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let (count, bytes) = (count as f64, (count * len) as f64);
    format!("{:.0}/s {:.1} MB/s", count / took.as_secs_f64(), bytes / 1e6 / took.as_secs_f64())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
