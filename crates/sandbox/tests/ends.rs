//! Every way a jailed child can end, and every layer it can lack.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

#[path = "support/cell.rs"]
mod cell;
#[path = "support/told.rs"]
mod told;

use std::{
    io::Read,
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    process::Command,
    time::Duration,
};

use lazaret_core::{
    HoldReason, RejectReason,
    ports::{Dimensions, TransformError, TransformOutcome, Transformer, Treatment},
};
use lazaret_sandbox::{ExitCause, JailSettings, Layer, Probe, wire::MAX_FOLLOWING_BYTES};

use crate::{
    cell::{Cell, long, misbehave, settings},
    told::assert_ends,
};

const PLACES: [&str; 3] = ["decode", "encode", "verify"];

/// Has the process in each place do the deed, and answers what is said of it.
async fn stopped(deed: &str, cause: ExitCause, reason: HoldReason) -> Vec<String> {
    let mut details = Vec::new();
    for (before, place) in PLACES.iter().enumerate() {
        details.push(stopped_in(place, before, deed, cause, reason).await);
    }
    details
}

async fn stopped_in(place: &str, before: usize, deed: &str, cause: ExitCause, reason: HoldReason) -> String {
    let word = format!("{place}:{deed}");
    let mut ends = vec![ExitCause::Done; before];
    ends.push(cause);
    let mut details = Vec::new();
    for given in [&word, &long(&word)] {
        let cell = Cell::new(settings(misbehave()));
        match cell.give(given).await.unwrap() {
            TransformOutcome::Held { reason: found, detail } => {
                assert_eq!(found, reason, "{word}: {detail}");
                details.push(detail);
            }
            other => panic!("{word}: {other:?}"),
        }
        assert_ends(&cell, &ends);
    }
    details.swap_remove(0)
}

#[tokio::test]
async fn a_good_job_is_done_and_its_files_are_sealed() {
    for (word, sizes) in [("done".to_owned(), [(4, 1), (1, 1), (4, 1)]), (long("done"), [(1024, 96), (1, 1), (4, 4)])] {
        let cell = Cell::new(settings(misbehave()));
        let TransformOutcome::Done(done) = cell.give(&word).await.unwrap() else { panic!("not done") };
        assert_eq!(cell.ends(), [ExitCause::Done; 3]);
        assert_eq!(done.thumbhash, Some(vec![1, 2, 3]));
        let names: Vec<_> = done.variants.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["dot", "thumb"]);
        let variants = done.variants.into_iter().map(|(_, artefact)| artefact);
        for (mut artefact, (width, height)) in std::iter::once(done.object).chain(variants).zip(sizes) {
            assert_eq!((artefact.len, artefact.media_type.as_str()), (word.len() as u64, "image/png"));
            assert_eq!(artefact.image, Some(Dimensions { width, height, frames: 1 }));
            let mut bytes = Vec::new();
            artefact.file.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, word.as_bytes(), "what the child wrote behind its files is gone");
            assert!(artefact.file.write_at(b"x", 0).is_err());
            assert!(artefact.file.set_len(2).is_err() && artefact.file.set_len(1 << 20).is_err());
        }
    }
}

async fn sanitise(cell: &Cell, word: &str) -> Result<TransformOutcome, TransformError> {
    cell.ask("application/pdf", Treatment::Sanitise, word).await
}

#[tokio::test]
async fn a_document_needs_no_decoder() {
    for word in ["done".to_owned(), long("done")] {
        let cell = Cell::new(settings(misbehave()));
        let TransformOutcome::Done(done) = sanitise(&cell, &word).await.unwrap() else { panic!("not done") };
        assert_eq!(cell.ends(), [ExitCause::Done; 2]);
        assert_eq!((done.object.len, done.object.media_type.as_str()), (word.len() as u64, "application/pdf"));
        assert!(done.object.image.is_none() && done.thumbhash.is_none() && done.variants.is_empty());
    }
}

#[tokio::test]
async fn what_a_library_says_of_its_input_is_no_message() {
    for place in PLACES {
        let cell = Cell::new(settings(misbehave()));
        let outcome = cell.give(&format!("{place}:talk")).await.unwrap();
        assert!(matches!(outcome, TransformOutcome::Done(_)), "{place}: {outcome:?}");
        assert_eq!(cell.ends(), [ExitCause::Done; 3]);
    }
}

#[tokio::test]
async fn a_refusal_is_a_refusal() {
    for (before, place) in ["decode", "encode"].iter().enumerate() {
        let cell = Cell::new(settings(misbehave()));
        let outcome = cell.give(&format!("{place}:refuse")).await.unwrap();
        let TransformOutcome::Refused { reason, detail } = outcome else { panic!("{outcome:?}") };
        assert_eq!((reason, detail.as_str()), (RejectReason::FrameLimit, "more than 3 frames"));
        let mut ends = vec![ExitCause::Done; before];
        ends.push(ExitCause::Refused);
        assert_ends(&cell, &ends);
    }
}

#[tokio::test]
async fn what_a_person_must_look_at_is_held() {
    for (word, wanted) in [
        ("multi-page", HoldReason::MultiPage),
        ("encode:unparsable", HoldReason::Unparsable),
        ("encode:encrypted", HoldReason::Encrypted),
    ] {
        let cell = Cell::new(settings(misbehave()));
        let outcome = cell.give(word).await.unwrap();
        assert!(matches!(outcome, TransformOutcome::Held { reason, .. } if reason == wanted), "{word}: {outcome:?}");
        let before = usize::from(word.starts_with("encode"));
        assert_ends(&cell, &[vec![ExitCause::Done; before], vec![ExitCause::Refused]].concat());
    }
}

#[tokio::test]
async fn a_file_that_is_not_verified_is_held() {
    let detail = stopped_in("verify", 2, "refuse", ExitCause::Unverified, HoldReason::TransformKilled).await;
    assert_eq!(detail, "the new file failed its verification: more than 3 frames");
}

#[tokio::test]
async fn a_panic_tells_its_place_and_not_its_message() {
    for detail in stopped("panic", ExitCause::Panic, HoldReason::TransformKilled).await {
        assert!(detail.contains("misbehave.rs:"), "{detail}");
        assert!(!detail.contains("secret"), "{detail}");
    }
    stopped("index", ExitCause::Panic, HoldReason::TransformKilled).await;
    stopped("forged-panic", ExitCause::Panic, HoldReason::TransformKilled).await;
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    for deed in ["memory", "small-memory", "forged-memory"] {
        for detail in stopped(deed, ExitCause::Memory, HoldReason::TransformKilled).await {
            assert!(detail.contains("67108864 bytes"), "{detail}");
        }
    }
}

#[tokio::test]
async fn time_ends_at_its_limit() {
    for detail in stopped("spin", ExitCause::CpuTime, HoldReason::TransformTimeout).await {
        assert!(detail.contains("300 ms"), "{detail}");
    }
    for (before, place) in PLACES.iter().enumerate() {
        let cell = Cell::new(JailSettings { wall_time: Duration::from_millis(1500), ..settings(misbehave()) });
        let outcome = cell.give(&format!("{place}:hang")).await.unwrap();
        assert!(
            matches!(&outcome, TransformOutcome::Held { reason: HoldReason::TransformTimeout, detail } if detail.contains("1500 ms")),
            "{outcome:?}"
        );
        let mut ends = vec![ExitCause::Done; before];
        ends.push(ExitCause::WallTime);
        assert_ends(&cell, &ends);
    }
}

/// Nobody listens to a verifier before its end, and still its lie is found.
#[tokio::test]
async fn a_lie_is_found_out_where_its_teller_lingers() {
    for (before, place) in PLACES.iter().enumerate() {
        let cell = Cell::new(JailSettings { wall_time: Duration::from_millis(1500), ..settings(misbehave()) });
        let outcome = cell.give(&format!("{place}:noise-hang")).await.unwrap();
        assert!(
            matches!(outcome, TransformOutcome::Held { reason: HoldReason::TransformKilled, .. }),
            "{place}: {outcome:?}"
        );
        let mut ends = vec![ExitCause::Done; before];
        ends.push(ExitCause::Protocol);
        assert_ends(&cell, &ends);
    }
}

/// A child whose answer is short may still be there while the next one works, of which nothing comes then.
#[tokio::test]
async fn an_answer_counts_only_with_a_good_end_behind_it() {
    for (before, place) in PLACES.iter().enumerate() {
        for (deed, cause, reason) in [
            ("early-open", ExitCause::PolicyViolation, HoldReason::TransformKilled),
            ("early-panic", ExitCause::Protocol, HoldReason::TransformKilled),
            ("early-fault", ExitCause::Crash, HoldReason::TransformKilled),
            ("early-code", ExitCause::Protocol, HoldReason::TransformKilled),
            ("early-again", ExitCause::Protocol, HoldReason::TransformKilled),
            ("early-noise", ExitCause::Protocol, HoldReason::TransformKilled),
            ("early-spin", ExitCause::CpuTime, HoldReason::TransformTimeout),
            ("early-hang", ExitCause::WallTime, HoldReason::TransformTimeout),
        ] {
            let word = format!("{place}:{deed}");
            let next = match *place {
                "decode" => Some(ExitCause::Cancelled),
                "encode" => Some(ExitCause::Done),
                _ => None,
            };
            for (word, next) in [(long(&word), None), (word, next)] {
                let wall_time = Duration::from_millis(if deed == "early-hang" { 1500 } else { 20_000 });
                let cell = Cell::new(JailSettings { wall_time, ..settings(misbehave()) });
                let outcome = cell.give(&word).await.unwrap();
                assert!(
                    matches!(outcome, TransformOutcome::Held { reason: found, .. } if found == reason),
                    "{}: {outcome:?}",
                    word.trim_end()
                );
                let mut ends = vec![ExitCause::Done; before];
                ends.push(cause);
                ends.extend(next);
                assert_ends(&cell, &ends);
            }
        }
    }
}

#[tokio::test]
async fn a_bad_end_outranks_what_was_made_of_the_answer() {
    let cell = Cell::new(settings(misbehave()));
    let outcome = cell.give("decode:early-open,encode:refuse").await.unwrap();
    assert!(matches!(outcome, TransformOutcome::Held { reason: HoldReason::TransformKilled, .. }), "{outcome:?}");
    assert_ends(&cell, &[ExitCause::PolicyViolation, ExitCause::Refused]);
}

/// A child that has answered writes on while the next one works. Where it is not answered for some time, as on a busy
/// machine, it spoils what it has announced.
#[tokio::test]
async fn what_is_written_behind_an_answer_goes_nowhere() {
    for word in ["decode:late-write", "encode:late-write"] {
        let cell = Cell::new(settings(misbehave()));
        let mut published = 0;
        for _ in 0..5 {
            let outcome = cell.give(word).await.unwrap();
            let TransformOutcome::Done(done) = outcome else { continue };
            published += 1;
            for mut artefact in done.variants.into_iter().map(|(_, artefact)| artefact).chain([done.object]) {
                let mut bytes = Vec::new();
                artefact.file.read_to_end(&mut bytes).unwrap();
                assert_eq!(String::from_utf8_lossy(&bytes), word);
            }
        }
        assert!(published > 0, "{word}: {:?}", cell.ends());
    }
}

#[tokio::test]
async fn inputs_around_the_longest_that_goes_by_the_wire_arrive_whole() {
    for len in [MAX_FOLLOWING_BYTES - 1, MAX_FOLLOWING_BYTES, MAX_FOLLOWING_BYTES + 1] {
        let cell = Cell::new(settings(misbehave()));
        let word = format!("done{}", " ".repeat(len - 4));
        let TransformOutcome::Done(mut done) = sanitise(&cell, &word).await.unwrap() else { panic!("{len}: not done") };
        let mut bytes = String::new();
        done.object.file.read_to_string(&mut bytes).unwrap();
        assert_eq!(bytes, word);
    }
}

/// Then there is no room for the test's image that goes in memory, and no other of its length ever comes.
#[tokio::test]
async fn a_jail_for_small_files_passes_its_test() {
    let small = JailSettings {
        max_input_bytes: 8 << 10,
        max_picture_bytes: 8 << 10,
        max_output_bytes: 8 << 10,
        ..settings(misbehave())
    };
    let cell = Cell::new(small);
    cell.jail.self_test().await.unwrap();
    assert_eq!(cell.ends(), [ExitCause::Done; 3]);
}

#[tokio::test]
async fn a_fault_is_a_crash() {
    stopped("fault", ExitCause::Crash, HoldReason::TransformKilled).await;
    stopped("overflow", ExitCause::Crash, HoldReason::TransformKilled).await;
}

#[tokio::test]
async fn a_forbidden_call_is_a_policy_violation() {
    for deed in ["open", "thread", "abort"] {
        stopped(deed, ExitCause::PolicyViolation, HoldReason::TransformKilled).await;
    }
}

#[tokio::test]
async fn a_lie_is_found_out() {
    for deed in [
        "another",
        "twice",
        "ready-twice",
        "late-set-up",
        "survived",
        "noise",
        "short",
        "empty",
        "oversized",
        "silent",
        "code",
        "set-up-code",
    ] {
        stopped(deed, ExitCause::Protocol, HoldReason::TransformKilled).await;
    }
}

/// It looks like an end of the wire until more is said.
#[tokio::test]
async fn an_empty_word_hides_nothing() {
    for (before, place) in ["decode", "encode"].iter().enumerate() {
        let deed = "empty-and-late";
        stopped_in(place, before, deed, ExitCause::Protocol, HoldReason::TransformKilled).await;
    }
}

#[tokio::test]
async fn a_picture_that_is_none_goes_no_further() {
    for lie in [
        "empty",
        "short",
        "longer",
        "cut",
        "past-map",
        "long",
        "magic",
        "no-pixels",
        "wide",
        "wide-and-high",
        "no-frames",
        "frames",
        "table-past-end",
        "gamut",
        "header",
        "offset",
        "offset-in-table",
        "offset-overflow",
        "outside",
        "outside-overflow",
        "stride",
        "bytes-overflow",
        "delay",
        "layout",
        "larger-pixels",
        "frame",
        "planes",
    ] {
        let deed = format!("picture-{lie}");
        stopped_in("decode", 0, &deed, ExitCause::Protocol, HoldReason::TransformKilled).await;
    }
}

#[tokio::test]
async fn files_that_are_not_as_announced_go_no_further() {
    for lie in [
        "none",
        "too-few",
        "too-many",
        "empty",
        "not-at-the-beginning",
        "past-output",
        "long",
        "overflow",
        "overlap",
        "gap",
        "out-of-order",
        "format",
        "no-image",
        "other-format",
        "no-width",
        "wide",
        "high",
        "no-frames",
        "frames",
        "large-variant",
        "animated-variant",
    ] {
        let deed = format!("files-{lie}");
        stopped_in("encode", 1, &deed, ExitCause::Protocol, HoldReason::TransformKilled).await;
    }
    for lie in ["none", "too-many", "empty", "past-output", "format", "document-shows", "document-looks"] {
        let cell = Cell::new(settings(misbehave()));
        let outcome = sanitise(&cell, &format!("encode:files-{lie}")).await.unwrap();
        assert!(
            matches!(outcome, TransformOutcome::Held { reason: HoldReason::TransformKilled, .. }),
            "{lie}: {outcome:?}"
        );
        assert_eq!(cell.ends(), [ExitCause::Protocol]);
    }
}

/// The output's memory is in whole pages, and what is announced beyond it is a lie, not a lack of memory.
#[tokio::test]
async fn a_file_past_a_last_page_that_is_not_whole_goes_no_further() {
    let word = "encode:files-past-output".to_owned();
    for word in [long(&word), word] {
        let max_output_bytes = (2 * word.len() as u64).next_multiple_of(64 << 10) + 4000;
        let cell = Cell::new(JailSettings { max_output_bytes, ..settings(misbehave()) });
        let outcome = sanitise(&cell, &word).await.unwrap();
        let held = matches!(outcome, TransformOutcome::Held { reason: HoldReason::TransformKilled, .. });
        assert!(held, "{outcome:?}");
        assert_eq!(cell.ends(), [ExitCause::Protocol]);
    }
}

#[tokio::test]
async fn an_animation_of_small_frames_on_a_large_canvas_is_no_lie() {
    let cell = Cell::new(settings(misbehave()));
    let outcome = cell.give("animation").await.unwrap();
    let TransformOutcome::Done(done) = outcome else { panic!("{outcome:?}") };
    assert_eq!(done.object.image, Some(Dimensions { width: 7_000, height: 7_000, frames: 5 }));
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

/// A layer that the kernel says it put on is asked for again. Only a map is not: without one, there is nothing to read.
#[tokio::test]
async fn a_layer_that_is_not_really_there_is_named_and_nothing_runs() {
    let folder = tempfile::tempdir().unwrap();
    let faked = Layer::ALL.iter().filter(|&&layer| !matches!(layer, Layer::Program | Layer::Maps));
    for layer in faked.filter(|&&layer| layer != Layer::NoNewPrivileges || rustix::process::geteuid().is_root()) {
        let program = folder.path().join(format!("faking-{layer}"));
        symlink(misbehave(), &program).unwrap();
        let cell = Cell::new(settings(program));
        match cell.give("done").await {
            Err(TransformError::Unconfined { layer: named }) => {
                assert!(named.contains(&format!("its layer {layer}:")), "{layer}: {named}");
            }
            other => panic!("{layer}: {other:?}"),
        }
        assert!(matches!(cell.jail.self_test().await, Err(TransformError::Unconfined { .. })), "{layer}");
    }
}

#[tokio::test]
async fn a_descriptor_that_is_not_really_closed_is_named_and_nothing_runs() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["without-closed", "faking-closed"] {
        let program = folder.path().join(name);
        symlink(misbehave(), &program).unwrap();
        let outcome = Cell::new(settings(program)).give("done").await;
        let Err(TransformError::Unconfined { layer }) = outcome else { panic!("{name}: {outcome:?}") };
        assert!(layer.contains("its layer descriptors:"), "{name}: {layer}");
    }
}

#[tokio::test]
async fn a_jail_that_one_attempt_gets_out_of_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    for probe in Probe::ALL {
        let program = folder.path().join(format!("survives-{}", probe.name()));
        symlink(misbehave(), &program).unwrap();
        let cell = Cell::new(settings(program));
        match cell.jail.self_test().await {
            Err(TransformError::Unconfined { layer }) => {
                assert!(layer.contains(&format!("self-test at {}: it succeeded", probe.name())), "{layer}");
            }
            other => panic!("{}: {other:?}", probe.name()),
        }
        assert_eq!(cell.ends(), [ExitCause::Done; 6], "only the good jobs before it are told");
    }
}

#[tokio::test]
async fn a_whole_jail_passes_its_test_and_says_what_it_is() {
    let jail = Cell::new(settings(misbehave())).jail;
    jail.self_test().await.unwrap();
    let report = jail.report();
    assert_eq!(report.layers, Layer::ALL);
    assert!(report.landlock_abi.is_some_and(|abi| abi > 0) && report.static_program.is_some(), "{report:?}");
    assert_eq!(report.memory_bytes, (2 * (2 * 64 + 3)) << 20);
    assert_eq!(Cell::new(settings("/etc/hostname".into())).jail.report().static_program, None);
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
    // One says nothing, the other complains on the wire.
    for program in ["/bin/true", "/bin/cp"] {
        let cell = Cell::new(settings(program.into()));
        match cell.give("done").await {
            Err(TransformError::Unconfined { layer }) => assert!(layer.contains("its layer program:"), "{layer}"),
            other => panic!("{program}: {other:?}"),
        }
    }
    assert!(Cell::new(settings("/bin/true".into())).jail.self_test().await.is_err());
}

#[tokio::test]
async fn what_is_not_read_is_refused_without_a_child() {
    let cell = Cell::new(settings(misbehave()));
    let long = "x".repeat((1 << 20) + 1);
    for (media_type, treatment, word, wanted, says) in [
        ("text/plain", Treatment::ReEncode(cell::output()), "x", RejectReason::DecodeFailed, "text/plain"),
        ("image/png", Treatment::Sanitise, "x", RejectReason::DecodeFailed, "image/png"),
        ("image/png", Treatment::ReEncode(cell::output()), "", RejectReason::DecodeFailed, "nothing"),
        ("image/png", Treatment::ReEncode(cell::output()), &long, RejectReason::TooLarge, "1048576"),
    ] {
        let outcome = cell.ask(media_type, treatment, word).await.unwrap();
        let TransformOutcome::Refused { reason, detail } = outcome else { panic!("{outcome:?}") };
        assert_eq!(reason, wanted);
        assert!(detail.contains(says), "{detail}");
    }
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
    for (word, ends, outcome) in [
        ("done", ["done"; 3].as_slice(), "Ok(Done("),
        ("open", &["policy_violation"], "Ok(Held {"),
        ("encode:memory", &["done", "memory"], "Ok(Held {"),
        ("verify:refuse", &["done", "done", "unverified"], "Ok(Held {"),
        ("self-test", &["done"; 6], "Ok(())"),
    ] {
        let mut command = if root { Command::new("setpriv") } else { Command::new(&program) };
        if root {
            command.args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--inh-caps=-all",
                "--bounding-set=-all",
            ]);
            command.arg(&program);
        }
        let output = command.args(["host", word]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        let mut told: Vec<_> = said.lines().collect();
        assert!(told.pop().is_some_and(|last| last.starts_with(outcome)), "{word}: {said} {complaint}");
        // A child whose answer is short is waited for while the next one works.
        told.sort_unstable();
        assert_eq!(told, ends, "{word}: {complaint}");
    }
}
