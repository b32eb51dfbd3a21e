//! The self-test's attempts, made from inside a complete jail.

#![expect(unsafe_code, reason = "each attempt is a raw system call that no sane program makes")]

use std::{io, ptr};

use super::{Confined, maps::Maps, process::exit};
use crate::probe::Probe;

/// Tries it. Returns only when the jail failed to stop it: 0 when it worked, else the error number.
///
/// Nothing here harms the host when it works: files are only opened, sockets only made, signals are number 0.
pub(super) fn attempt(_confined: &Confined, probe: Probe, maps: &mut Maps) -> i32 {
    let result = match probe {
        Probe::OpenFile => open_file(),
        Probe::ConnectSocket => connect_socket(),
        Probe::Fork => fork(),
        Probe::Execute => execute(),
        // SAFETY: asking to be traced takes no pointers.
        Probe::Trace => unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, ptr::null_mut::<u8>(), ptr::null_mut::<u8>()) },
        Probe::WritableExecutable => map_executable(),
        // SAFETY: signal 0 is only checked, never delivered.
        Probe::Signal => i64::from(unsafe { libc::kill(libc::getppid(), 0) }),
        Probe::PastOutput => {
            let past = maps.past_output();
            // SAFETY: none where the jail does not hold, which is what is asked; volatile, so that the write is not
            // optimised away.
            unsafe { ptr::write_volatile(past, 1) };
            0
        }
    };
    if result >= 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap_or(-1) }
}

fn open_file() -> i64 {
    // SAFETY: the path is a C string; the descriptor ends with the process.
    unsafe { libc::open(c"/etc/hostname".as_ptr(), libc::O_RDONLY) }.into()
}

fn connect_socket() -> i64 {
    // SAFETY: `socket` takes no pointers.
    unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) }.into()
}

fn fork() -> i64 {
    // SAFETY: this process has one thread, and a child that comes to be ends at once.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        exit(0);
    }
    pid.into()
}

fn execute() -> i64 {
    let arguments = [c"true".as_ptr(), ptr::null()];
    let environment = [ptr::null()];
    // SAFETY: both arrays end with a null pointer and live through the call.
    unsafe { libc::execve(c"/bin/true".as_ptr(), arguments.as_ptr(), environment.as_ptr()) }.into()
}

fn map_executable() -> i64 {
    let protection = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    // SAFETY: a new anonymous map at a place of the kernel's choice touches no existing memory.
    let map = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    if map == libc::MAP_FAILED { -1 } else { 0 }
}
