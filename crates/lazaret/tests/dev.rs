//! `lazaret dev` as a process, with a clamd of its own from the installed package.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use lazaret_core::{
    UploadId, WorkerId,
    ports::{Begun, SessionStore},
};
use lazaret_sessions::{SqliteOptions, SqliteSessionStore};
use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group, test_kill_process};
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(30);

/// Killed with the test that started it.
struct Dev {
    child: Child,
    ready: Value,
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn start(folder: &Path) -> Dev {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lazaret"))
        .args(["dev", "--listen", "127.0.0.1:0", "--output", "json", "--data-dir"])
        .arg(folder)
        .env("TMPDIR", temporary(folder))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(folder.with_extension("log")).unwrap())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let log = || fs::read_to_string(folder.with_extension("log")).unwrap();
    let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}: {}", log()));
    Dev { child, ready }
}

/// Beside the folder of `lazaret dev`, so that a test sees what is left there.
fn temporary(folder: &Path) -> PathBuf {
    let temporary = folder.with_extension("tmp");
    fs::create_dir_all(&temporary).unwrap();
    temporary
}

/// Where its own clamd keeps its files; none where it uses another.
fn files_of_clamd(dev: &Dev) -> Option<PathBuf> {
    if dev.ready["clamd"]["signatures"] == "external" {
        return None;
    }
    let socket = dev.ready["clamd"]["address"].as_str().unwrap().strip_prefix("unix:").unwrap();
    Some(Path::new(socket).parent().unwrap().to_owned())
}

/// The process that listens as clamd: the one whose command line names the settings in `files`.
fn clamd_of(files: &Path) -> Option<Pid> {
    let conf = files.join("clamd.conf").to_str()?.to_owned();
    fs::read_dir("/proc").unwrap().filter_map(Result::ok).find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        line.contains(&conf).then(|| Pid::from_raw(pid)).flatten()
    })
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < WITHIN, "not within {} s: {what}", WITHIN.as_secs());
        thread::sleep(Duration::from_millis(10));
    }
}

fn get(url: &str, path: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn session(config: &str) -> UploadId {
    let made = Command::new(env!("CARGO_BIN_EXE_lazaret"))
        .args(["--config", config, "session", "create", "--tenant", "me", "--file-name", "cat.jpg"])
        .args(["--content-type", "image/jpeg", "--size", "4", "--output", "json"])
        .output()
        .unwrap();
    let made: Value = serde_json::from_slice(&made.stdout).unwrap_or_else(|error| panic!("{error}: {made:?}"));
    made["upload_id"].as_str().unwrap().parse().unwrap()
}

/// Begins an attempt that lasts longer than any test.
fn begin(folder: &Path, id: UploadId) -> Begun {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("sqlite:{}", folder.join("lazaret.db").display());
        let store = SqliteSessionStore::open(&url, &SqliteOptions::default()).await.unwrap();
        let hour = Duration::from_hours(1);
        let begun = store.begin_attempt(id, &WorkerId::new("a worker"), hour, 10, true).await.unwrap();
        store.close().await;
        begun
    })
}

/// One test, because two would load one more clamd each on the machine of whoever runs them.
#[test]
fn it_is_ready_keeps_its_folder_to_itself_and_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("data");
    let mut first = start(&folder);
    let telemetry = first.ready["telemetry"].as_str().unwrap().to_owned();
    until("it is ready", || get(&telemetry, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(get(&telemetry, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get(&telemetry, "/metrics").contains("lazaret_objects_total{outcome=\"published\",reason=\"none\"} 0"));

    let second = Command::new(env!("CARGO_BIN_EXE_lazaret"))
        .args(["dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(&folder)
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.lines().last().unwrap().starts_with("error: another `lazaret dev` uses the folder"), "{said}");

    let id = session(first.ready["config"].as_str().unwrap());
    assert!(matches!(begin(&folder, id), Begun::Leased { attempt: 1, .. }));
    let busy = begin(&folder, id);
    assert!(matches!(busy, Begun::Busy { .. }), "{busy:?}");

    let own_clamd = files_of_clamd(&first).map(|files| {
        assert!(files.starts_with(temporary(&folder)), "{}", files.display());
        assert_eq!(fs::metadata(&files).unwrap().permissions().mode() & 0o777, 0o700);
        (clamd_of(&files).unwrap(), files)
    });
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    if let Some((clamd, _)) = &own_clamd {
        until("clamd ended with a killed lazaret dev", || test_kill_process(*clamd).is_err());
    }

    let mut again = start(&folder);
    assert_eq!(again.ready["secret_access_key"], first.ready["secret_access_key"], "credentials stay");
    let begun = begin(&folder, id);
    assert!(matches!(begun, Begun::Leased { attempt: 2, .. }), "a lease outlived its process: {begun:?}");
    if let Some((_, files)) = own_clamd {
        assert!(!files.exists(), "what a killed lazaret dev left is still there");
    }
    let files = files_of_clamd(&again);
    let group = Pid::from_child(&again.child);
    if let Some(files) = &files {
        let clamd = clamd_of(files).unwrap();
        assert_ne!(getpgid(Some(clamd)).unwrap(), group, "Ctrl-C would end clamd before what it scans");
    }
    kill_process_group(group, Signal::INT).unwrap();
    assert!(again.child.wait().unwrap().success());
    if let Some(files) = files {
        assert_eq!(clamd_of(&files), None);
        assert!(!files.exists() && folder.join("clamd-files").symlink_metadata().is_err());
    }

    let mut last = start(&folder);
    let Some(files) = files_of_clamd(&last) else {
        kill_process(Pid::from_child(&last.child), Signal::TERM).unwrap();
        assert!(last.child.wait().unwrap().success());
        return;
    };
    kill_process(clamd_of(&files).unwrap(), Signal::KILL).unwrap();
    assert_eq!(last.child.wait().unwrap().code(), Some(1));
    let said = fs::read_to_string(folder.with_extension("log")).unwrap();
    let said = said.lines().last().unwrap();
    assert!(said.starts_with("error: the clamd of `lazaret dev` ended by itself (signal: 9 (SIGKILL))"), "{said}");
    assert!(said.contains("start `lazaret dev` again"), "{said}");
    assert!(folder.join("clamd.log").is_file() && !files.exists());
}
