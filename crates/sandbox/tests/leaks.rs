//! Nothing is left behind. One test, because it counts what the whole process has.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

#[path = "support/cell.rs"]
mod cell;
#[path = "support/processes.rs"]
mod processes;

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use lazaret_core::{
    Disposition,
    ports::{TransformError, TransformOutcome},
};
use lazaret_sandbox::{ExitCause, JailSettings};
use rustix::process::{Pid, getpgid, getpgrp};

use crate::{
    cell::{Cell, misbehave, settings},
    processes::{children_of, eventually},
};

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn nothing_is_left_behind() {
    a_hundred_jobs_leave_nothing().await;
    a_dropped_job_is_dead_soon().await;
    a_child_killed_from_outside_is_known().await;
    no_more_children_than_slots().await;
    children_die_with_a_killed_host().await;
}

async fn a_hundred_jobs_leave_nothing() {
    let cell = Cell::new(settings(misbehave()));
    drop(cell.give("done").await.unwrap());
    let before = descriptors();
    for round in 0..100 {
        drop(cell.give(["done", "refuse", "panic", "noise", "memory"][round % 5]).await.unwrap());
    }
    assert_eq!(descriptors(), before);
    assert_eq!(children_of(std::process::id()), Vec::<u32>::new());
    assert_eq!(cell.ends().len(), 101);
}

async fn a_dropped_job_is_dead_soon() {
    let cell = Cell::new(settings(misbehave()));
    {
        let job = cell.give("hang");
        tokio::pin!(job);
        let child = eventually("a child", || children_of(std::process::id()).first().copied());
        tokio::select! {
            outcome = &mut job => panic!("a job that hangs has ended: {outcome:?}"),
            _child = child => {}
        }
    }
    // Dropped between the child's start and the news of it, the job leaves the end to the thread that started it.
    eventually("its end", || children_of(std::process::id()).is_empty().then_some(())).await;
    assert_eq!(cell.ends(), [ExitCause::Cancelled]);
    assert!(matches!(cell.give("done").await.unwrap(), TransformOutcome::Done(_)), "the slot is free again");
}

async fn a_child_killed_from_outside_is_known() {
    let cell = Cell::new(JailSettings { cpu_time: Duration::from_secs(20), ..settings(misbehave()) });
    let kill = async {
        let pid = eventually("a child", || children_of(std::process::id()).first().copied()).await;
        assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
    };
    // The child must be past its set-up, which would be tried again: it spins in its job, using CPU time.
    let kill = async {
        let pid = eventually("a child", || children_of(std::process::id()).first().copied()).await;
        eventually("work", || (cpu_ticks(pid)? > 5).then_some(())).await;
        let group = getpgid(Pid::from_raw(pid.try_into().unwrap())).unwrap();
        assert_ne!(group, getpgrp(), "a signal to our group would end the child");
        kill.await;
    };
    let (outcome, ()) = tokio::join!(cell.give("spin"), kill);
    let error = outcome.unwrap_err();
    assert!(matches!(error, TransformError::Killed { .. }), "{error:?}");
    assert_eq!(error.disposition(), Disposition::Retry);
    assert_eq!(cell.ends(), [ExitCause::Killed]);
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
    assert_eq!(most.get(), 2);
}

async fn children_die_with_a_killed_host() {
    let program = misbehave();
    let mut host = Command::new(&program).args(["host", "hang"]).stdout(Stdio::piped()).spawn().unwrap();
    let child = eventually("a grandchild", || children_of(host.id()).first().copied()).await;
    host.kill().unwrap();
    host.wait().unwrap();
    eventually("the end of the grandchild", || {
        let stat = fs::read_to_string(format!("/proc/{child}/stat"));
        stat.map_or(Some(()), |stat| stat.contains(") Z ").then_some(()))
    })
    .await;
    let mut said = String::new();
    BufReader::new(host.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "", "the host was killed before it could tell");
}
