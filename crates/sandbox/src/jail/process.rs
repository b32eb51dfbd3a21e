//! The process itself: its end, its panics, its signals.

#![expect(unsafe_code, reason = "_exit and signal dispositions have no safe wrapper")]

use std::{collections::hash_map::RandomState, hash::BuildHasher, io, panic};

use super::{EXIT_PANIC, MissingLayer, require, say};
use crate::{
    layer::Layer,
    wire::{Text, ToHost},
};

/// Ends the process without running destructors or exit handlers, which would need forbidden system calls.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Lets whoever waits for this processor go first: the host, which has just been told something, often does, and the end of a
/// process takes a fifth of a millisecond.
pub(super) fn let_others_run() {
    // SAFETY: the call has no preconditions.
    unsafe { libc::sched_yield() };
}

/// A panic is told over the wire with its place, without its message (which could quote the input) and without
/// unwinding, and ends the process.
pub(super) fn report_panics() {
    panic::set_hook(Box::new(|info| {
        let place = match info.location() {
            Some(place) => Text::of(format_args!("{}:{}", place.file(), place.line())),
            None => Text::of("unknown place"),
        };
        // A host that does not listen still sees the exit code.
        let _told = say(&ToHost::Panicked { place });
        exit(EXIT_PANIC)
    }));
}

/// Default dispositions for what ends a process that misbehaves: Rust's own handler for stack overflow would end it as
/// something else, and an ignored or blocked signal is inherited from the host.
pub(super) fn reset_signals() -> Result<(), MissingLayer> {
    for signal in [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGILL,
        libc::SIGFPE,
        libc::SIGABRT,
        libc::SIGSYS,
        libc::SIGPROF,
        libc::SIGXCPU,
    ] {
        // SAFETY: the default disposition runs no code of this process.
        if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
            return Err(MissingLayer::new(Layer::Signals, io::Error::last_os_error()));
        }
        require(Layer::Signals, is_default(signal), "the kernel forgot one")?;
    }
    // SAFETY: an all-zero signal set is a valid value to initialise, `sigemptyset` fills it, and all pointers live.
    let (unblocked, left) = unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        let mut left: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        let unblocked = libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::sigprocmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut left);
        (unblocked, (1..32).any(|signal| libc::sigismember(&raw const left, signal) == 1))
    };
    if unblocked != 0 {
        return Err(MissingLayer::new(Layer::Signals, io::Error::last_os_error()));
    }
    require(Layer::Signals, !left, "some are still blocked")
}

/// [`reset_signals`] for a program that this process becomes: it inherits what is ignored, and Rust ignores SIGPIPE.
pub(super) fn reset_all_signals() -> Result<(), MissingLayer> {
    for signal in (1..32).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        // SAFETY: the default disposition runs no code of this process.
        if unsafe { libc::signal(signal, libc::SIG_DFL) } == libc::SIG_ERR {
            return Err(MissingLayer::new(Layer::Signals, io::Error::last_os_error()));
        }
        require(Layer::Signals, is_default(signal), "the kernel forgot one")?;
    }
    reset_signals()
}

fn is_default(signal: i32) -> bool {
    // SAFETY: an all-zero action is a valid value to be filled; a null new action only asks.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_DFL
    }
}

/// Touched and freed before the job: the heap keeps the pages, so that a small job meets few page faults. Too little for
/// glibc to make a map of its own of it.
const HEAP_BYTES: usize = 64 << 10;

/// Gives the heap its first pages, and does once what takes its time the first time only: the keys of hash maps are drawn
/// from the kernel; glibc's `qsort`, which C libraries call, asks how much memory there is before it sorts more than a
/// kilobyte; and in a virtual machine the hypervisor answers what the processor can do.
pub(super) fn warm_up() {
    #[cfg(target_arch = "x86_64")]
    std::hint::black_box(std::arch::is_x86_feature_detected!("avx2"));
    drop(std::hint::black_box(vec![1_u8; HEAP_BYTES]));
    std::hint::black_box(RandomState::new().hash_one(0_u8));
    let mut numbers = [0_u32; 1024];
    // SAFETY: the array has this many elements of this size, and `compare` reads one at each place it is given.
    unsafe { libc::qsort(numbers.as_mut_ptr().cast(), numbers.len(), size_of::<u32>(), Some(compare)) };
    std::hint::black_box(numbers);
}

extern "C" fn compare(a: *const libc::c_void, b: *const libc::c_void) -> libc::c_int {
    // SAFETY: `qsort` gives places of elements of the array above.
    let (a, b) = unsafe { (*a.cast::<u32>(), *b.cast::<u32>()) };
    a.cmp(&b) as libc::c_int
}
