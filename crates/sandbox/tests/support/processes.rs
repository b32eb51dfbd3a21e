//! Eyes on the process table.

use std::{
    fs,
    time::{Duration, Instant},
};

/// How long nothing changes where there is nothing more to be done.
const REST: Duration = Duration::from_millis(500);

/// Processes, zombies included, whose parent is `parent`.
pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// The field behind the state in `/proc/PID/stat` (proc(5)); the name before it ends with the last parenthesis.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Waits until `condition` answers, for ten seconds at most.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(answer) = condition() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not come to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What there is once there are so many children of this process and nothing changes any more: while the last of them is
/// started, and while what is over is given back, there are more descriptors.
pub(crate) async fn at_rest<T: PartialEq>(children: usize, look: impl Fn() -> T) -> T {
    let (mut seen, mut since) = (look(), Instant::now());
    let unchanged = || {
        let now = look();
        if now == seen && children_of(std::process::id()).len() == children {
            return (since.elapsed() >= REST).then_some(now);
        }
        (seen, since) = (now, Instant::now());
        None
    };
    eventually("rest", unchanged).await
}
