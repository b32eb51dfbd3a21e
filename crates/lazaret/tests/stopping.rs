//! A worker that is told to stop while it still waits for what it needs.

use std::{
    fs,
    net::TcpListener,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

#[test]
fn a_store_that_does_not_answer_keeps_no_worker_that_is_to_stop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let text = format!(
        "[storage]\nbucket = \"uploads\"\nquarantine_prefix = \"quarantine/\"\nendpoint = \"{endpoint}\"\n\
         region = \"eu-west-1\"\naccess_key_id = \"id\"\nsecret_access_key = \"secret\"\n[queue]\nkind = \"sqs\"\n\
         [queue.sqs]\nurl = \"{endpoint}/1/uploads\"\n[sessions]\nurl = \"sqlite:{path}/lazaret.db\"\n[worker]\n\
         spool_dir = \"{path}\"\n[telemetry]\nlisten = \"127.0.0.1:0\"\n[[scanner]]\nname = \"clamd\"\n\
         kind = \"clamd\"\naddress = \"unix:/nobody\"\n"
    );
    fs::write(folder.path().join("lazaret.toml"), text).unwrap();
    let lazaret = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lazaret"));
        command.current_dir(folder.path()).env_clear().env("HOME", folder.path()).stderr(Stdio::null());
        command
    };
    assert!(lazaret().arg("migrate").stdout(Stdio::null()).status().unwrap().success());
    let mut worker = lazaret().arg("worker").spawn().unwrap();
    // The store was asked, and hears nothing for as long as this connection lives.
    let asked = silent.accept().unwrap();
    kill_process(Pid::from_child(&worker), Signal::TERM).unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    let ended = loop {
        if let Some(ended) = worker.try_wait().unwrap() {
            break ended;
        }
        if Instant::now() > end {
            worker.kill().unwrap();
            worker.wait().unwrap();
            panic!("the worker waits for the store");
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert!(ended.success(), "{ended:?}");
    drop(asked);
}
