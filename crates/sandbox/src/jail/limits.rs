//! The layers that bound memory and time.

#![expect(unsafe_code, reason = "setitimer and mallopt have no safe wrapper")]

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{MissingLayer, require};
use crate::{
    layer::Layer,
    wire::{Launch, SetUp},
};

/// Enough for the decoders, which recurse little; a runaway recursion ends in SIGSEGV soon.
const STACK_BYTES: u64 = 8 << 20;

/// When the machine runs out of memory, the kernel ends this process before its host (proc(5), `oom_score_adj`).
/// While the process is dumpable, because its files in `/proc` belong to root afterwards.
pub(super) fn offer_to_oom_killer() -> Result<(), MissingLayer> {
    fs::write("/proc/self/oom_score_adj", "1000").map_err(MissingLayer::because(Layer::ResourceLimits))
}

/// Resource limits for the rest of this process' life.
///
/// `NPROC` and `FSIZE` bind an unprivileged user only, so they are extras: the system calls they bound are not
/// allowed at all.
pub(super) fn limit_resources(set_up: &SetUp, mapped: MappedBytes) -> Result<(), MissingLayer> {
    one_arena();
    limit_cpu(set_up.cpu_ms)?;
    for (resource, limit) in [
        (Resource::Core, 0),
        (Resource::Memlock, 0),
        (Resource::Fsize, 0),
        (Resource::Nproc, 0),
        (Resource::Stack, STACK_BYTES),
        (Resource::As, mapped.all.saturating_add(set_up.memory_bytes)),
        // Giving back the input or the output makes room under the limit above, but not under this one.
        (Resource::Data, mapped.data.saturating_add(set_up.memory_bytes)),
        (Resource::Nofile, 0),
    ] {
        limit_to(resource, limit, limit)?;
    }
    Ok(())
}

/// Resource limits for a program that this process becomes, which begins with nothing mapped.
pub(super) fn limit_program(order: &Launch, descriptors: u64) -> Result<(), MissingLayer> {
    limit_cpu(order.cpu_ms)?;
    if !order.threads {
        limit_to(Resource::Nproc, 0, 0)?;
    }
    for (resource, limit) in [
        (Resource::Core, 0),
        (Resource::Memlock, 0),
        (Resource::Fsize, 0),
        (Resource::Stack, STACK_BYTES),
        (Resource::As, order.memory_bytes),
        (Resource::Nofile, descriptors),
    ] {
        limit_to(resource, limit, limit)?;
    }
    Ok(())
}

/// The limit is in seconds and for a timer that fails, so it comes later: SIGXCPU, which tells what it is for, and a
/// second after it SIGKILL, for which a program can have no handler.
fn limit_cpu(cpu_ms: u64) -> Result<(), MissingLayer> {
    let seconds = cpu_ms.div_ceil(1000).saturating_add(1);
    limit_to(Resource::Cpu, seconds, seconds.saturating_add(1))
}

fn limit_to(resource: Resource, current: u64, maximum: u64) -> Result<(), MissingLayer> {
    let limit = Rlimit { current: Some(current), maximum: Some(maximum) };
    setrlimit(resource, limit)
        .map_err(|error| MissingLayer::new(Layer::ResourceLimits, format_args!("{resource:?}: {error}")))?;
    require(Layer::ResourceLimits, getrlimit(resource) == limit, "the kernel forgot one")
}

/// What is mapped when the jail is built, the program, its input and its output: the memory cap counts from here.
#[derive(Debug, Clone, Copy)]
pub(super) struct MappedBytes {
    all: u64,
    /// Of these, what is private and can be written, and the stack.
    data: u64,
}

impl MappedBytes {
    /// Asks `/proc/self/statm` (proc(5)), so before files are out of reach.
    pub(super) fn now() -> Result<Self, MissingLayer> {
        let missing = MissingLayer::because(Layer::ResourceLimits);
        let statm = fs::read_to_string("/proc/self/statm").map_err(&missing)?;
        let mut pages = statm.split_ascii_whitespace().map(str::parse::<u64>);
        // The first and the sixth of seven.
        let (Some(Ok(all)), Some(Ok(data))) = (pages.next(), pages.nth(4)) else {
            return Err(MissingLayer::new(Layer::ResourceLimits, "/proc/self/statm is not as proc(5) has it"));
        };
        let bytes = |pages: u64| pages.saturating_mul(rustix::param::page_size() as u64);
        Ok(Self { all: bytes(all), data: bytes(data) })
    }
}

/// Keeps glibc from making a second arena when memory runs out: that takes `mprotect`, which the filter forbids,
/// and a plain lack of memory would look like an attack.
fn one_arena() {
    // SAFETY: `mallopt` with this parameter only stores a number. It cannot fail for a positive one.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// SIGPROF after `cpu_ms` of CPU time. The resource limit, one or two seconds later, is for a timer that fails.
pub(super) fn start_cpu_timer(cpu_ms: u64) -> Result<(), MissingLayer> {
    let missing = MissingLayer::because(Layer::CpuTimer);
    let millis = cpu_ms.max(1);
    let value = libc::timeval {
        tv_sec: i64::try_from(millis / 1000).map_err(&missing)?,
        tv_usec: i64::try_from(millis % 1000 * 1000).map_err(&missing)?,
    };
    let timer = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: value };
    // SAFETY: the pointer is to a live timer value; a null old value is allowed (setitimer(2)).
    if unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, std::ptr::null_mut()) } != 0 {
        return Err(MissingLayer::new(Layer::CpuTimer, std::io::Error::last_os_error()));
    }
    let none = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut set = libc::itimerval { it_interval: none, it_value: none };
    // SAFETY: the pointer is to a live timer value.
    let asked = unsafe { libc::getitimer(libc::ITIMER_PROF, &raw mut set) } == 0;
    let runs = (set.it_value.tv_sec, set.it_value.tv_usec) > (0, 0);
    require(Layer::CpuTimer, asked && runs, "the kernel forgot it")
}
