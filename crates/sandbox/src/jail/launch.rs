//! The jail's second profile, for a program that nobody here wrote: this process builds the jail around itself and
//! becomes the program.
//!
//! The layers are those of the first profile as far as they outlast `execve`: a process that was not dumpable is so
//! again, so Landlock alone keeps others that are jailed from it. In their place come a list of files, a longer list of
//! system calls, and the loss of every capability: resource limits bind only a process without them.

#![expect(unsafe_code, reason = "execveat, dup2 and their like have no safe wrapper")]

mod files;
mod filter;
mod target;

use std::{
    ffi::{CStr, CString, OsString},
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::PathBuf,
    ptr,
};

use rustix::{
    cmsg_space,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    thread::{CapabilitySet, CapabilitySets},
};

use self::{filter::Execution, target::Target};
use super::{EXIT_SET_UP, MissingLayer, confine, limits, line::wire, process, process::exit, require, say};
use crate::{
    layer::Layer,
    wire::{Launch, MAX_WORDS_BYTES, Text, ToHost},
};

/// How many descriptors the program can have. The two above are this process' own and close as the program begins, so
/// that a number the filter knows never comes back.
const DESCRIPTORS: u64 = 64;
const PROGRAM_FD: i32 = 64;
const WIRE_FD: i32 = 65;

/// Of the program: its descriptor is what is executed.
static NO_PATH: &CStr = c"";
/// All the environment there is.
const ENVIRONMENT: [&CStr; 3] = [c"PATH=/usr/local/bin:/usr/bin:/bin", c"LANG=C.UTF-8", c"HOME=/nonexistent"];

/// Becomes the program, or says which layer is missing and ends.
pub(super) fn launch(order: &Launch) -> ! {
    let MissingLayer { layer, detail } = match enter(order) {
        Ok(launch) => launch.begin(),
        Err(missing) => missing,
    };
    // Without a host that listens there is nobody to tell.
    let _told = say(&ToHost::SetUpFailed { layer, detail });
    exit(EXIT_SET_UP)
}

/// Everything that the last step needs, which can take no more memory and open no more files.
struct Ready {
    execution: Execution,
    complaint: OwnedFd,
    wire: OwnedFd,
    // Its descriptor's number is in the filter, and so are the places of its words.
    _program: OwnedFd,
    _words: [Pointers; 2],
}

/// Every layer, in the one order that works.
fn enter(order: &Launch) -> Result<Ready, MissingLayer> {
    confine::die_with_host(order.host_pid)?;
    limits::offer_to_oom_killer()?;
    confine::forbid_privileges()?;
    drop_capabilities()?;
    confine::close_descriptors()?;
    let Words { arguments, readable, complaint } = Words::receive(order)?;
    let target = Target::resolve(arguments)?;
    files::allow_only(&target, &readable)?;
    let arguments = Pointers::to(target.arguments);
    let environment = Pointers::to(ENVIRONMENT.into_iter().map(CStr::to_owned).collect());
    let execution =
        Execution { path: NO_PATH.as_ptr(), arguments: arguments.as_ptr(), environment: environment.as_ptr() };
    let filters = filter::compile(order.threads, execution)?;
    let descriptor = |fd, number| keep(fd, number).map_err(MissingLayer::because(Layer::Descriptors));
    let ready = Ready {
        wire: descriptor(wire(), WIRE_FD)?,
        _program: descriptor(target.file.as_fd(), PROGRAM_FD)?,
        execution,
        complaint,
        _words: [arguments, environment],
    };
    drop(target.file);
    process::reset_all_signals()?;
    limits::limit_program(order, DESCRIPTORS)?;
    limits::start_cpu_timer(order.cpu_ms)?;
    filters.install()?;
    Ok(ready)
}

impl Ready {
    /// Returns only when the program could not begin. Nothing that it does can be taken for this process' words: the
    /// wire closes with the execution.
    fn begin(self) -> MissingLayer {
        // SAFETY: descriptor 2 is not owned by any value, and is told of from here on by the wire's other number.
        if unsafe { libc::dup2(self.complaint.as_raw_fd(), libc::STDERR_FILENO) } == -1 {
            return MissingLayer::new(Layer::Descriptors, io::Error::last_os_error());
        }
        if tell(&self.wire, &ToHost::Ready).is_err() {
            exit(super::EXIT_WIRE);
        }
        let Execution { path, arguments, environment } = self.execution;
        // SAFETY: the path is a C string, both arrays end with a null pointer, and what they point to lives in `self`.
        unsafe {
            libc::syscall(libc::SYS_execveat, PROGRAM_FD, path, arguments, environment, libc::AT_EMPTY_PATH);
        }
        let failed = io::Error::last_os_error();
        let told = tell(&self.wire, &ToHost::SetUpFailed { layer: Layer::Program, detail: Text::of(failed) });
        exit(if told.is_ok() { EXIT_SET_UP } else { super::EXIT_WIRE })
    }
}

fn tell(wire: &OwnedFd, message: &ToHost) -> io::Result<()> {
    rustix::io::write(wire, &message.encode())?;
    Ok(())
}

/// A copy of the descriptor under this number, which closes as the program begins.
fn keep(fd: impl AsFd, number: i32) -> io::Result<OwnedFd> {
    let kept = rustix::io::fcntl_dupfd_cloexec(fd, number)?;
    if kept.as_raw_fd() == number { Ok(kept) } else { Err(io::Error::other(format!("{number} is in use"))) }
}

/// An execution gives root its capabilities back, except under `no_new_privs` (capabilities(7)).
fn drop_capabilities() -> Result<(), MissingLayer> {
    let missing = MissingLayer::because(Layer::NoNewPrivileges);
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).map_err(&missing)?;
    let left = rustix::thread::capabilities(None).map_err(&missing)?;
    require(Layer::NoNewPrivileges, left == sets, "the kernel left some capabilities")
}

/// What the host's second message carries.
struct Words {
    arguments: Vec<CString>,
    readable: Vec<PathBuf>,
    complaint: OwnedFd,
}

impl Words {
    fn receive(order: &Launch) -> Result<Self, MissingLayer> {
        let missing = MissingLayer::because(Layer::Program);
        // One byte more than there can be, so that a longer message is seen to be longer.
        let mut bytes = vec![0; MAX_WORDS_BYTES + 1];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = rustix::io::retry_on_intr(|| recvmsg(wire(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC));
        let len = received.map_err(&missing)?.bytes;
        let mut descriptors = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        });
        let complaint = descriptors.next().and_then(|mut descriptors| descriptors.next());
        let wrong = || MissingLayer::new(Layer::Program, "the host's words are not as announced");
        let complaint = complaint.ok_or_else(wrong)?;
        let words = bytes.get(..len).filter(|_| len <= MAX_WORDS_BYTES).ok_or_else(wrong)?;
        let mut words = words.split_inclusive(|&byte| byte == 0).map(CStr::from_bytes_with_nul);
        let mut take = |count: u16| -> Result<Vec<CString>, MissingLayer> {
            (0..count).map(|_| Ok(words.next().ok_or_else(wrong)?.map_err(|_| wrong())?.to_owned())).collect()
        };
        let (arguments, readable) = (take(order.arguments)?, take(order.readable)?);
        if arguments.is_empty() || words.next().is_some() {
            return Err(wrong());
        }
        let readable = readable.into_iter().map(|word| OsString::from_vec(word.into_bytes()).into()).collect();
        Ok(Self { arguments, readable, complaint })
    }
}

/// Strings, as the kernel takes them.
struct Pointers {
    pointers: Vec<*const libc::c_char>,
    _strings: Vec<CString>,
}

impl Pointers {
    fn to(strings: Vec<CString>) -> Self {
        // The strings' own memory does not move with the vector.
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _strings: strings }
    }

    const fn as_ptr(&self) -> *const *const libc::c_char {
        self.pointers.as_ptr()
    }
}
