//! Many jobs: nothing is left behind, and memory stays within what is configured. In a program of its own, because it
//! counts what the whole process has.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

#[path = "support/cell.rs"]
mod cell;
#[path = "support/processes.rs"]
mod processes;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use lazaret_sandbox::{ExitCause, JailSettings};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    cell::{Cell, long, misbehave, settings},
    processes::{at_rest, children_of, eventually},
};

const JOBS: usize = 10_000;
const AT_ONCE: usize = 4;

/// How a job can end by its own doing, each in every place where it can.
const DEEDS: [&str; 18] = [
    "done",
    "refuse",
    "panic",
    "done",
    "memory",
    "fault",
    "open",
    "noise",
    "done",
    "another",
    "twice",
    "code",
    "silent",
    "picture-offset",
    "files-gap",
    "early-open",
    "early-again",
    "done",
];

/// What this process has.
#[derive(Debug, PartialEq, Eq)]
struct Belongings {
    descriptors: usize,
    children: usize,
    threads: usize,
}

fn belongings() -> Belongings {
    Belongings {
        descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
        children: children_of(std::process::id()).len(),
        threads: fs::read_dir("/proc/self/task").unwrap().count(),
    }
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn job(cell: &Cell, number: usize) {
    let place = ["decode", "encode", "verify"][number % 3];
    if number % 50 == 49 {
        // Whoever asked went away.
        drop(timeout(Duration::from_millis(2), cell.give(&format!("{place}:hang"))).await);
        return;
    }
    let deed = if number % 100 == 98 { "spin" } else { DEEDS[number / 3 % DEEDS.len()] };
    let word = format!("{place}:{deed}");
    drop(cell.give(&if number % 4 < 2 { word } else { long(&word) }).await.unwrap());
}

/// Blocking threads of the runtime come and go with their time: here there is one, and it stays.
#[test]
fn heavy_ten_thousand_jobs_leave_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(1)
        .thread_keep_alive(Duration::from_mins(10))
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(many_jobs());
}

async fn many_jobs() {
    let fast = JailSettings {
        cpu_time: Duration::from_millis(60),
        concurrency: AT_ONCE,
        reserve: AT_ONCE,
        ..settings(misbehave())
    };
    let cell = std::sync::Arc::new(Cell::new(fast));
    run(&cell, 200).await;
    let before = at_rest(3 * AT_ONCE, belongings).await;
    let resident = resident_kib();
    let begun = Instant::now();
    run(&cell, JOBS).await;
    let took = begun.elapsed();
    let after = eventually("rest", || Some(belongings()).filter(|now| *now == before)).await;
    let grown = resident_kib().saturating_sub(resident);
    let mut ends = BTreeMap::new();
    for end in cell.ends() {
        *ends.entry(end.name()).or_insert(0) += 1;
    }
    println!("{JOBS} jobs in {} ms; ends of children: {ends:?}", took.as_millis());
    println!("before {before:?}, after {after:?}; resident {resident} KiB, {grown} KiB more");
    for cause in [
        ExitCause::Done,
        ExitCause::Refused,
        ExitCause::Memory,
        ExitCause::CpuTime,
        ExitCause::PolicyViolation,
        ExitCause::Panic,
        ExitCause::Crash,
        ExitCause::Protocol,
        ExitCause::Unverified,
        ExitCause::Cancelled,
    ] {
        assert!(ends.contains_key(cause.name()), "no child ended as {cause}");
    }
    // The list of ends, the allocator's slack.
    assert!(grown < 8 << 10, "{grown} KiB more");
}

async fn run(cell: &std::sync::Arc<Cell>, jobs: usize) {
    let mut workers = JoinSet::new();
    for worker in 0..AT_ONCE {
        let cell = std::sync::Arc::clone(cell);
        workers.spawn(async move {
            for number in (worker..jobs).step_by(AT_ONCE) {
                job(&cell, number).await;
            }
        });
    }
    workers.join_all().await;
}

/// The private memory of a process in KiB (proc(5)).
fn private_kib(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let fields = rollup.lines().filter(|line| line.starts_with("Private_"));
    fields.filter_map(|line| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()).sum()
}

/// What the files between processes take in KiB.
fn memfds_kib() -> u64 {
    let memfd =
        |path: &Path| fs::read_link(path).is_ok_and(|link| link.to_string_lossy().starts_with("/memfd:lazaret"));
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().flatten().map(|entry| entry.path());
    descriptors.filter(|path| memfd(path)).filter_map(|path| Some(fs::metadata(path).ok()?.blocks() / 2)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heavy_a_hundred_jobs_at_once_stay_within_their_memory() {
    const JOBS: usize = 100;
    let memory = 8 << 20;
    let small = JailSettings {
        memory_bytes: memory,
        concurrency: JOBS,
        reserve: 0,
        wall_time: Duration::from_mins(5),
        ..settings(misbehave())
    };
    let configured = small.memory_bytes + small.max_input_bytes + small.max_picture_bytes + small.max_output_bytes;
    let cell = std::sync::Arc::new(Cell::new(small));
    let mut jobs = JoinSet::new();
    for number in 0..JOBS {
        let cell = std::sync::Arc::clone(&cell);
        let place = ["decode", "encode", "verify"][number % 3];
        jobs.spawn(async move { cell.give(&format!("{place}:fill")).await.map(drop) });
    }
    let filled = || {
        let children = children_of(std::process::id());
        let at_work = children.iter().filter(|&&pid| private_kib(pid) > 7 << 10).count();
        (at_work == JOBS).then_some(children)
    };
    let children = tokio::time::timeout(Duration::from_mins(1), async {
        loop {
            if let Some(children) = filled() {
                return children;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let children = children.await.expect("a hundred jobs at work");
    let private: u64 = children.iter().map(|&pid| private_kib(pid)).sum();
    let memfds = memfds_kib();
    let total = (private + memfds) * 1024;
    let idle: Vec<_> = children.iter().map(|&pid| private_kib(pid)).filter(|&kib| kib < 7 << 10).collect();
    println!(
        "{JOBS} jobs at work in {} processes: {private} KiB private, {memfds} KiB between them, {} KiB a job of {} configured; an idle child has {} KiB",
        children.len(),
        total / 1024 / JOBS as u64,
        configured / 1024,
        idle.iter().sum::<u64>() / idle.len().max(1) as u64,
    );
    assert!(total <= configured * JOBS as u64, "{total} bytes");
    jobs.shutdown().await;
    eventually("their end", || children_of(std::process::id()).is_empty().then_some(())).await;
}
