//! Every way a jailed child can end, and every layer it can lack.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

#[path = "support/cell.rs"]
mod cell;

use std::{
    io::Read,
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    process::Command,
    time::Duration,
};

use lazaret_core::{
    HoldReason, RejectReason,
    ports::{TransformError, TransformOutcome, Transformer},
};
use lazaret_sandbox::{ExitCause, JailSettings, Layer};

use crate::cell::{Cell, misbehave, settings};

async fn stopped(word: &str, cause: ExitCause, reason: HoldReason) -> String {
    let cell = Cell::new(settings(misbehave()));
    let outcome = cell.give(word).await.unwrap();
    assert_eq!(cell.ends(), [cause], "{word}: {outcome:?}");
    match outcome {
        TransformOutcome::Stopped { reason: found, detail } => {
            assert_eq!(found, reason, "{word}: {detail}");
            detail
        }
        other => panic!("{word}: {other:?}"),
    }
}

#[tokio::test]
async fn a_good_job_is_done_and_its_output_is_sealed() {
    let cell = Cell::new(settings(misbehave()));
    let TransformOutcome::Done(mut done) = cell.give("done").await.unwrap() else { panic!("not done") };
    assert_eq!(cell.ends(), [ExitCause::Done]);
    assert_eq!((done.len, done.media_type.as_str()), (3, "image/png"));
    let mut bytes = Vec::new();
    done.file.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, b"abc", "what the child wrote behind its output is gone");
    assert!(done.file.write_at(b"x", 0).is_err());
    assert!(done.file.set_len(2).is_err() && done.file.set_len(4).is_err());
}

#[tokio::test]
async fn a_refusal_is_a_refusal() {
    let cell = Cell::new(settings(misbehave()));
    let TransformOutcome::Refused { reason, detail } = cell.give("refuse").await.unwrap() else {
        panic!("not refused")
    };
    assert_eq!((reason, detail.as_str()), (RejectReason::FrameLimit, "more than 3 frames"));
    assert_eq!(cell.ends(), [ExitCause::Refused]);
}

#[tokio::test]
async fn a_panic_tells_its_place_and_not_its_message() {
    let detail = stopped("panic", ExitCause::Panic, HoldReason::TransformKilled).await;
    assert!(detail.contains("misbehave.rs:"), "{detail}");
    assert!(!detail.contains("secret"), "{detail}");
    stopped("index", ExitCause::Panic, HoldReason::TransformKilled).await;
    stopped("forged-panic", ExitCause::Panic, HoldReason::TransformKilled).await;
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    for word in ["memory", "small-memory"] {
        let detail = stopped(word, ExitCause::Memory, HoldReason::TransformKilled).await;
        assert!(detail.contains("67108864 bytes"), "{detail}");
    }
}

#[tokio::test]
async fn time_ends_at_its_limit() {
    let detail = stopped("spin", ExitCause::CpuTime, HoldReason::TransformTimeout).await;
    assert!(detail.contains("300 ms"), "{detail}");
    let cell = Cell::new(JailSettings { wall_time: Duration::from_millis(1500), ..settings(misbehave()) });
    let outcome = cell.give("hang").await.unwrap();
    assert!(
        matches!(&outcome, TransformOutcome::Stopped { reason: HoldReason::TransformTimeout, detail } if detail.contains("1500 ms")),
        "{outcome:?}"
    );
    assert_eq!(cell.ends(), [ExitCause::WallTime]);
}

#[tokio::test]
async fn a_fault_is_a_crash() {
    stopped("fault", ExitCause::Crash, HoldReason::TransformKilled).await;
    stopped("overflow", ExitCause::Crash, HoldReason::TransformKilled).await;
}

#[tokio::test]
async fn a_forbidden_call_is_a_policy_violation() {
    for word in ["open", "thread", "abort"] {
        stopped(word, ExitCause::PolicyViolation, HoldReason::TransformKilled).await;
    }
}

#[tokio::test]
async fn a_lie_is_found_out() {
    for word in [
        "long",
        "empty",
        "format",
        "wide",
        "frames",
        "twice",
        "ready-twice",
        "late-set-up",
        "noise",
        "short",
        "oversized",
        "silent",
        "code",
    ] {
        stopped(word, ExitCause::Protocol, HoldReason::TransformKilled).await;
    }
}

#[tokio::test]
async fn an_animation_of_small_frames_on_a_large_canvas_is_no_lie() {
    let cell = Cell::new(settings(misbehave()));
    let TransformOutcome::Done(done) = cell.give("animation").await.unwrap() else { panic!("not done") };
    assert_eq!((done.width, done.height, done.frames), (7_000, 7_000, 5));
}

#[tokio::test]
async fn a_missing_layer_is_named_and_nothing_runs() {
    let folder = tempfile::tempdir().unwrap();
    for &layer in Layer::ALL.iter().filter(|&&layer| layer != Layer::Program) {
        let program = folder.path().join(format!("without-{layer}"));
        symlink(misbehave(), &program).unwrap();
        let cell = Cell::new(settings(program));
        match cell.give("done").await {
            Err(TransformError::Unconfined { layer: named }) => {
                assert!(named.contains(&format!("its layer {layer}:")), "{layer}: {named}");
            }
            other => panic!("{layer}: {other:?}"),
        }
        assert_eq!(cell.ends(), [ExitCause::SetUp, ExitCause::SetUp], "a second child is tried, and no third");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_or_not_ours_is_an_error() {
    let cell = Cell::new(settings("/nonexistent/lazaret-transform".into()));
    match cell.give("done").await {
        Err(error @ TransformError::Spawn { .. }) => {
            assert!(error.to_string().contains("/nonexistent/lazaret-transform"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(cell.ends(), [], "there was no child");
    let cell = Cell::new(settings("/bin/true".into()));
    match cell.give("done").await {
        Err(TransformError::Unconfined { layer }) => assert!(layer.contains("its layer program:"), "{layer}"),
        other => panic!("{other:?}"),
    }
    assert!(Cell::new(settings("/bin/true".into())).jail.self_test().await.is_err());
}

#[tokio::test]
async fn a_type_that_is_not_read_is_refused_without_a_child() {
    let cell = Cell::new(settings(misbehave()));
    let request = lazaret_core::ports::TransformRequest {
        media_type: "image/tiff".parse().unwrap(),
        limits: lazaret_core::ports::ImageLimits::default(),
    };
    let outcome = cell.jail.transform(&cell::spooled(b"II*"), &request).await.unwrap();
    assert!(matches!(outcome, TransformOutcome::Refused { reason: RejectReason::DecodeFailed, .. }), "{outcome:?}");
    let outcome = cell.give("").await.unwrap();
    assert!(matches!(outcome, TransformOutcome::Refused { reason: RejectReason::DecodeFailed, .. }), "{outcome:?}");
    assert_eq!(cell.ends(), []);
}

#[test]
fn the_jail_holds_for_a_user_without_privileges() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("misbehave");
    // By a process: a child that another test starts meanwhile would inherit our descriptor, and a file that is open for
    // writing cannot be started.
    assert!(Command::new("cp").arg(misbehave()).arg(&program).status().unwrap().success());
    for path in [folder.path(), &program] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let root = rustix::process::geteuid().is_root();
    for (word, cause) in [("done", "done"), ("open", "policy_violation"), ("memory", "memory")] {
        let mut command = if root { Command::new("setpriv") } else { Command::new(&program) };
        if root {
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        }
        let output = command.args(["host", word]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.starts_with(&format!("{cause}\n")), "{word}: {said} {}", String::from_utf8_lossy(&output.stderr));
    }
}
