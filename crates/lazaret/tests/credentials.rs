//! Commands and a worker that find their credentials in the environment, or find none.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::ErrorKind,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

const CREATE: [&str; 10] = [
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
];

/// Settings without credentials, and a session database.
fn station() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let text = format!(
        "[storage]\nbucket = \"uploads\"\nquarantine_prefix = \"quarantine/\"\nendpoint = \"http://127.0.0.1:1\"\n\
         region = \"eu-west-1\"\n[queue]\nkind = \"sqs\"\n[queue.sqs]\nurl = \"http://127.0.0.1:1/1/uploads\"\n[sessions]\n\
         url = \"sqlite:{path}/lazaret.db\"\n[worker]\nspool_dir = \"{path}/spool\"\n[telemetry]\n\
         listen = \"127.0.0.1:0\"\n[[scanner]]\nname = \"clamd\"\nkind = \"clamd\"\naddress = \"unix:/nobody\"\n"
    );
    fs::write(folder.path().join("lazaret.toml"), text).unwrap();
    let migrated = lazaret(folder.path()).arg("migrate").output().unwrap();
    assert!(migrated.status.success(), "{migrated:?}");
    folder
}

/// The program in an environment that holds nothing of whoever runs the tests.
fn lazaret(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lazaret"));
    command.current_dir(folder).env_clear().env("HOME", folder).env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

/// The one line of an error.
fn refusal(output: Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap().lines().last().unwrap().to_owned()
}

#[test]
fn where_nobody_has_credentials_a_command_and_a_worker_say_so_and_end() {
    let folder = station();
    for arguments in [CREATE.as_slice(), &["worker"]] {
        let said = refusal(lazaret(folder.path()).args(arguments).output().unwrap());
        assert!(said.starts_with("error: ") && said.contains("object store refused: "), "{arguments:?}: {said}");
        assert!(said.contains(": no credentials: set storage.access_key_id and "), "{arguments:?}: {said}");
    }
}

#[test]
fn with_credentials_of_the_environment_the_instance_is_not_asked_for_a_region() {
    let folder = station();
    let instance = TcpListener::bind("127.0.0.1:0").unwrap();
    instance.set_nonblocking(true).unwrap();
    let output = lazaret(folder.path())
        .env("AWS_ACCESS_KEY_ID", "AKIDOFTHETEST")
        .env("AWS_SECRET_ACCESS_KEY", "a-secret-of-this-test")
        .env_remove("AWS_EC2_METADATA_DISABLED")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}", instance.local_addr().unwrap()))
        .args(CREATE)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("%2Feu-west-1%2Fs3%2Faws4_request"), "{said}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(instance.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "the instance was asked");
}
