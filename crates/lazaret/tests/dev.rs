//! `lazaret dev` as a process, with a clamd of its own from the installed package.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
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

/// The process that listens as clamd: the one whose command line names the settings in `folder`.
fn clamd_of(folder: &Path) -> Option<Pid> {
    let conf = folder.join("clamd/clamd.conf").to_str()?.to_owned();
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

    let own_clamd = clamd_of(&folder);
    assert_eq!(own_clamd.is_some(), first.ready["clamd"]["signatures"] != "external", "{}", first.ready);
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    if let Some(clamd) = own_clamd {
        until("clamd ended with a killed lazaret dev", || test_kill_process(clamd).is_err());
    }

    let mut again = start(&folder);
    assert_eq!(again.ready["secret_access_key"], first.ready["secret_access_key"], "credentials stay");
    kill_process(Pid::from_child(&again.child), Signal::TERM).unwrap();
    assert!(again.child.wait().unwrap().success());
    assert_eq!(clamd_of(&folder), None);
}
