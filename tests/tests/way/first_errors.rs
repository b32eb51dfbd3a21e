//! The errors that a new user meets first: one line that says what is wrong and what to do, and an exit code.

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    process::Command,
    time::Duration,
};

use anyhow::Result;
use lazaret_tests::{
    dev::Dev,
    gate::Gate,
    objects::{Upload, fixture_path},
    program::{Ended, Running, lazaret},
    servers::free_address,
    station::Station,
    wait::until_true,
};

use crate::SETTLED_WITHIN;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
/// More than the log and the database need, less than the upload.
const FILE_SIZE_LIMIT: &str = "--fsize=8388608";
const LINES: usize = 600_000;

/// One line with all of `words`, and nothing on the standard output stream.
fn assert_one_line(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stdout, "", "{ended:?}");
    let lines: Vec<_> = ended.stderr.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(lines.len(), 1, "{ended:?}");
    assert_eq!(ended.stderr.lines().last(), lines.first().copied(), "{ended:?}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} is not said: {}", lines[0]);
    }
}

#[test]
fn no_settings() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for arguments in [["worker"].as_slice(), &["session", "list"], &["config", "check"]] {
        let ended = Ended::run(lazaret().args(arguments).current_dir(folder.path()))?;
        assert_one_line(&ended, USAGE, &["no settings", "lazaret dev", "--config"]);
    }
    let absent = Ended::run(lazaret().args(["--config", "absent.toml", "worker"]).current_dir(folder.path()))?;
    assert_one_line(&absent, USAGE, &["absent.toml", "--config"]);
    Ok(())
}

#[tokio::test]
async fn an_unknown_key() -> Result<()> {
    let mut station = Station::new().await?;
    station.set("worker.concurency", "8");
    let ended = station.run(&["config", "check"])?;
    assert_one_line(&ended, USAGE, &["concurency", "LAZARET__WORKER__CONCURENCY", "config/lazaret.toml"]);

    let misspelt = station.folder.path().join("misspelt.toml");
    fs::write(&misspelt, fs::read_to_string(&station.config)?.replace("spool_dir", "spooldir"))?;
    let ended = Ended::run(lazaret().arg("--config").arg(&misspelt).arg("worker"))?;
    assert_one_line(&ended, USAGE, &["misspelt.toml", "worker.spooldir"]);
    Ok(())
}

/// The endpoint of `lazaret dev` knows one key and refuses every other.
#[tokio::test]
async fn wrong_credentials() -> Result<()> {
    let mut station = Station::new().await?;
    let dev = Dev::start(station.folder.path(), &[]).await?;
    station.set("storage.endpoint", &dev.ready.endpoint);
    station.set("storage.bucket", &dev.ready.bucket);
    let words = ["refused", "storage.access_key_id", "storage.secret_access_key"];
    for arguments in [["worker"].as_slice(), &["sweep"]] {
        let ended = station.run(arguments)?;
        assert_one_line(&ended, FAILED, &words);
    }
    station.set("storage.access_key_id", &dev.ready.access_key_id);
    let ended = station.run(&["sweep"])?;
    assert_one_line(&ended, FAILED, &words);
    Ok(())
}

/// A jail that one attempt gets out of, and one that lacks a layer: no worker begins.
#[tokio::test]
async fn no_whole_jail() -> Result<()> {
    let mut station = Station::new().await?;
    for (name, words) in [("survives-fork", "fork"), ("without-landlock", "landlock")] {
        let program = station.folder.path().join(name);
        symlink(lazaret_tests::program::program("examples/misbehave"), &program)?;
        station.set("sandbox.program", program.to_string_lossy());
        let ended = station.run(&["worker"])?;
        assert_one_line(&ended, FAILED, &["jail", words]);
    }
    Ok(())
}

#[tokio::test]
async fn no_store() -> Result<()> {
    let mut station = Station::new().await?;
    station.set("storage.endpoint", "http://127.0.0.1:9");
    let ended = station.run(&["sweep"])?;
    assert_one_line(&ended, FAILED, &["unavailable", "storage.endpoint"]);
    Ok(())
}

#[tokio::test]
async fn no_clamd() -> Result<()> {
    let mut station = Station::new().await?;
    station.set("scanner.0.address", "unix:/nowhere/clamd.ctl");
    let scanned = fixture_path("notes.txt").to_string_lossy().into_owned();
    let ended = station.run(&["scan", &scanned])?;
    assert_one_line(&ended, FAILED, &["clamd", "/nowhere/clamd.ctl", "apt-get install clamav-daemon"]);

    let dev = ["dev", "--clamd", "unix:/nowhere/clamd.ctl", "--listen", "127.0.0.1:0", "--data-dir", "data"];
    let ended = Ended::run(lazaret().args(dev).current_dir(station.folder.path()))?;
    assert_one_line(&ended, FAILED, &["/nowhere/clamd.ctl", "clamd"]);
    Ok(())
}

/// A worker waits for its clamd, says so, is not ready, and publishes nothing meanwhile; it goes on by itself.
#[tokio::test]
async fn no_clamd_yet() -> Result<()> {
    let mut station = Station::new().await?;
    let address = free_address()?;
    station.set("scanner.0.address", format!("tcp:{address}"));
    let created = station.submit(&Upload::text("without a scanner")).await?;
    let mut worker = Running::start(station.command().arg("worker"), station.folder.path(), "worker")?;
    until_true("it says what is missing", SETTLED_WITHIN, async || {
        worker.ensure_up()?;
        Ok(worker.stderr()?.contains("apt-get install clamav-daemon"))
    })
    .await?;
    until_true("it says that it is not ready", SETTLED_WITHIN, async || {
        Ok(station.get("/readyz").await.is_ok_and(|(status, body)| status == 503 && body.contains("clamd")))
    })
    .await?;
    assert_eq!(station.get("/healthz").await?.0, 200);
    let shown = station.show(&created.upload_id)?;
    assert!(!shown.is_settled() && shown.story["attempts"] == 0, "{:?}", shown.story);
    assert!(station.store.published().await?.is_empty());
    let gate = Gate::open_at(address, station.servers.clamd_tcp, "nothing is held back")?;
    let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    assert_eq!((shown.outcome().as_str(), &shown.story["attempts"]), ("published", &1.into()));
    drop((gate, worker));
    Ok(())
}

#[tokio::test]
async fn a_taken_port() -> Result<()> {
    let mut station = Station::new().await?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    station.set("telemetry.listen", &address);
    let ended = station.run(&["worker"])?;
    assert_one_line(&ended, FAILED, &[&address, "taken", "telemetry.listen"]);
    let ended = Ended::run(lazaret().args(["dev", "--listen", &address]).current_dir(station.folder.path()))?;
    assert_one_line(&ended, FAILED, &[&address, "taken", "--listen"]);
    Ok(())
}

/// A folder that cannot be one: root is stopped by it, too.
#[tokio::test]
async fn a_spool_that_cannot_be_written() -> Result<()> {
    let mut station = Station::new().await?;
    let file = station.folder.path().join("a file");
    fs::write(&file, "")?;
    fs::set_permissions(&file, Permissions::from_mode(0o400))?;
    station.set("worker.spool_dir", file.join("spool").to_string_lossy());
    let ended = station.run(&["worker"])?;
    assert_one_line(&ended, FAILED, &["a file/spool", "worker.spool_dir"]);
    Ok(())
}

/// Nothing is lost when the disk is full: the worker says so, burns no attempt and waits. A limit on the size of files
/// stands in for the disk; what it meets first is the spool.
#[tokio::test]
async fn a_full_spool() -> Result<()> {
    let mut station = Station::new().await?;
    // The limit counts for the memory of jailed processes, too.
    for room in ["sandbox.max_input", "sandbox.max_picture", "sandbox.max_output"] {
        station.set(room, "4MiB");
    }
    let upload = Upload::new("long.txt", "text/plain", "no room for this line\n".repeat(LINES));
    let created = station.submit(&upload).await?;
    let mut limited = Command::new("env");
    let command = station.command();
    limited
        .args(["--ignore-signal=XFSZ", "prlimit", FILE_SIZE_LIMIT])
        .arg(command.get_program())
        .args(command.get_args())
        .arg("worker");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let mut worker = Running::start(&mut limited, station.folder.path(), "worker")?;
    until_true("it says what is wrong", Duration::from_secs(30), async || {
        worker.ensure_up()?;
        let told = ["unavailable", "/spool failed", "make room", "worker.spool_dir"];
        Ok(worker.stderr()?.lines().any(|line| told.iter().all(|words| line.contains(words))))
    })
    .await?;
    let shown = station.show(&created.upload_id)?;
    assert!(!shown.is_settled() && shown.story["attempts"] == 0, "{:?}", shown.story);
    worker.kill()?;
    let roomy = station.worker("roomy").await?;
    assert_eq!(station.settled(&created.upload_id, SETTLED_WITHIN).await?.outcome(), "published");
    drop(roomy);
    Ok(())
}
