//! The jail's second profile: what a program that nobody here wrote can do in it, and how it can end.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

#[path = "support/cell.rs"]
#[expect(dead_code, reason = "for the other profile's tests")]
mod cell;
#[path = "support/processes.rs"]
mod processes;

use std::{
    fs,
    io::{Seek, SeekFrom, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use lazaret_core::{
    Sha256Digest, Spooled,
    ports::{JailedProgram, ProgramEnd, ProgramJail, ProgramJailError},
};
use lazaret_sandbox::Launcher;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use crate::cell::{misbehave, spooled};

fn inmate() -> PathBuf {
    misbehave().with_file_name("inmate")
}

fn program(program: impl Into<PathBuf>, arguments: &[&str]) -> JailedProgram {
    JailedProgram {
        program: program.into(),
        arguments: arguments.iter().map(Into::into).collect(),
        readable: Vec::new(),
        threads: false,
        memory_bytes: 256 << 20,
        cpu_time: Duration::from_secs(5),
        wall_time: Duration::from_mins(5),
        max_answer_bytes: 1 << 16,
    }
}

fn launcher() -> Launcher {
    Launcher::new(&misbehave()).unwrap()
}

async fn end(program: &JailedProgram) -> ProgramEnd {
    launcher().run(program, &spooled(b"object")).await.unwrap()
}

/// The answer of a program that ended well.
async fn answer(program: &JailedProgram) -> String {
    match end(program).await {
        ProgramEnd::Exited { code: 0, answer, .. } => String::from_utf8(answer).unwrap().trim_end().to_owned(),
        other => panic!("{program:?}: {other:?}"),
    }
}

async fn why_killed(program: &JailedProgram) -> String {
    match end(program).await {
        ProgramEnd::Killed { why, .. } => why,
        other @ ProgramEnd::Exited { .. } => panic!("{program:?}: {other:?}"),
    }
}

#[tokio::test]
async fn a_program_finds_nothing_but_its_object_and_its_answer() {
    let said = answer(&program(inmate(), &["report", "two words", ""])).await;
    let expected = [
        "descriptors [0, 1, 2]",
        r#"environment [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LANG", "C.UTF-8"), ("HOME", "/nonexistent")]"#,
        "folder /",
        r#"arguments ["report", "two words", ""]"#,
        "capabilities 0",
        "group true",
        "ignored []",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn the_object_is_read_from_its_beginning_by_each_run() {
    let launcher = launcher();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"object").unwrap();
    let on_disk = Spooled::new(file, 6, Sha256Digest::from_bytes([0; 32]), ());
    for object in [on_disk, in_memory(SIZE | SealFlags::WRITE), in_memory(SIZE | SealFlags::FUTURE_WRITE)] {
        for from in [SeekFrom::End(0), SeekFrom::Start(3)] {
            object.file().seek(from).unwrap();
            let at = object.file().stream_position().unwrap();
            let run = program(inmate(), &["read"]);
            let (one, two) = tokio::join!(launcher.run(&run, &object), launcher.run(&run, &object));
            for end in [one.unwrap(), two.unwrap()] {
                assert!(matches!(&end, ProgramEnd::Exited { code: 0, answer, .. } if answer == b"object"), "{end:?}");
            }
            assert_eq!(object.file().stream_position().unwrap(), at, "the offset is the program's own");
        }
    }
}

/// What keeps a file as long as it is.
const SIZE: SealFlags = SealFlags::GROW.union(SealFlags::SHRINK);

fn in_memory(seals: SealFlags) -> Spooled {
    let mut file = fs::File::from(memfd_create("object", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap());
    file.write_all(b"object").unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    Spooled::new(file, 6, Sha256Digest::from_bytes([0; 32]), ())
}

#[tokio::test]
async fn an_object_in_memory_is_sealed_or_not_handed_out() {
    let (launcher, write) = (launcher(), SealFlags::WRITE);
    for seals in [SIZE, write, SealFlags::FUTURE_WRITE, write | SealFlags::GROW, write | SealFlags::SHRINK] {
        let answer = launcher.run(&program(inmate(), &["read"]), &in_memory(seals)).await;
        assert!(matches!(answer, Err(ProgramJailError::Object { .. })), "{seals:?}: {answer:?}");
    }
}

#[tokio::test]
async fn the_object_can_be_opened_by_its_name_too() {
    let launcher = launcher();
    for object in [spooled(b"object"), in_memory(SIZE | SealFlags::WRITE), in_memory(SIZE | SealFlags::FUTURE_WRITE)] {
        for path in ["/dev/stdin", "/proc/self/fd/0"] {
            let end = launcher.run(&program(inmate(), &["open", path]), &object).await.unwrap();
            assert!(matches!(&end, ProgramEnd::Exited { answer, .. } if answer == b"done\n"), "{path}: {end:?}");
        }
    }
}

#[tokio::test]
async fn the_object_cannot_be_written() {
    let launcher = launcher();
    for object in [spooled(b"object"), in_memory(SIZE | SealFlags::WRITE), in_memory(SIZE | SealFlags::FUTURE_WRITE)] {
        for deed in ["write-object", "reopen-object", "map-object", "remap-object", "cut-object", "empty-object"] {
            let end = launcher.run(&program(inmate(), &[deed]), &object).await.unwrap();
            match end {
                ProgramEnd::Exited { code: 0, answer, .. } => assert_ne!(answer, b"done\n", "{deed}"),
                ProgramEnd::Killed { why, .. } if why == "it wrote to a file" => {}
                other => panic!("{deed}: {other:?}"),
            }
        }
        let end = launcher.run(&program(inmate(), &["read"]), &object).await.unwrap();
        assert!(matches!(&end, ProgramEnd::Exited { answer, .. } if answer == b"object"), "{end:?}");
    }
}

/// What honest programs try, too, fails with an error they can tell of.
#[tokio::test]
async fn what_is_refused_is_refused_with_an_error() {
    let (denied, forbidden, unknown) = (libc::EACCES, libc::EPERM, libc::ENOSYS);
    for (deed, errors) in [
        ("fork", [forbidden, forbidden]),
        ("vfork", [forbidden, forbidden]),
        ("clone", [forbidden, forbidden]),
        ("clone3", [unknown, unknown]),
        ("command", [forbidden, forbidden]),
        ("thread", [forbidden, libc::EAGAIN]),
        ("thread-in-namespace", [forbidden, forbidden]),
        ("exec", [forbidden, forbidden]),
        ("exec-again", [forbidden, forbidden]),
        ("exec-path", [forbidden, forbidden]),
        ("exec-descriptor", [forbidden, forbidden]),
        ("tcp", [forbidden, forbidden]),
        ("listen", [forbidden, forbidden]),
        ("udp", [forbidden, forbidden]),
        ("unix", [forbidden, forbidden]),
        ("pair", [forbidden, forbidden]),
        ("raw-socket", [forbidden, forbidden]),
        ("make-file", [denied, denied]),
        ("make-folder", [forbidden, forbidden]),
        ("make-memory", [forbidden, forbidden]),
        ("empty-object", [forbidden, forbidden]),
        ("remove", [forbidden, forbidden]),
        ("mode", [forbidden, forbidden]),
        ("own-memory", [denied, denied]),
        ("host-memory", [denied, denied]),
        ("host-descriptors", [denied, denied]),
        ("host-object", [denied, denied]),
        ("raise-limit", [forbidden, forbidden]),
        ("signal-host", [forbidden, forbidden]),
        ("signal-all", [forbidden, forbidden]),
        ("survive-host", [unknown, unknown]),
        ("stop-timer", [unknown, unknown]),
        ("session", [forbidden, forbidden]),
        ("terminal", [unknown, unknown]),
        ("own-signals", [unknown, unknown]),
        ("handle", [unknown, unknown]),
        ("memory", [libc::ENOMEM, libc::ENOMEM]),
    ] {
        let said = answer(&program(inmate(), &[deed])).await;
        assert!(errors.iter().any(|error| said == error.to_string()), "{deed}: {said}");
    }
}

/// What no scanner does ends it.
#[tokio::test]
async fn what_is_an_attack_kills() {
    for deed in [
        "ptrace",
        "trace-me",
        "read-host",
        "io-uring",
        "mount",
        "unshare",
        "keyring",
        "bpf",
        "userfault",
        "filter",
        "chroot",
        "pidfd",
        "performance",
    ] {
        let why = why_killed(&program(inmate(), &[deed])).await;
        assert!(why.contains("system call"), "{deed}: {why}");
    }
}

#[tokio::test]
async fn only_what_is_named_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let folder = folder.path().to_str().unwrap();
    let secret = secret.to_str().unwrap();
    let denied = libc::EACCES.to_string();
    for path in ["/etc/shadow", "/etc/passwd", "/proc/self/maps", "/dev/zero", secret] {
        assert_eq!(answer(&program(inmate(), &["open", path])).await, denied, "{path}");
    }
    for path in ["/", "/etc", "/proc", "/tmp", folder] {
        assert_eq!(answer(&program(inmate(), &["list", path])).await, denied, "{path}");
    }
    assert_eq!(answer(&program(inmate(), &["write-nowhere"])).await, "done");
    let named = JailedProgram { readable: vec![secret.into()], ..program(inmate(), &["open", secret]) };
    assert_eq!(answer(&named).await, "done");
    let emptying = JailedProgram { readable: vec![secret.into()], ..program(inmate(), &["empty-file", secret]) };
    assert_eq!(answer(&emptying).await, libc::EPERM.to_string());
    assert!(fs::metadata(secret).unwrap().len() > 0);
    let named = JailedProgram { readable: vec![folder.into()], ..program(inmate(), &["list", folder]) };
    assert_eq!(answer(&named).await, "done");
    let missing = JailedProgram { readable: vec!["/nonexistent".into()], ..program(inmate(), &["read"]) };
    match launcher().run(&missing, &spooled(b"object")).await {
        Err(error @ ProgramJailError::Layer { .. }) => {
            let error = lazaret_core::error::chain(&error);
            assert!(error.contains("landlock: /nonexistent: No such file"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn threads_are_for_those_who_ask() {
    let threads = JailedProgram { threads: true, ..program(inmate(), &["threads"]) };
    assert_eq!(answer(&threads).await, "6");
    for deed in ["fork", "clone", "command"] {
        let threads = JailedProgram { threads: true, ..program(inmate(), &[deed]) };
        assert_eq!(answer(&threads).await, libc::EPERM.to_string(), "{deed}");
    }
    let threads = JailedProgram { threads: true, ..program(inmate(), &["thread-in-namespace"]) };
    assert_eq!(answer(&threads).await, libc::ENOSYS.to_string());
}

#[tokio::test]
async fn codes_answers_and_complaints_are_told() {
    for code in [0, 1, 71, 255] {
        let end = end(&program(inmate(), &["exit", &code.to_string()])).await;
        assert!(matches!(&end, ProgramEnd::Exited { code: found, .. } if *found == code), "{end:?}");
    }
    match end(&program(inmate(), &["no-such-deed"])).await {
        ProgramEnd::Exited { code: 101, complaint, .. } => assert!(complaint.contains("no-such-deed"), "{complaint}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_flood_of_answers_ends_it_and_one_of_complaints_does_not() {
    let why = why_killed(&program(inmate(), &["flood"])).await;
    assert!(why.contains("65536 bytes"), "{why}");
    match end(&program(inmate(), &["flood-complaints"])).await {
        ProgramEnd::Exited { code: 0, answer, complaint } => {
            assert_eq!(answer, b"answered");
            assert!(complaint.ends_with("the last word") && complaint.len() <= 4096, "{}", complaint.len());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_ends_in_time_whatever_it_does() {
    for deed in ["hang", "deaf", "close-and-hang"] {
        let begun = Instant::now();
        let short = JailedProgram { wall_time: Duration::from_millis(700), ..program(inmate(), &[deed]) };
        let why = why_killed(&short).await;
        assert!(why.contains("700 ms"), "{deed}: {why}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{deed}");
    }
}

#[tokio::test]
async fn an_answer_counts_up_to_the_end_of_the_program() {
    let end = end(&program(inmate(), &["close-and-end"])).await;
    assert!(matches!(&end, ProgramEnd::Exited { code: 0, answer, .. } if answer == b"half"), "{end:?}");
}

#[tokio::test]
async fn cpu_time_ends_at_its_limit() {
    let short = JailedProgram { cpu_time: Duration::from_millis(200), ..program(inmate(), &["spin"]) };
    let why = why_killed(&short).await;
    assert!(why.contains("200 ms"), "{why}");
    let deaf = JailedProgram { arguments: vec!["spin-deaf".into()], ..short };
    let why = why_killed(&deaf).await;
    assert!(why.contains("signal 9"), "{why}");
}

#[tokio::test]
async fn a_fault_is_told_by_its_signal() {
    for (deed, signal) in [("fault", libc::SIGSEGV), ("abort", libc::SIGABRT)] {
        let why = why_killed(&program(inmate(), &[deed])).await;
        assert!(why.ends_with(&format!("signal {signal}")), "{deed}: {why}");
    }
}

#[tokio::test]
async fn a_missing_layer_is_named_and_nothing_runs() {
    let folder = tempfile::tempdir().unwrap();
    let layers = [
        ("parent-death-signal", "parent-death-signal"),
        ("no-new-privileges", "no-new-privileges"),
        ("capabilities", "no-new-privileges"),
        ("descriptors", "descriptors"),
        ("landlock", "landlock"),
        ("resource-limits", "resource-limits"),
        ("cpu-timer", "cpu-timer"),
        ("signals", "signals"),
        ("seccomp", "seccomp"),
    ];
    let root = rustix::process::geteuid().is_root();
    for (taken, named) in layers {
        for how in ["without", "faking"] {
            // Only root can take these two away without having them first.
            if how == "faking" && !root && matches!(taken, "no-new-privileges" | "capabilities") {
                continue;
            }
            let path = folder.path().join(format!("{how}-{taken}"));
            symlink(misbehave(), &path).unwrap();
            let end = Launcher::new(&path).unwrap().run(&program(inmate(), &["read"]), &spooled(b"object")).await;
            match end {
                Err(ProgramJailError::Layer { layer, source, .. }) => {
                    assert_eq!(layer, named, "{how} {taken}: {source}");
                }
                other => panic!("{how} {taken}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_program_or_launcher_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    for (text, mode, says) in [
        ("#!/bin/sh\n", 0o644, "may not be executed"),
        ("#!/no/such/interpreter\n", 0o755, "/no/such/interpreter"),
        ("text", 0o755, "neither a program"),
    ] {
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(mode)).unwrap();
        let error = launcher().run(&program(&script, &[]), &spooled(b"object")).await.unwrap_err();
        let text = lazaret_core::error::chain(&error);
        assert!(matches!(error, ProgramJailError::Start { .. }) && text.contains(says), "{text}");
    }
    for missing in ["/nonexistent", "relative"] {
        let error = launcher().run(&program(missing, &[]), &spooled(b"object")).await.unwrap_err();
        assert!(matches!(error, ProgramJailError::Start { .. }), "{error:?}");
    }
    let nowhere = Launcher::new("/nonexistent/launcher".as_ref()).unwrap();
    let error = nowhere.run(&program(inmate(), &["read"]), &spooled(b"object")).await.unwrap_err();
    let text = lazaret_core::error::chain(&error);
    assert!(matches!(error, ProgramJailError::Start { .. }) && text.contains("/nonexistent/launcher"), "{text}");
    // Programs that do not speak the wire's language.
    for stranger in ["/bin/true", "/bin/cat"] {
        let error = Launcher::new(stranger.as_ref()).unwrap().run(&program(inmate(), &["read"]), &spooled(b"o")).await;
        assert!(matches!(error, Err(ProgramJailError::Layer { .. })), "{stranger}: {error:?}");
    }
}

#[tokio::test]
async fn scripts_run_with_their_interpreters() {
    let folder = tempfile::tempdir().unwrap();
    let python =
        "#!/usr/bin/env python3\nimport sys, json, zipfile\nprint(json.dumps([sys.stdin.read(), sys.argv[1:]]))";
    let shell = "#!/bin/sh -e\nread -r line || :\necho \"$line $1\" 2>/dev/null\n";
    for (name, text, expected) in
        [("python", python, r#"["object", ["an argument"]]"#), ("shell", shell, "object an argument")]
    {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(answer(&program(&path, &["an argument"])).await, expected, "{name}");
    }
    let forking = folder.path().join("forking");
    fs::write(&forking, "#!/bin/sh\nx=$(echo y)\n").unwrap();
    fs::set_permissions(&forking, fs::Permissions::from_mode(0o755)).unwrap();
    match end(&program(&forking, &[])).await {
        ProgramEnd::Exited { code, complaint, .. } => {
            assert!(code != 0 && complaint.contains("Cannot fork"), "{code} {complaint}");
        }
        other @ ProgramEnd::Killed { .. } => panic!("{other:?}"),
    }
}

/// A copy that everybody can read, made by another process: a child that another test starts meanwhile would inherit our
/// descriptor, and a file that is open for writing cannot be started.
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_jail_holds_for_a_user_without_privileges() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (launcher, inmate_copy) = (folder.path().join("launcher"), folder.path().join("inmate"));
    copy(&misbehave(), &launcher);
    copy(&inmate(), &inmate_copy);
    let root = rustix::process::geteuid().is_root();
    for (deed, says) in [
        ("read", "answer: [111, 98, 106, 101, 99, 116]"),
        ("report", "Exited { code: 0"),
        ("fork", "answer: [49, 10]"),
        ("tcp", "answer: [49, 10]"),
        ("open /etc/passwd", "answer: [49, 51, 10]"),
        ("reopen-object", "answer: [49, 51, 10]"),
        ("host-memory", "answer: [49, 51, 10]"),
        ("mode", "answer: [49, 10]"),
        ("ptrace", "Killed"),
        ("io-uring", "Killed"),
        ("spin", "300 ms of CPU time"),
    ] {
        let mut command = if root { Command::new("setpriv") } else { Command::new(&inmate_copy) };
        if root {
            command.args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--inh-caps=-all",
                "--bounding-set=-all",
            ]);
            command.arg(&inmate_copy);
        }
        let output = command.arg("host").arg(&launcher).arg(deed).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains(says), "{deed}: {said} {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn children() -> Vec<u32> {
    processes::children_of(std::process::id())
}

/// In a process of its own, because it counts what a whole process has.
#[test]
fn nothing_is_left_behind() {
    let this = std::env::current_exe().unwrap();
    let counting = Command::new(this).args(["--exact", "counted::nothing_is_left_behind", "--ignored"]).output();
    let counting = counting.unwrap();
    assert!(counting.status.success(), "{}", String::from_utf8_lossy(&counting.stdout));
    assert!(String::from_utf8_lossy(&counting.stdout).contains("1 passed"));
}

mod counted {
    use std::process::Stdio;

    use super::*;
    use crate::processes::{at_rest, children_of, eventually};

    fn descriptors() -> usize {
        fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[tokio::test]
    #[ignore = "alone in its process: another test starts it"]
    async fn nothing_is_left_behind() {
        two_hundred_runs_leave_nothing().await;
        a_dropped_run_is_dead_soon().await;
        programs_die_with_a_killed_host().await;
    }

    async fn two_hundred_runs_leave_nothing() {
        let launcher = launcher();
        let object = spooled(b"object");
        let run = async |deed: &str| {
            let wall_time = Duration::from_millis(if deed == "hang" { 50 } else { 30_000 });
            let run = JailedProgram { wall_time, ..program(inmate(), &[deed]) };
            drop(launcher.run(&run, &object).await);
        };
        run("read").await;
        let before = at_rest(0, descriptors).await;
        for round in 0..200 {
            run(["read", "flood", "fault", "io-uring", "hang", "no-such-deed"][round % 6]).await;
        }
        let same = || (descriptors() == before && children().is_empty()).then_some(());
        eventually("as many descriptors as before, and no child", same).await;
        drop(launcher);
        eventually("fewer descriptors or as many", || (descriptors() <= before).then_some(())).await;
    }

    async fn a_dropped_run_is_dead_soon() {
        let launcher = launcher();
        let object = spooled(b"object");
        for stage in ["at once", "once it is there"] {
            let run = program(inmate(), &["deaf"]);
            let run = launcher.run(&run, &object);
            tokio::pin!(run);
            let there = eventually("a child", || (stage == "at once" || !children().is_empty()).then_some(()));
            tokio::select! {
                biased;
                end = &mut run => panic!("what hangs has ended: {end:?}"),
                () = there => {}
            }
        }
        eventually("its end", || children().is_empty().then_some(())).await;
        let end = launcher.run(&program(inmate(), &["read"]), &object).await.unwrap();
        assert!(matches!(end, ProgramEnd::Exited { code: 0, .. }), "{end:?}");
    }

    async fn programs_die_with_a_killed_host() {
        let mut host = Command::new(inmate());
        let mut host = host.arg("host").arg(misbehave()).arg("deaf").stdout(Stdio::piped()).spawn().unwrap();
        let is_inmate =
            |pid: &u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"\0deaf\0"));
        let begun = || children_of(host.id()).into_iter().find(is_inmate);
        let program = eventually("a program", begun).await;
        host.kill().unwrap();
        host.wait().unwrap();
        let gone = || fs::read_to_string(format!("/proc/{program}/stat")).map_or(true, |stat| stat.contains(") Z "));
        eventually("its end", || gone().then_some(())).await;
    }
}
