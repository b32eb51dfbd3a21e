//! Each layer on its own: what it forbids is possible without it and impossible with it.
//!
//! A layer holds for a whole process or thread for good, so every case runs in a child: this test program again, with
//! the case's name in its environment.

use std::{
    env,
    fs::File,
    io,
    net::TcpStream,
    os::{
        fd::{AsFd, AsRawFd},
        unix::process::ExitStatusExt,
    },
    process::{Command, ExitStatus},
};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socketpair, sockopt::set_socket_send_buffer_size},
    process::{DumpableBehavior, Resource, getrlimit},
};

use super::{MAX_ORDER_BYTES, confine, hear_order, limits, populate, process, syscalls};
use crate::{
    format::{DocumentFormat, Sanitise},
    layer::Layer,
    probe::Probe,
    wire::{Input, MAX_FOLLOWING_BYTES, MESSAGE_BYTES, SetUp, Task, ToChild},
};

const CASE: &str = "LAZARET_JAIL_CASE";
const HELD: i32 = 40;
const BROKEN: i32 = 41;

/// Runs one case of [`a_case`] in a process of its own.
fn case(name: &str) -> ExitStatus {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "jail::tests::a_case", "--ignored", "--nocapture"])
        .env(CASE, name)
        .output()
        .unwrap()
        .status
}

#[track_caller]
fn assert_holds(name: &str) {
    assert_eq!(case(name).code(), Some(HELD), "{name}");
}

#[test]
fn an_input_that_follows_is_as_long_as_the_task_says() {
    let heard = |packet: &[u8]| {
        let (host, child) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        set_socket_send_buffer_size(&host, 2 * MAX_FOLLOWING_BYTES).unwrap();
        rustix::io::write(&host, packet).unwrap();
        drop(host);
        let mut room = vec![1; MAX_ORDER_BYTES];
        hear_order(child.as_fd(), &mut room).map(|(order, behind)| (order, behind.to_vec()))
    };
    let order = |told: u64, place| {
        ToChild::Work(Task::Sanitise(Sanitise { input_bytes: told, format: DocumentFormat::Pdf }), place)
    };
    let with = |order: ToChild, sent: usize| [&order.encode()[..], &vec![7; sent]].concat();
    let most = MAX_FOLLOWING_BYTES;
    for len in [1, 4096, most] {
        let order = order(len as u64, Input::Follows);
        assert_eq!(heard(&with(order, len)), Some((order, vec![7; len])));
        assert_eq!(heard(&with(order, len - 1)), None, "{len}: one byte less");
        assert_eq!(heard(&with(order, len + 1)), None, "{len}: one byte more");
        assert_eq!(heard(&with(order, 0)), None, "{len}: nothing");
    }
    assert_eq!(heard(&with(order(most as u64 + 1, Input::Follows), most + 1)), None, "more than ever follows");
    assert_eq!(heard(&with(order(u64::MAX, Input::Follows), 1)), None);
    for alone in [order(5, Input::Mapped), ToChild::Probe(Probe::Fork)] {
        assert_eq!(heard(&with(alone, 0)), Some((alone, vec![])));
        assert_eq!(heard(&with(alone, 5)), None, "{alone:?} with something behind it");
    }
    assert_eq!(heard(&order(1, Input::Follows).encode()[..MESSAGE_BYTES - 1]), None, "a message cut short");
    assert_eq!(heard(&[]), None, "no host");
}

#[test]
#[ignore = "runs only as a child of the other tests"]
fn a_case() {
    let name = env::var(CASE).unwrap_or_default();
    let held = match name.as_str() {
        "parent" => parent(),
        "dumpable" => dumpable(),
        "descriptors" => descriptors(),
        "files" => files(),
        "network" => network(),
        "limits" => limits_hold(),
        "cpu" => spin_with_timer(),
        "seccomp" => File::open("/etc/hostname").is_ok() && seccomp(),
        "seccomp-executable" => executable(),
        #[cfg(target_arch = "x86_64")]
        "seccomp-x32" => other_abi::x32(),
        #[cfg(target_arch = "x86_64")]
        "seccomp-i386" => other_abi::i386(),
        "seccomp-foreign-descriptor" => write_elsewhere(),
        "populate" => populate_in_the_jail(),
        "seccomp-other-advice" => other_advice(),
        _ => false,
    };
    process::exit(if held { HELD } else { BROKEN })
}

#[test]
fn the_parent_must_be_the_host() {
    assert_holds("parent");
}

fn parent() -> bool {
    let parent = rustix::process::getppid().unwrap().as_raw_nonzero().get().unsigned_abs();
    let stranger = confine::die_with_host(1).is_err_and(|missing| missing.layer == Layer::ParentDeathSignal);
    stranger && confine::die_with_host(parent).is_ok()
}

#[test]
fn nobody_traces_it() {
    assert_holds("dumpable");
}

fn dumpable() -> bool {
    let before = rustix::process::dumpable_behavior().unwrap();
    confine::hide_from_tracers().unwrap();
    let after = rustix::process::dumpable_behavior().unwrap();
    matches!((before, after), (DumpableBehavior::Dumpable, DumpableBehavior::NotDumpable))
}

#[test]
fn what_the_host_leaked_is_closed() {
    assert_holds("descriptors");
}

fn descriptors() -> bool {
    let leaked = File::open("/etc/hostname").unwrap();
    let path = format!("/proc/self/fd/{}", leaked.as_raw_fd());
    let open = std::fs::symlink_metadata(&path).is_ok();
    // The descriptor is about to be closed behind its owner's back.
    std::mem::forget(leaked);
    confine::close_descriptors().unwrap();
    open && std::fs::symlink_metadata(&path).is_err()
}

#[test]
fn landlock_alone_denies_files_and_network() {
    assert_holds("files");
    assert_holds("network");
}

fn files() -> bool {
    let folder = env::temp_dir();
    let before = File::open("/etc/hostname").is_ok() && folder.read_dir().is_ok();
    confine::forbid_privileges().unwrap();
    confine::forbid_files_and_network().unwrap();
    let denied = |result: io::Result<()>| result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    before
        && denied(File::open("/etc/hostname").map(drop))
        && denied(folder.read_dir().map(drop))
        && denied(File::create(folder.join("lazaret-jail-case")).map(drop))
        && denied(Command::new("/bin/true").status().map(drop))
}

fn network() -> bool {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let before = TcpStream::connect(address).is_ok();
    confine::forbid_privileges().unwrap();
    confine::forbid_files_and_network().unwrap();
    before && TcpStream::connect(address).is_err() && std::net::TcpListener::bind("127.0.0.1:0").is_err()
}

#[test]
fn resource_limits_alone_deny_memory_and_descriptors() {
    assert_holds("limits");
}

fn limits_hold() -> bool {
    let set_up = SetUp { host_pid: 1, input_bytes: 1, output_bytes: 1, memory_bytes: 32 << 20, cpu_ms: 1500 };
    let input = memmap2::MmapMut::map_anon(64 << 20).unwrap().make_read_only().unwrap();
    let mapped = limits::MappedBytes::now().unwrap();
    let before = memmap2::MmapMut::map_anon(64 << 20).is_ok();
    limits::limit_resources(&set_up, mapped).unwrap();
    let cpu = getrlimit(Resource::Cpu);
    // Where an input was, there is no room for more.
    drop(input);
    before
        && memmap2::MmapMut::map_anon(64 << 20).is_err()
        && memmap2::MmapMut::map_anon(8 << 20).is_ok()
        && File::open("/etc/hostname").is_err()
        && cpu.current == Some(3)
        && cpu.maximum == Some(4)
}

#[test]
fn the_cpu_timer_alone_ends_a_loop() {
    assert_eq!(case("cpu").signal(), Some(libc::SIGPROF));
}

fn spin_with_timer() -> bool {
    process::reset_signals().unwrap();
    limits::start_cpu_timer(50).unwrap();
    loop {
        std::hint::black_box(0);
    }
}

#[test]
fn the_filter_alone_kills_for_everything_else() {
    for name in ["seccomp", "seccomp-executable", "seccomp-foreign-descriptor", "seccomp-other-advice"] {
        assert_eq!(case(name).signal(), Some(libc::SIGSYS), "{name}");
    }
}

fn seccomp() -> bool {
    syscalls::allow_only_needed().unwrap();
    File::open("/etc/hostname").is_err()
}

fn executable() -> bool {
    syscalls::allow_only_needed().unwrap();
    let allowed = memmap2::MmapMut::map_anon(1 << 20).is_ok();
    // memmap2 makes a map executable with mprotect, which is not allowed at all.
    allowed && memmap2::MmapMut::map_anon(4096).and_then(memmap2::MmapMut::make_exec).is_err()
}

fn write_elsewhere() -> bool {
    let foreign = File::options().write(true).open("/dev/null").unwrap();
    syscalls::allow_only_needed().unwrap();
    rustix::io::write(io::stdout(), b"").unwrap();
    rustix::io::write(io::stderr(), b"").unwrap();
    rustix::io::write(foreign, b"x").is_err()
}

#[test]
fn pages_come_at_once_and_change_nothing() {
    let resident = || -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse().unwrap()
    };
    let mut map = memmap2::MmapMut::map_anon(4 << 20).unwrap();
    map[5000] = 1;
    let before = resident();
    populate(&mut map[100..3 << 20]);
    let pages = (3 << 20) / rustix::param::page_size() as u64;
    assert!(resident() - before > pages / 2, "{before} pages, then {}", resident());
    assert!((0..).zip(&map[..]).all(|(at, &byte)| byte == u8::from(at == 5000)));
    assert_holds("populate");
}

fn populate_in_the_jail() -> bool {
    // In a jail the maps have asked for the size of a page before.
    let mut map = memmap2::MmapMut::map_anon(rustix::param::page_size()).unwrap();
    syscalls::allow_only_needed().unwrap();
    populate(&mut map);
    map[0] == 0
}

fn other_advice() -> bool {
    let map = memmap2::MmapMut::map_anon(1 << 20).unwrap();
    syscalls::allow_only_needed().unwrap();
    map.advise(memmap2::Advice::Sequential).is_err()
}

/// The same numbers mean other calls under the kernel's other two ways in.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "only raw calls take the other ways into the kernel")]
mod other_abi {
    use std::os::unix::process::ExitStatusExt;

    use super::{case, syscalls};

    #[test]
    fn the_filter_alone_kills_for_other_ways_into_the_kernel() {
        assert_eq!(case("seccomp-x32").signal(), Some(libc::SIGSYS));
        // A kernel without the 32-bit entry answers with a fault.
        let signal = case("seccomp-i386").signal();
        assert!(matches!(signal, Some(libc::SIGSYS | libc::SIGSEGV)), "{signal:?}");
    }

    /// `write`, which is allowed by its ordinary number.
    pub(super) fn x32() -> bool {
        const X32: i64 = 0x4000_0000;
        syscalls::allow_only_needed().unwrap();
        // SAFETY: nothing is written from an empty buffer.
        unsafe { libc::syscall(X32 + libc::SYS_write, 2, [0_u8; 0].as_ptr(), 0) < 0 }
    }

    /// Number 9 is `mmap` here and `link` there.
    pub(super) fn i386() -> bool {
        syscalls::allow_only_needed().unwrap();
        let result: u64;
        // SAFETY: `link` with two null pointers touches no memory; the kernel may clobber r8 to r11.
        unsafe {
            std::arch::asm!(
                "mov {rbx}, rbx", "xor ebx, ebx", "int 0x80", "mov rbx, {rbx}",
                rbx = out(reg) _, inlateout("rax") 9_u64 => result, in("rcx") 0_u64,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        result != 0
    }
}
