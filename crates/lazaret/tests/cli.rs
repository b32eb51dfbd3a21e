//! The command line as a person and a program meet it: exit codes, one-line errors, stable shapes. Nothing here needs
//! a server.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

fn lazaret(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lazaret"));
    command.current_dir(folder).env_clear().env("USER", "ada").stdin(Stdio::null());
    command
}

/// Settings whose servers nobody asks.
fn station() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let settings = format!(
        r#"
        [storage]
        bucket = "uploads"
        endpoint = "http://127.0.0.1:1"
        force_path_style = true
        access_key_id = "the-id"
        secret_access_key = "hunter2-hunter2"
        [queue]
        kind = "embedded"
        [sessions]
        url = "sqlite:{folder}/db/lazaret.db"
        [worker]
        spool_dir = "{folder}/spool"
        [[scanner]]
        name = "clamd"
        kind = "clamd"
        address = "unix:/nowhere/clamd.ctl"
        "#,
        folder = folder.path().display()
    );
    fs::write(folder.path().join("lazaret.toml"), settings).unwrap();
    folder
}

fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    lazaret(folder.path()).args(arguments).output().unwrap()
}

fn json(folder: &TempDir, arguments: &[&str]) -> Value {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The exit code, and the one line that was said, with the folder's name taken out.
fn failure(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(folder, arguments);
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stderr).unwrap().replace(folder.path().to_str().unwrap(), "[folder]");
    assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
    (output.status.code(), text.trim_end().to_owned())
}

const SHA256: &str = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f";

const CREATE: [&str; 12] = [
    "session",
    "create",
    "--tenant",
    "acme",
    "--file-name",
    "cat.jpg",
    "--content-type",
    "image/jpeg",
    "--size",
    "1000",
    "--output",
    "json",
];

#[test]
fn help_names_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&folder, &["-h"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    let folder = station();
    for arguments in [
        ["session"].as_slice(),
        &["fly"],
        &["session", "show", "not-an-id"],
        &["session", "list", "--state", "gone"],
        &["scan"],
        &["--output", "yaml", "config", "check"],
        &["queue"],
        &["dead-letters"],
        &["dead-letters", "list", "--limit", "0"],
        &["dead-letters", "list", "--limit", "1001"],
        &["dead-letters", "redrive", "--all", "--id", "m-1"],
        &["reconcile", "--rate", "0"],
        &["reconcile", "--prefix", "no-slash"],
        &["rescan", "--since", "soon"],
        &["rescan", "--rate", "0"],
        &["lists", "add", "deny", "--signature", "Eicar", "--why", "x"],
        &["lists", "add", "block", "--why", "x"],
        &["lists", "add", "block", "--signature", "Eicar"],
        &["lists", "add", "block", "--sha256", "ab", "--why", "x"],
        &["lists", "add", "block", "--sha256", SHA256, "--signature", "Eicar", "--why", "x"],
        &["lists", "add", "block", "--signature", "Ei\u{202e}car", "--why", "x"],
        &["lists", "add", "block", "--signature", " Eicar", "--why", "x"],
        &["lists", "add", "block", "--signature", "Eicar", "--why", ""],
        &["lists", "add", "block", "--signature", "Eicar", "--why", "x", "--expires-in", "0s"],
        &["lists", "remove", "first"],
        &["session", "create", "--tenant", "a b", "--file-name", "f", "--content-type", "text/plain", "--size", "1"],
        &["session", "create", "--tenant", "a", "--file-name", "../f", "--content-type", "text/plain", "--size", "1"],
        &["session", "create", "--tenant", "a", "--file-name", "f", "--content-type", "text", "--size", "1"],
    ] {
        assert_eq!(run(&folder, arguments).status.code(), Some(2), "{arguments:?}");
    }
    let with = |name: &'static str, value: &'static str| {
        let mut arguments = CREATE.to_vec();
        match arguments.iter().position(|argument| *argument == name) {
            Some(place) => arguments[place + 1] = value,
            None => arguments.extend([name, value]),
        }
        failure(&folder, &arguments)
    };
    insta::assert_debug_snapshot!([
        with("--size", "0"),
        with("--size", "99999999999"),
        with("--expires-in", "8days"),
        failure(&folder, &["worker"]),
        failure(&folder, &["dead-letters", "list"]),
        failure(&folder, &["reconcile", "--prefix", "published/"]),
        failure(&folder, &["reconcile", "--prefix", "quarantine/a/", "--start-after", "quarantine/b"]),
    ]);
}

#[test]
fn settings_that_are_missing_or_wrong_are_exit_code_2() {
    let empty = tempfile::tempdir().unwrap();
    let folder = station();
    fs::write(folder.path().join("unknown.toml"), "[storage]\nbukket = \"uploads\"").unwrap();
    insta::assert_debug_snapshot!([
        failure(&empty, &["session", "list"]),
        failure(&folder, &["--config", "absent.toml", "config", "check"]),
        failure(&folder, &["--config", "unknown.toml", "worker"]),
    ]);
    let output = lazaret(folder.path()).env("LAZARET_LOG", "lazaret=loud").args(["session", "list"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn settings_are_found_and_shown_without_their_secrets() {
    let folder = station();
    let checked = json(&folder, &["config", "check", "--output", "json"]);
    assert_eq!(checked["valid"], true);
    assert_eq!(checked["settings"]["storage"]["access_key_id"], "the-id");
    assert!(!checked.to_string().contains("hunter2"), "{checked}");
    let named = lazaret(Path::new("/"))
        .env("LAZARET_CONFIG", folder.path().join("lazaret.toml"))
        .env("LAZARET__WORKER__LEASE", "7s")
        .args(["config", "check", "--output", "json"])
        .output()
        .unwrap();
    let named: Value = serde_json::from_slice(&named.stdout).unwrap();
    assert_eq!(named["settings"]["worker"]["lease"], "7s");
}

#[test]
fn a_database_that_is_not_migrated_says_what_to_do() {
    let folder = station();
    let (code, line) = failure(&folder, &["session", "list"]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(line);
    assert_eq!(run(&folder, &["migrate"]).status.code(), Some(0));
    assert_eq!(run(&folder, &["migrate"]).status.code(), Some(0));
    assert_eq!(json(&folder, &["session", "list", "--output", "json"]), serde_json::json!([]));
}

#[test]
fn a_session_has_stable_shapes() {
    let folder = station();
    run(&folder, &["migrate"]);
    let created = json(&folder, &CREATE);
    let id = created["upload_id"].as_str().unwrap();
    let url = created["put_url"].as_str().unwrap();
    assert!(url.starts_with(&format!("http://127.0.0.1:1/uploads/quarantine/{id}?")), "{url}");
    assert!(!url.contains("hunter2") && url.contains("X-Amz-Expires=3600"), "{url}");
    // One of the libraries of YARA has all JSON keep its order.
    let mut sorted = insta::Settings::clone_current();
    sorted.set_sort_maps(true);
    sorted.bind(|| {
        insta::assert_json_snapshot!("created", created, {
            ".upload_id" => "[id]", ".object_id" => "[id]", ".key" => "[key]", ".put_url" => "[url]", ".expires_at" => "[time]",
        });
        insta::assert_json_snapshot!("shown", json(&folder, &["session", "show", id, "--output", "json"]), {
            ".upload_id" => "[id]", ".object_id" => "[id]", ".key" => "[key]", ".audit[].at" => "[time]",
            ".created_at" => "[time]", ".updated_at" => "[time]", ".expires_at" => "[time]",
        });
        insta::assert_json_snapshot!("listed", json(&folder, &["session", "list", "--state", "created", "--output", "json"]), {
            "[].upload_id" => "[id]", "[].object_id" => "[id]", "[].created_at" => "[time]", "[].updated_at" => "[time]",
            "[].expires_at" => "[time]",
        });
    });
    assert_eq!(json(&folder, &["session", "list", "--state", "held", "--output", "json"]), serde_json::json!([]));
    for arguments in [["session", "release", id], ["session", "reject", id]] {
        let (code, line) = failure(&folder, &arguments);
        assert_eq!(code, Some(1));
        assert!(line.contains("a session that is created does not allow"), "{line}");
    }
    let (code, line) = failure(&folder, &["session", "show", "01a20098-42d7-7625-a0b2-1c9d917beb28"]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(line);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let folder = station();
    let mut child = lazaret(folder.path())
        .args(["config", "schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
}

#[test]
fn a_scan_without_its_scanner_is_no_verdict() {
    let folder = station();
    let (code, line) = failure(&folder, &["scan", "lazaret.toml"]);
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("apt-get install clamav-daemon") || line.contains("lazaret-transform"), "{line}");
}

#[test]
fn an_output_that_takes_nothing_is_one_line_and_no_panic() {
    let folder = station();
    run(&folder, &["migrate"]);
    for arguments in [["session", "list"].as_slice(), &["config", "check", "--output", "json"], &["config", "schema"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = lazaret(folder.path()).args(arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("error: the standard output stream cannot be written to: "), "{text}");
    }
}

#[test]
fn a_table_keeps_what_is_to_be_copied_on_one_line() {
    let folder = station();
    run(&folder, &["migrate"]);
    let output = run(&folder, &CREATE[..10]);
    let text = String::from_utf8(output.stdout).unwrap();
    let values = text.lines().take_while(|line| !line.is_empty()).map(|line| {
        // The names are padded to the longest: each value begins in the same column.
        line.char_indices().skip(1).skip_while(|(_, c)| *c != ' ').find(|(_, c)| *c != ' ').map(|(at, _)| at)
    });
    let columns: std::collections::BTreeSet<_> = values.collect();
    assert_eq!(columns.len(), 1, "{text}");
    assert!(text.lines().any(|line| line.starts_with(" put_url ") && line.contains("X-Amz-Signature=")), "{text}");
}

#[test]
fn a_refused_command_is_named_as_it_was_given() {
    let folder = station();
    run(&folder, &["migrate"]);
    let created = json(&folder, &CREATE);
    let (_, line) = failure(&folder, &["session", "reject", created["upload_id"].as_str().unwrap()]);
    assert_eq!(line, "error: not rejected: a session that is created does not allow reject");
}

#[test]
fn lists_are_kept_with_who_and_why() {
    let folder = station();
    run(&folder, &["migrate"]);
    assert_eq!(json(&folder, &["lists", "show", "--output", "json"]), serde_json::json!([]));
    let add = ["lists", "add", "allow", "--signature", "Win.Test.False-1", "--why", "ticket 7", "--output", "json"];
    let added = json(&folder, &add);
    assert_eq!((&added["id"], &added["list"], &added["signature"]), (&1.into(), &"allow".into(), &add[4].into()));
    assert_eq!((&added["added_by"], &added["why"]), (&"ada".into(), &"ticket 7".into()));
    assert!(added["sha256"].is_null() && added["expires_at"].is_null() && added["removed_at"].is_null(), "{added}");
    let block =
        ["lists", "add", "block", "--sha256", SHA256, "--why", "a leak", "--expires-in", "30days", "--by", "grace"];
    let table = String::from_utf8(run(&folder, &block).stdout).unwrap();
    for whole in [SHA256, "block", "grace", "a leak"] {
        assert!(table.contains(whole), "{table}");
    }
    let removed = json(&folder, &["lists", "remove", "1", "--by", "grace", "--output", "json"]);
    assert_eq!((&removed["removed_by"], &removed["added_by"]), (&"grace".into(), &"ada".into()));
    let ids = |arguments: &[&str]| {
        let shown = json(&folder, &[&["lists", "show", "--output", "json"], arguments].concat());
        shown.as_array().unwrap().iter().map(|entry| entry["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((ids(&[]), ids(&["--all"])), (vec![2], vec![1, 2]));
    let (code, line) = failure(&folder, &["lists", "remove", "3"]);
    assert_eq!(
        (code, line.as_str()),
        (Some(1), "error: there is no list entry 3; `lazaret lists show --all` shows all")
    );
}

/// Nothing is published, so that no scanner has to be asked.
#[test]
fn a_rescan_of_nothing_finds_nothing() {
    let folder = station();
    run(&folder, &["migrate"]);
    let summary = json(&folder, &["rescan", "--signature-changed", "--since", "7days", "--output", "json"]);
    let expected = serde_json::json!({
        "dry_run": false, "complete": true, "last_upload": null, "seen": 0, "clean": 0, "unchanged": 0, "passed_over": 0,
        "revoked": 0, "unscannable": 0, "failed": 0, "objects": [],
    });
    assert_eq!(summary, expected);
    let table = String::from_utf8(run(&folder, &["rescan", "--dry-run"]).stdout).unwrap();
    assert!(table.contains("would be revoked"), "{table}");
}

#[test]
fn help_of_a_redrive_tells_of_uploads_that_are_held() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(&folder, &["dead-letters", "redrive", "--help"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("session release"));
}

#[test]
fn a_queue_inside_lazaret_dev_has_nothing_to_declare() {
    let folder = station();
    let output = run(&folder, &["queue", "declare"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("nothing to declare"));
    let expected = serde_json::json!({ "existed": [], "made": [] });
    assert_eq!(json(&folder, &["queue", "declare", "--output", "json"]), expected);
}

#[test]
fn a_doctor_looks_at_every_part_even_if_others_fail() {
    let folder = station();
    let diagnosis = || {
        let output = run(&folder, &["doctor", "--output", "json"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let status = |diagnosis: &Value, name: &str| {
        let checks = diagnosis["checks"].as_array().unwrap().clone();
        let found = checks.into_iter().find(|check| check["check"] == name);
        found.unwrap_or_else(|| panic!("{name} is not there: {diagnosis}"))
    };
    let first = diagnosis();
    assert_eq!(first["ok"], false);
    for (name, expected, said) in [
        ("store", "failed", "unavailable"),
        ("queue", "ok", "embedded"),
        ("database", "failed", "not migrated"),
        ("scanner clamd", "failed", "/nowhere/clamd.ctl"),
        ("events", "ok", "none"),
        ("spool", "ok", "can be written to"),
    ] {
        let check = status(&first, name);
        assert_eq!(check["status"], expected, "{check}");
        assert!(check["detail"].as_str().unwrap().contains(said), "{check}");
    }
    assert_eq!(status(&first, "store")["advice"], "is the store running, and is storage.endpoint right?");
    run(&folder, &["migrate"]);
    let migrated = status(&diagnosis(), "database");
    assert!(
        migrated["status"] == "ok" && migrated["detail"].as_str().unwrap().contains("schema version"),
        "{migrated}"
    );
    let table = String::from_utf8(run(&folder, &["doctor"]).stdout).unwrap();
    assert!(table.lines().any(|line| line.contains("store") && line.contains("FAILED")), "{table}");
}

#[test]
fn a_database_of_a_server_that_is_not_there_is_named_without_its_password() {
    let folder = station();
    let url = "postgres://ada:hunter2-hunter2@127.0.0.1:1/lazaret";
    for arguments in [["session", "list"].as_slice(), &["migrate"], &["doctor"]] {
        let output = lazaret(folder.path()).env("LAZARET__SESSIONS__URL", url).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("lazaret at 127.0.0.1:1") && said.contains("is PostgreSQL running"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
