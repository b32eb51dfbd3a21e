//! The self-test's attempts, made from inside a complete jail.

#![expect(unsafe_code, reason = "each attempt is a raw system call that no sane program makes")]

use std::{io, ptr};

use super::{Confined, line::WIRE, maps::Maps, process::exit};
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
        Probe::TraceHost => trace_host(),
        Probe::WritableExecutable => map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC).map_or(-1, |_| 0),
        // SAFETY: signal 0 is only checked, never delivered.
        Probe::Signal => i64::from(unsafe { libc::kill(libc::getppid(), 0) }),
        Probe::PastOutput => overwrite(maps.past_output()),
        Probe::WriteInput => overwrite(maps.input()),
        Probe::MakeExecutable => make_executable(),
        Probe::IoUring => io_uring(),
        // SAFETY: `socket` takes no pointers.
        Probe::MakeSocket => i64::from(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) }),
        Probe::LoosenFilter => loosen_filter(),
        // SAFETY: this `prctl` takes no pointers.
        Probe::BecomeDumpable => i64::from(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) }),
        Probe::ReadHost => read_host(),
        // SAFETY: `unshare` takes no pointers.
        Probe::Unshare => i64::from(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) }),
        // SAFETY: the name is a C string; the descriptor ends with the process.
        Probe::MakeFile => i64::from(unsafe { libc::memfd_create(c"probe".as_ptr(), 0) }),
        Probe::ReceiveMessage => receive_message(),
    };
    if result >= 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap_or(-1) }
}

fn open_file() -> i64 {
    // SAFETY: the path is a C string; the descriptor ends with the process.
    unsafe { libc::open(c"/etc/hostname".as_ptr(), libc::O_RDONLY) }.into()
}

fn connect_socket() -> i64 {
    let address = libc::sockaddr { sa_family: 1, sa_data: [0; 14] };
    let len = u32::try_from(size_of_val(&address)).unwrap_or_default();
    // SAFETY: the address is as long as is said.
    unsafe { libc::connect(WIRE, &raw const address, len) }.into()
}

/// `PTRACE_SEIZE` does not stop the host, and a tracer that ends lets go of it.
fn trace_host() -> i64 {
    // SAFETY: seizing takes no pointers.
    unsafe { libc::ptrace(libc::PTRACE_SEIZE, libc::getppid(), ptr::null_mut::<u8>(), ptr::null_mut::<u8>()) }
}

fn overwrite(place: *mut u8) -> i64 {
    // SAFETY: none where the jail does not hold, which is what is asked; volatile, so that the write is not optimised
    // away.
    unsafe { ptr::write_volatile(place, 1) };
    0
}

fn make_executable() -> i64 {
    let Some(map) = map(libc::PROT_READ | libc::PROT_WRITE) else { return -1 };
    // SAFETY: the map is 4096 bytes long and nobody else's.
    unsafe { libc::mprotect(map, 4096, libc::PROT_READ | libc::PROT_EXEC) }.into()
}

/// The parameters are zeroes, and the ring ends with the process.
fn io_uring() -> i64 {
    let mut parameters = [0_u64; 32];
    // SAFETY: the kernel's `io_uring_params` is 120 bytes long.
    unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) }
}

/// An empty filter is an error to the kernel, but the call must not even come so far.
fn loosen_filter() -> i64 {
    let program = libc::sock_fprog { len: 0, filter: ptr::null_mut() };
    // SAFETY: the pointer is to a live value.
    unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) }
}

/// One byte from where this program has its own code.
fn read_host() -> i64 {
    let mut byte = 0_u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: (read_host as fn() -> i64 as *mut u8).cast(), iov_len: 1 };
    // SAFETY: the local buffer is one byte long; the remote address is the kernel's to check.
    unsafe { libc::process_vm_readv(libc::getppid(), &raw const local, 1, &raw const remote, 1, 0) as i64 }
}

fn receive_message() -> i64 {
    let mut buffer = [0_u8; 1];
    // SAFETY: the buffer is as long as is said.
    unsafe { libc::recv(WIRE, buffer.as_mut_ptr().cast(), 1, libc::MSG_DONTWAIT) as i64 }
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

fn map(protection: i32) -> Option<*mut libc::c_void> {
    // SAFETY: a new anonymous map at a place of the kernel's choice touches no existing memory.
    let map = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    (map != libc::MAP_FAILED).then_some(map)
}
