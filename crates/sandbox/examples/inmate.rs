//! A program in the jail's second profile that does what its argument says, for the tests of that profile. Each attempt
//! prints `done`, or the number of the error that it met. `inmate host LAUNCHER DEED` has a jailed copy of itself do the
//! deed and prints how that ended.

#![expect(unsafe_code, reason = "misbehaving takes unsafe code")]

use std::{
    env,
    ffi::CStr,
    fs::{self, File, OpenOptions},
    hint::black_box,
    io::{self, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{FromRawFd, IntoRawFd, OwnedFd},
        unix::{
            fs::PermissionsExt,
            net::{UnixDatagram, UnixListener},
            process::CommandExt,
        },
    },
    process::Command,
    ptr, thread,
    time::Duration,
};

use lazaret_core::{
    Sha256Digest, Spooled,
    ports::{JailedProgram, ProgramJail},
};
use lazaret_sandbox::Launcher;
use memmap2::{Mmap, MmapMut};
use rustix::fs::{Mode, OFlags, open};

fn main() {
    let arguments: Vec<_> = env::args().collect();
    let [_, deed, rest @ ..] = arguments.as_slice() else { panic!("a deed is expected") };
    match (deed.as_str(), rest) {
        ("host", [launcher, deed]) => host(launcher, deed),
        ("report", _) => report(),
        ("read", _) => print!("{}", io::read_to_string(io::stdin()).expect("an object")),
        ("exit", [code]) => std::process::exit(code.parse().expect("a code")),
        ("open", [path]) => say(File::open(path)),
        ("empty-file", [path]) => say(empty(path)),
        ("list", [path]) => say(fs::read_dir(path)),
        _ => act(deed),
    }
}

/// What is found at the beginning.
fn report() {
    let open = (0..256).filter(|&fd| {
        // SAFETY: asking for a descriptor's flags takes no pointers.
        unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
    });
    println!("descriptors {:?}", open.collect::<Vec<i32>>());
    println!("environment {:?}", env::vars().collect::<Vec<_>>());
    println!("folder {}", env::current_dir().expect("a folder").display());
    println!("arguments {:?}", env::args().skip(1).collect::<Vec<_>>());
    let capabilities = rustix::thread::capabilities(None).expect("capabilities");
    println!("capabilities {}", capabilities.effective.bits() | capabilities.permitted.bits());
    println!("group {}", rustix::process::getpgrp() == rustix::process::getpid());
    // SAFETY: an all-zero action is a valid value to be filled; a null new action only asks.
    let ignored = (1..32).filter(|&signal| unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    });
    // Rust's own start ignores SIGPIPE.
    println!("ignored {:?}", ignored.filter(|&signal| signal != libc::SIGPIPE).collect::<Vec<i32>>());
}

fn act(deed: &str) {
    match deed {
        "hang" => hang(),
        "deaf" => {
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPROF, libc::SIGXCPU, libc::SIGALRM] {
                ignore(signal);
            }
            hang();
        }
        "spin" => spin(),
        "spin-deaf" => {
            ignore(libc::SIGPROF);
            ignore(libc::SIGXCPU);
            spin();
        }
        // SAFETY: none; the fault is the point.
        "fault" => unsafe { black_box(ptr::null_mut::<u8>()).write_volatile(1) },
        "abort" => std::process::abort(),
        "memory" => say(try_memory()),
        "flood" => loop {
            // Until it is killed.
            drop(io::stdout().write_all(&[b'x'; 4096]));
        },
        "flood-complaints" => {
            for _ in 0..4096 {
                eprintln!("{}", "y".repeat(8191));
            }
            eprintln!("the last word");
            print!("answered");
        }
        "close-and-hang" => {
            close(1);
            hang();
        }
        "close-and-end" => {
            print!("half");
            io::stdout().flush().expect("a pipe");
            close(1);
            close(2);
            thread::sleep(Duration::from_millis(50));
        }
        "threads" => {
            let threads: Vec<_> = (0..4).map(|number| thread::spawn(move || number)).collect();
            let sum: i32 = threads.into_iter().map(|thread| thread.join().expect("a thread")).sum();
            println!("{sum}");
        }
        _ => attempt(deed),
    }
}

/// What the jail must not let happen.
fn attempt(deed: &str) {
    match deed {
        "command" => say(Command::new("/bin/true").status()),
        "exec" => say::<()>(Err(Command::new("/bin/true").exec())),
        // The number under which this program was executed itself.
        "exec-again" => say_number(exec_again(64)),
        "exec-path" => say_number(exec_by(64, c"/bin/true", 0)),
        "exec-descriptor" => say_number(exec_again(File::open("/bin/true").map_or(63, IntoRawFd::into_raw_fd))),
        "thread" => say(thread::Builder::new().spawn(|| {})),
        "tcp" => say(TcpStream::connect((Ipv4Addr::LOCALHOST, 9))),
        "listen" => say(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))),
        "udp" => say(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))),
        "unix" => say(UnixListener::bind("/tmp/inmate.sock")),
        "pair" => say(UnixDatagram::pair()),
        "make-file" => say(File::create("/tmp/inmate")),
        "make-folder" => say(fs::create_dir("/tmp/inmate")),
        "make-memory" => say(rustix::fs::memfd_create("inmate", rustix::fs::MemfdFlags::CLOEXEC).map_err(Into::into)),
        "remove" => say(fs::remove_file("/tmp/inmate")),
        "mode" => say(fs::set_permissions("/dev/null", fs::Permissions::from_mode(0o666))),
        "write-nowhere" => say(fs::write("/dev/null", "nothing")),
        // SAFETY: the descriptor is open.
        "write-object" => say(unsafe { File::from_raw_fd(0) }.write_all(b"x")),
        "reopen-object" => {
            say(OpenOptions::new().write(true).open("/proc/self/fd/0").and_then(|mut file| file.write_all(b"x")));
        }
        "empty-object" => say(empty("/proc/self/fd/0")),
        "cut-object" => say(rustix::fs::ftruncate(io::stdin(), 0).map_err(Into::into)),
        "map-object" => {
            let file = OpenOptions::new().read(true).write(true).open("/proc/self/fd/0");
            // SAFETY: nobody else writes it, and what is written is not read.
            say(file.and_then(|file| unsafe { MmapMut::map_mut(&file) }).map(|mut map| map[0] = b'x'));
        }
        // SAFETY: as above.
        "remap-object" => say(unsafe { Mmap::map(&io::stdin()) }.and_then(Mmap::make_mut).map(|mut map| map[0] = b'x')),
        "own-memory" => say(File::open("/proc/self/mem")),
        "host-memory" => say(File::open(format!("/proc/{}/mem", parent()))),
        "host-descriptors" => say(fs::read_dir(format!("/proc/{}/fd", parent()))),
        "host-object" => say((3..64)
            .map(|fd| File::open(format!("/proc/{}/fd/{fd}", parent())))
            .find(Result::is_ok)
            .unwrap_or_else(|| File::open(format!("/proc/{}/fd/0", parent())))),
        "raise-limit" => {
            let limit = libc::rlimit { rlim_cur: 100, rlim_max: 100 };
            // SAFETY: the pointer is to a live value.
            say_number(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }.into());
        }
        _ => call(deed),
    }
}

/// Raw calls.
fn call(deed: &str) {
    let mut zeroes = [0_u64; 64];
    let memory = zeroes.as_mut_ptr();
    // SAFETY: every pointer is null or to zeroes enough for what the kernel reads or writes there; a child of a fork ends
    // at once.
    let answer = unsafe {
        match deed {
            "fork" => end_child(libc::fork().into()),
            "vfork" => end_child(libc::syscall(
                libc::SYS_clone,
                libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
                0,
                0,
                0,
                0,
            )),
            "clone" => end_child(libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0)),
            "clone3" => end_child(libc::syscall(libc::SYS_clone3, memory, 64)),
            "thread-in-namespace" => {
                let thread = libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_THREAD | libc::CLONE_NEWNET;
                libc::syscall(libc::SYS_clone, thread, 0, 0, 0, 0)
            }
            "signal-host" => libc::kill(parent(), 0).into(),
            "signal-all" => libc::kill(-1, 0).into(),
            "survive-host" => libc::prctl(libc::PR_SET_PDEATHSIG, 0).into(),
            "stop-timer" => libc::setitimer(libc::ITIMER_PROF, memory.cast(), ptr::null_mut()).into(),
            "session" => libc::setsid().into(),
            "terminal" => libc::ioctl(0, libc::TIOCSTI, memory).into(),
            "own-signals" => libc::fcntl(0, libc::F_SETOWN, parent()).into(),
            "raw-socket" => libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, 0).into(),
            "handle" => libc::syscall(libc::SYS_name_to_handle_at, 0, memory, memory, memory, 0),
            "ptrace" => libc::ptrace(libc::PTRACE_SEIZE, parent(), 0, 0),
            "trace-me" => libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0),
            "read-host" => libc::syscall(libc::SYS_process_vm_readv, parent(), memory, 1, memory, 1, 0),
            "io-uring" => libc::syscall(libc::SYS_io_uring_setup, 1, memory),
            "mount" => libc::syscall(libc::SYS_mount, c"none".as_ptr(), c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, 0),
            "unshare" => libc::unshare(libc::CLONE_NEWUSER).into(),
            "keyring" => libc::syscall(libc::SYS_keyctl, 0, 0, 0, 0, 0),
            "bpf" => libc::syscall(libc::SYS_bpf, 0, memory, 64),
            "userfault" => libc::syscall(libc::SYS_userfaultfd, 0),
            "filter" => libc::syscall(libc::SYS_seccomp, 1, 0, memory),
            "chroot" => libc::chroot(c"/tmp".as_ptr()).into(),
            "pidfd" => libc::syscall(libc::SYS_pidfd_open, parent(), 0),
            "performance" => libc::syscall(libc::SYS_perf_event_open, memory, 0, -1, -1, 0),
            other => panic!("no deed is named {other}"),
        }
    };
    say_number(answer);
}

fn end_child(pid: i64) -> i64 {
    if pid == 0 {
        // SAFETY: `_exit` has no preconditions.
        unsafe { libc::_exit(0) };
    }
    pid
}

fn exec_again(fd: i32) -> i64 {
    exec_by(fd, c"", libc::AT_EMPTY_PATH)
}

fn exec_by(fd: i32, path: &CStr, flags: i32) -> i64 {
    let arguments = [c"again".as_ptr(), ptr::null()];
    // SAFETY: the strings are C strings, the arrays end with a null pointer.
    unsafe { libc::syscall(libc::SYS_execveat, fd, path.as_ptr(), arguments.as_ptr(), arguments[1..].as_ptr(), flags) }
}

/// Without asking for the right to write, in the two ways that there are.
fn empty(path: &str) -> io::Result<OwnedFd> {
    let neither = OFlags::ACCMODE;
    let emptied = open(path, OFlags::RDONLY | OFlags::TRUNC, Mode::empty());
    Ok(emptied.or_else(|_| open(path, neither | OFlags::TRUNC, Mode::empty()))?)
}

fn try_memory() -> io::Result<Vec<u8>> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(1 << 30).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
    memory.resize(1 << 30, 1);
    Ok(memory)
}

fn say<T>(result: io::Result<T>) {
    match result {
        Ok(_) => println!("done"),
        Err(error) => println!("{}", error.raw_os_error().map_or(error.to_string(), |number| number.to_string())),
    }
}

fn say_number(answer: i64) {
    say(if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(answer) });
}

fn parent() -> i32 {
    rustix::process::getppid().expect("a parent").as_raw_nonzero().get()
}

fn ignore(signal: i32) {
    // SAFETY: ignoring runs no code of this process.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

fn close(fd: i32) {
    // SAFETY: nothing uses the descriptor afterwards.
    unsafe { libc::close(fd) };
}

fn spin() -> ! {
    loop {
        black_box(0);
    }
}

fn hang() -> ! {
    loop {
        thread::sleep(Duration::from_hours(1));
    }
}

fn host(launcher: &str, deed: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let launcher = Launcher::new(launcher.as_ref()).expect("a launcher");
        let program = JailedProgram {
            program: env::current_exe().expect("this program"),
            arguments: deed.split(' ').map(Into::into).collect(),
            readable: Vec::new(),
            threads: false,
            memory_bytes: 256 << 20,
            cpu_time: Duration::from_millis(300),
            wall_time: Duration::from_mins(5),
            max_answer_bytes: 1 << 16,
        };
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"object").expect("room");
        let object = Spooled::new(file, 6, Sha256Digest::from_bytes([0; 32]), ());
        println!("{:?}", launcher.run(&program, &object).await);
    });
}
