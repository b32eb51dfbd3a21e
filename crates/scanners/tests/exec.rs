//! Programs as scanners, in the real jail: the two examples of the README, and programs that misbehave.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use lazaret_core::{
    Finding, HoldReason, Timestamp,
    ports::{ScanError, Scanner},
};
use lazaret_sandbox::Launcher;
use lazaret_scanners::{ExecError, ExecScanner, ExecSettings};
use lazaret_testkit::scanners::{Fixtures, conforms, eicar, spooled};
use tempfile::TempDir;

const AMPLE: Duration = Duration::from_mins(1);

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// The example's executable, which `cargo test` builds beside the tests.
fn launcher() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/launcher");
    assert!(program.exists(), "{} is not built: run `cargo test -p lazaret-scanners` whole", program.display());
    program
}

fn now() -> Timestamp {
    "2026-11-22T08:00:00Z".parse().unwrap()
}

fn settings(program: &Path) -> ExecSettings {
    let command = vec![program.to_str().unwrap().to_owned()];
    ExecSettings { memory_bytes: 256 << 20, ..ExecSettings::new("program".parse().unwrap(), command, now) }
}

fn scanner(settings: ExecSettings) -> ExecScanner {
    ExecScanner::new(settings, Arc::new(Launcher::new(&launcher()).unwrap())).unwrap()
}

fn example(name: &str) -> ExecScanner {
    scanner(settings(&examples().join(name)))
}

/// Stored members, with their general purpose flags.
fn zip(members: &[(&str, &[u8], u16)]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes, flags) in members {
        let offset = u32::try_from(file.len()).unwrap();
        let len = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        let mut header = [20_u16.to_le_bytes(), flags.to_le_bytes(), [0; 2], [0; 2], [0; 2]].concat();
        header.extend([crc32fast::hash(bytes).to_le_bytes(), len, len].concat());
        header.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        header.extend([0; 2]);
        file.extend([b"PK\x03\x04".as_slice(), &header, name.as_bytes(), bytes].concat());
        directory.extend([b"PK\x01\x02\x14\x00".as_slice(), &header, &[0; 10], &offset.to_le_bytes()].concat());
        directory.extend(name.as_bytes());
    }
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    let (len, offset) = (u32::try_from(directory.len()).unwrap(), u32::try_from(file.len()).unwrap());
    let end = [&count[..], &count, &len.to_le_bytes(), &offset.to_le_bytes(), &[0; 2]].concat();
    file.extend([directory.as_slice(), b"PK\x05\x06\0\0\0\0", &end].concat());
    file
}

/// A program with this text in a folder of its own.
struct Script {
    _folder: TempDir,
    path: PathBuf,
}

impl Script {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scanner");
        let script = Self { _folder: folder, path };
        script.change(text);
        script
    }

    fn change(&self, text: &str) {
        fs::write(&self.path, text).unwrap();
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Answers to `--version`, and does this about an object.
    fn shell(does: &str) -> Self {
        Self::new(&format!("#!/bin/sh\nif [ \"${{1-}}\" = --version ]; then echo 'test 1'; exit; fi\n{does}\n"))
    }

    fn python(does: &str) -> Self {
        let version = "if sys.argv[1:] == ['--version']: print('test 1'); sys.exit()";
        Self::new(&format!("#!/usr/bin/env python3\nimport sys\n{version}\n{does}\n"))
    }
}

async fn scan(scanner: &ExecScanner, bytes: &[u8]) -> Result<Finding, ScanError> {
    Ok(scanner.scan(&spooled(bytes).unwrap(), AMPLE).await?.finding)
}

#[tokio::test]
async fn the_python_example_conforms() {
    let bomb = vec![0; (64 << 20) + 1];
    let fixtures = Fixtures {
        clean: b"nothing to see here".to_vec(),
        infected: eicar(),
        signature: "Eicar-Test".to_owned(),
        encrypted: Some(zip(&[("a", b"", 0), ("b", b"secret", 1)])),
        over_limits: Some(zip(&[("zeroes", &bomb, 0)])),
        huge: (0..30_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
    };
    conforms(&example("eicar.py"), &fixtures).await.unwrap();
}

#[tokio::test]
async fn the_python_example_looks_into_archives() {
    let scanner = example("eicar.py");
    let infected = Finding::Infected { signature: "Eicar-Test".into() };
    let inner = zip(&[("eicar.com", &eicar(), 0)]);
    for bytes in [zip(&[("a", b"x", 0), ("b", &eicar(), 0)]), zip(&[("inner.zip", &inner, 0)])] {
        // In the open it is found without a look inside, so there is a change to every byte of it.
        assert_eq!(scan(&scanner, &bytes).await.unwrap(), infected);
        let deflated = deflated(&bytes);
        assert!(!deflated.windows(30).any(|window| window == &eicar()[..30]));
        assert_eq!(scan(&scanner, &deflated).await.unwrap(), infected);
    }
    assert_eq!(scan(&scanner, &zip(&[("a", b"x", 0)])).await.unwrap(), Finding::Clean);
    let mut broken = zip(&[("a", b"some text", 0)]);
    broken[35] ^= 1;
    assert!(matches!(scan(&scanner, &broken).await, Err(ScanError::NoVerdict { .. })), "its checksum is wrong");
}

/// An archive with this one member, by another hand.
fn deflated(bytes: &[u8]) -> Vec<u8> {
    let text = "import sys, zipfile, io\n\
        out = io.BytesIO()\n\
        with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED) as z: z.writestr('a', sys.stdin.buffer.read())\n\
        sys.stdout.buffer.write(out.getvalue())";
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", text]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut python = python.spawn().unwrap();
    python.stdin.take().unwrap().write_all(bytes).unwrap();
    python.wait_with_output().unwrap().stdout
}

#[tokio::test]
async fn the_shell_example_finds_and_holds() {
    let scanner = example("eicar.sh");
    assert_eq!(scanner.check().await.unwrap().engine, "eicar-sh 1.0");
    assert_eq!(scan(&scanner, b"nothing\nto see\\ here").await.unwrap(), Finding::Clean);
    let infected = Finding::Infected { signature: "Eicar-Test".into() };
    for bytes in [eicar(), [b"before\n".as_slice(), &eicar(), b"\nafter"].concat()] {
        assert_eq!(scan(&scanner, &bytes).await.unwrap(), infected);
    }
    let long = b"line\n".repeat(300_000);
    match scan(&scanner, &long).await.unwrap() {
        Finding::Unscannable { reason: HoldReason::ScanLimits, detail } => assert_eq!(detail, "more than 1 MiB"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_readme_shows_the_examples() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for (language, name) in [("python", "eicar.py"), ("sh", "eicar.sh")] {
        let text = fs::read_to_string(examples().join(name)).unwrap();
        assert!(readme.contains(&format!("```{language}\n{text}```\n")), "{name} is not in the README as it is");
        assert!(text.lines().count() < 30, "{name} is to stay short");
    }
}

/// Does the deed in a fresh program, and answers what is said of it. What stands behind it is not affected.
async fn trouble(script: &Script) -> String {
    let settings = ExecSettings { cpu_time: Duration::from_millis(500), ..settings(&script.path) };
    let scanner = scanner(settings);
    let answer = match scanner.scan(&spooled(b"object").unwrap(), AMPLE).await {
        Err(ScanError::NoVerdict { answer, .. }) => answer,
        other => panic!("{other:?}"),
    };
    script.change(&fs::read_to_string(examples().join("eicar.sh")).unwrap());
    assert_eq!(scan(&scanner, b"the next object").await.unwrap(), Finding::Clean);
    answer
}

#[tokio::test]
async fn a_program_that_misbehaves_gives_no_verdict() {
    let clean = r#"echo '{"verdict":"clean"}'"#;
    for (does, says) in [
        ("exit 0", "answered nothing"),
        ("exit 3", "code 3"),
        (&*format!("{clean}\nexit 1"), "code 1"),
        (&*format!("{clean}\nkill -SEGV $$"), "signal 11"),
        (&*format!("{clean}\nkill -TERM $$"), "signal 15"),
        (&*format!("{clean}\n{clean}"), "trailing characters"),
        (&*format!("{clean}\necho 'all good'"), "trailing characters"),
        ("echo clean", "expected value"),
        ("echo '{\"verdict\":\"fine\"}'", "unknown variant"),
        ("echo 'a complaint' >&2; exit 9", "code 9: a complaint"),
        ("while :; do echo nonsense; done", "longer than 65536 bytes"),
        ("while :; do :; done", "500 ms of CPU time"),
        (&*format!("{clean}\nwhile :; do :; done"), "500 ms of CPU time"),
        ("x=$(echo y)\necho '{\"verdict\":\"clean\"}'", "Cannot fork"),
        ("echo x | read y", "Cannot fork"),
        ("exec /bin/true", "Operation not permitted"),
        ("/bin/true || exit 4", "Cannot fork"),
        ("read x < /etc/passwd || exit 5", "Permission denied"),
        ("echo x > /tmp/exec-scanner || exit 6", "Permission denied"),
        (&*format!("{clean} > /dev/null"), "answered nothing"),
    ] {
        let answer = trouble(&Script::shell(does)).await;
        assert!(answer.contains(says), "{does}: {answer}");
    }
}

#[tokio::test]
async fn a_program_reaches_nothing_outside() {
    for (does, says) in [
        ("import socket; socket.create_connection(('127.0.0.1', 9))", "PermissionError"),
        ("import socket; socket.socket(socket.AF_UNIX)", "PermissionError"),
        ("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", "PermissionError"),
        ("import os; os.fork()", "PermissionError"),
        ("import subprocess; subprocess.run(['/bin/true'])", "PermissionError"),
        ("import threading; threading.Thread(target=print).start()", "can't start new thread"),
        ("open('/etc/shadow').read()", "PermissionError"),
        ("import os; os.listdir('/proc')", "PermissionError"),
        ("open('/tmp/exec-scanner', 'w')", "PermissionError"),
        ("import os; os.kill(os.getppid(), 0)", "PermissionError"),
        ("x = bytearray(1 << 30)", "MemoryError"),
        ("import ctypes; ctypes.CDLL(None).ptrace(0, 0, 0, 0)", "system call"),
        ("import os; os.write(1, b'\\xff{\"verdict\":\"clean\"}')", "no text"),
    ] {
        let answer = trouble(&Script::python(does)).await;
        assert!(answer.contains(says), "{does}: {answer}");
    }
}

#[tokio::test]
async fn a_program_that_hangs_meets_the_deadline() {
    let script = Script::python("import time, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)");
    let scanner = scanner(settings(&script.path));
    scanner.check().await.unwrap();
    let (begun, deadline) = (Instant::now(), Duration::from_millis(800));
    let answer = scanner.scan(&spooled(b"object").unwrap(), deadline).await;
    assert!(
        matches!(answer, Err(ScanError::DeadlineExceeded { deadline: told, .. }) if told == deadline),
        "{answer:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_program_without_a_version_is_unavailable() {
    for text in
        ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho one\n", "#!/bin/sh\necho a b c d\n", "#!/bin/sh\nkill -KILL $$\n"]
    {
        let script = Script::new(text);
        let scanner = scanner(settings(&script.path));
        let answer = scanner.check().await;
        assert!(matches!(answer, Err(ScanError::Unavailable { .. })), "{text}: {answer:?}");
        let answer = scan(&scanner, b"object").await;
        assert!(matches!(answer, Err(ScanError::Unavailable { .. })), "{text}: {answer:?}");
    }
    let missing = scanner(settings(Path::new("/nonexistent/scanner")));
    match missing.check().await {
        Err(ScanError::Unavailable { address, source, .. }) => {
            assert_eq!(address, "/nonexistent/scanner");
            assert!(lazaret_core::error::chain(&*source).contains("No such file"), "{source}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn old_and_undated_signatures_are_stale() {
    for (version, fresh) in [
        ("test 1", false),
        ("test 1 r1", false),
        ("test 1 r1 2026-11-20T08:00:00Z", false),
        ("test 1 r1 2026-11-22T07:00:00Z", true),
    ] {
        let script = Script::new(&format!(
            "#!/bin/sh\n[ \"${{1-}}\" ] && echo '{version}' || echo '{{\"verdict\":\"clean\"}}'\n"
        ));
        let limit = Some(Duration::from_hours(24));
        let scanner = scanner(ExecSettings { max_signature_age: limit, ..settings(&script.path) });
        let answer = scan(&scanner, b"object").await;
        match answer {
            Ok(Finding::Clean) => assert!(fresh, "{version}"),
            Err(ScanError::StaleSignatures { .. }) => assert!(!fresh, "{version}"),
            other => panic!("{version}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_report_names_the_engine_and_its_signatures() {
    let script = Script::new(
        "#!/bin/sh\n[ \"${1-}\" ] && echo 'test 1 r1 2026-11-22T07:00:00Z' || echo '{\"verdict\":\"clean\"}'\n",
    );
    let report = scanner(settings(&script.path)).scan(&spooled(b"object").unwrap(), AMPLE).await.unwrap();
    assert_eq!(report.engine.engine, "test 1");
    assert_eq!(report.engine.signatures.as_deref(), Some("r1"));
    assert_eq!(report.engine.signatures_at, "2026-11-22T07:00:00Z".parse().ok());
}

#[tokio::test]
async fn an_object_over_the_limit_is_held_without_being_handed_over() {
    let script = Script::shell("exit 1");
    let scanner = scanner(ExecSettings { max_object_bytes: 5, ..settings(&script.path) });
    match scan(&scanner, b"object").await.unwrap() {
        Finding::Unscannable { reason: HoldReason::ScanLimits, detail } => {
            assert_eq!(detail, "6 bytes are longer than the limit of 5");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn arguments_and_files_that_are_named_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    fs::write(&list, "object\n").unwrap();
    let script = Script::shell(
        "read -r bad < \"$1\"\nread -r line || :\n\
        [ \"$line\" = \"$bad\" ] && echo '{\"verdict\":\"infected\",\"signature\":\"listed\"}' || echo '{\"verdict\":\"clean\"}'",
    );
    // The question is the last word.
    script.change(&fs::read_to_string(&script.path).unwrap().replace("${1-}", "${2-}"));
    let command = vec![script.path.to_str().unwrap().to_owned(), list.to_str().unwrap().to_owned()];
    let settings = ExecSettings { command, readable: vec![list], ..settings(&script.path) };
    let scanner = scanner(settings);
    assert_eq!(scan(&scanner, b"object").await.unwrap(), Finding::Infected { signature: "listed".into() });
    assert_eq!(scan(&scanner, b"another").await.unwrap(), Finding::Clean);
}

#[test]
fn a_command_is_an_absolute_path() {
    let jail = || Arc::new(Launcher::new(&launcher()).unwrap());
    for command in [vec![], vec!["scanner".to_owned()], vec![String::new()]] {
        let settings = ExecSettings { command, ..settings(Path::new("/bin/true")) };
        assert!(matches!(ExecScanner::new(settings, jail()), Err(ExecError::Command { .. })));
    }
    let settings = ExecSettings { readable: vec!["rules".into()], ..settings(Path::new("/bin/true")) };
    assert!(matches!(ExecScanner::new(settings, jail()), Err(ExecError::Readable { .. })));
}
