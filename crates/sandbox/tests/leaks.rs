//! Nothing is left behind. One test, because it counts what the whole process has.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

#[path = "support/cell.rs"]
mod cell;
#[path = "support/processes.rs"]
mod processes;
#[path = "support/told.rs"]
mod told;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lazaret_core::{
    Disposition,
    ports::{TransformError, TransformOutcome},
};
use lazaret_sandbox::{ExitCause, JailSettings};
use rustix::process::{Pid, getpgid, getpgrp};

use crate::{
    cell::{Cell, long, misbehave, settings},
    processes::{at_rest, children_of, eventually},
    told::assert_ends,
};

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn nothing_is_left_behind() {
    a_hundred_jobs_leave_nothing().await;
    a_dropped_job_is_dead_soon().await;
    what_was_started_for_a_dropped_job_is_not_kept().await;
    whoever_looks_at_a_child_does_not_stop_its_job().await;
    a_child_killed_from_outside_is_known().await;
    a_child_that_dies_in_reserve_is_replaced().await;
    no_more_children_than_slots().await;
    children_die_with_a_killed_host().await;
}

async fn a_hundred_jobs_leave_nothing() {
    let cell = Cell::new(settings(misbehave()));
    drop(cell.give("done").await.unwrap());
    let before = at_rest(3, descriptors).await;
    for round in 0..100 {
        let deed = ["done", "refuse", "panic", "noise", "memory"][round % 5];
        let word = format!("{}:{deed}", ["decode", "encode", "verify"][round % 3]);
        drop(cell.give(&if round % 2 == 0 { word } else { long(&word) }).await.unwrap());
    }
    assert_eq!(at_rest(3, descriptors).await, before);
    drop(cell);
    assert!(at_rest(0, descriptors).await < before);
}

async fn a_dropped_job_is_dead_soon() {
    for (before, place) in ["decode", "encode", "verify"].iter().enumerate() {
        let cell = Cell::new(JailSettings { reserve: 0, ..settings(misbehave()) });
        {
            let word = long(&format!("{place}:hang"));
            let job = cell.give(&word);
            tokio::pin!(job);
            // A child is gone for each one before it, which had much to hand over, and the next one is asleep: it waits in
            // vain, or for its task.
            let at_work = eventually("a child at work", || {
                let children = children_of(std::process::id());
                (cell.ends().len() == before && children.len() == 3 - before).then_some(children)
            });
            let children = tokio::select! {
                outcome = &mut job => panic!("a job that hangs has ended: {outcome:?}"),
                children = at_work => children,
            };
            let sleeps = async { eventually("its sleep", || is_asleep(children[0]).then_some(())).await };
            tokio::select! {
                outcome = &mut job => panic!("a job that hangs has ended: {outcome:?}"),
                () = sleeps => {}
            }
        }
        eventually("its end", || children_of(std::process::id()).is_empty().then_some(())).await;
        let ends = cell.ends();
        assert!(ends.len() <= before + 1 && ends[before..].iter().all(|&end| end == ExitCause::Cancelled), "{ends:?}");
        assert!(matches!(cell.give("done").await.unwrap(), TransformOutcome::Done(_)), "the slot is free again");
    }
    // A child that has answered and goes on, while the next one is at work.
    let cell = Cell::new(JailSettings { reserve: 0, ..settings(misbehave()) });
    let job = cell.give("decode:early-hang,encode:hang");
    let outcome = tokio::time::timeout(Duration::from_millis(500), job).await;
    assert!(outcome.is_err(), "a job that hangs has ended: {outcome:?}");
    eventually("its end", || children_of(std::process::id()).is_empty().then_some(())).await;
    assert!(matches!(cell.give("done").await.unwrap(), TransformOutcome::Done(_)), "the slot is free again");
}

/// The children of a line are started one after the other, and the job is gone before the last one is there.
async fn what_was_started_for_a_dropped_job_is_not_kept() {
    let cell = Cell::new(JailSettings { reserve: 0, ..settings(misbehave()) });
    for _ in 0..20 {
        tokio::select! {
            outcome = cell.give("hang") => panic!("a job that hangs has ended: {outcome:?}"),
            () = eventually("a child", || (!children_of(std::process::id()).is_empty()).then_some(())) => {}
        }
        eventually("its end", || children_of(std::process::id()).is_empty().then_some(())).await;
    }
}

/// As monitoring does. A look keeps the maps of a child that has ended, and whoever asks for maps finds them.
async fn whoever_looks_at_a_child_does_not_stop_its_job() {
    let cell = Cell::new(settings(misbehave()));
    let over = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&over);
    let looking = std::thread::spawn(move || {
        while !until.load(Ordering::Relaxed) {
            for child in children_of(std::process::id()) {
                drop(fs::read(format!("/proc/{child}/smaps")));
            }
        }
    });
    let mut outcomes = Vec::new();
    for round in 0..200 {
        outcomes.push(cell.give(&if round % 2 == 0 { "done".to_owned() } else { long("done") }).await);
    }
    over.store(true, Ordering::Relaxed);
    looking.join().unwrap();
    let bad: Vec<_> = outcomes.iter().filter(|outcome| !matches!(outcome, Ok(TransformOutcome::Done(_)))).collect();
    assert!(bad.is_empty(), "{bad:?}");
    drop(cell);
    at_rest(0, descriptors).await;
}

/// Whether it has ended; whoever inherited it may not have reaped it.
fn is_gone(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

fn is_asleep(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") S "))
}

async fn a_child_killed_from_outside_is_known() {
    for (before, place) in ["decode", "encode", "verify"].iter().enumerate() {
        let slow = JailSettings { cpu_time: Duration::from_secs(20), reserve: 0, ..settings(misbehave()) };
        let cell = Cell::new(slow);
        // The child must be past its set-up, which would be tried again: it spins in its job, using CPU time.
        let kill = async {
            let pid = eventually("work", || {
                children_of(std::process::id()).into_iter().find(|&pid| cpu_ticks(pid) > Some(5))
            });
            let pid = pid.await;
            let group = getpgid(Pid::from_raw(pid.try_into().unwrap())).unwrap();
            assert_ne!(group, getpgrp(), "a signal to our group would end the child");
            assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
        };
        let word = format!("{place}:spin");
        let (outcome, ()) = tokio::join!(cell.give(&word), kill);
        let error = outcome.unwrap_err();
        assert!(matches!(error, TransformError::Killed { .. }), "{error:?}");
        assert_eq!(error.disposition(), Disposition::Retry);
        let mut ends = vec![ExitCause::Done; before];
        ends.push(ExitCause::Killed);
        assert_ends(&cell, &ends);
    }
}

async fn a_child_that_dies_in_reserve_is_replaced() {
    let cell = Cell::new(settings(misbehave()));
    drop(cell.give("done").await.unwrap());
    at_rest(3, descriptors).await;
    for index in 0..3 {
        let before = children_of(std::process::id());
        assert!(Command::new("kill").args(["-KILL", &before[index].to_string()]).status().unwrap().success());
        // The line is of no use without it: the other two go as well.
        eventually("another line", || {
            let now = children_of(std::process::id());
            (now.len() == 3 && now.iter().all(|pid| !before.contains(pid))).then_some(())
        })
        .await;
    }
    drop(cell.give("done").await.unwrap());
    assert!(cell.ends().iter().all(|&end| end == ExitCause::Done), "a child without a task is nobody's concern");
    drop(cell);
    at_rest(0, descriptors).await;
}

/// Field 14 of `/proc/PID/stat`, the 12th behind the name: CPU time in user mode, in hundredths of a second.
fn cpu_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(11)?.parse().ok()
}

async fn no_more_children_than_slots() {
    let cell = Cell::new(settings(misbehave()));
    let most = std::cell::Cell::new(0);
    let watch = async {
        loop {
            most.set(most.get().max(children_of(std::process::id()).len()));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let jobs = async {
        let (a, b, c, d) = tokio::join!(cell.give("spin"), cell.give("spin"), cell.give("spin"), cell.give("done"));
        assert!(matches!(a.and(b).and(c).and(d), Ok(TransformOutcome::Done(_))));
    };
    tokio::select! {
        () = watch => {}
        () = jobs => {}
    }
    assert_eq!(most.get(), 9, "three for each of two jobs at work, three in reserve");
    drop(cell);
    at_rest(0, descriptors).await;
}

async fn children_die_with_a_killed_host() {
    let program = misbehave();
    let mut host = Command::new(&program).args(["host", "hang"]).stdout(Stdio::piped()).spawn().unwrap();
    // Those at work, and those in reserve.
    let children = eventually("grandchildren", || Some(children_of(host.id())).filter(|all| all.len() == 6)).await;
    host.kill().unwrap();
    host.wait().unwrap();
    eventually("the end of the grandchildren", || children.iter().all(|&pid| is_gone(pid)).then_some(())).await;
    let mut said = String::new();
    BufReader::new(host.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "", "the host was killed before it could tell");
}
