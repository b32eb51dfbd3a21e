//! A thread that takes no processor away from another one.

#![expect(unsafe_code, reason = "scheduling policies have no safe wrapper")]

use std::io;

/// Has the calling thread wait, when it is woken, until whoever has the processor gives it up (`SCHED_BATCH` in sched(7)).
/// The processes that it starts are ordinary ones.
pub(super) fn give_way() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: zero is the calling thread, and the call reads the parameters only.
    let failed =
        unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
