//! A thread that takes no processor away from another one when it is woken.

#![expect(unsafe_code, reason = "scheduling policies have no safe wrapper")]

use std::io;

/// Has the calling thread, when it is woken, wait for a processor like one that had its turn (`SCHED_BATCH` in sched(7)),
/// or no more. What it starts meanwhile is like it.
pub(super) fn give_way(gives_way: bool) -> io::Result<()> {
    let policy = if gives_way { libc::SCHED_BATCH } else { libc::SCHED_OTHER };
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: zero is the calling thread, and the call reads the parameters only.
    let failed = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
