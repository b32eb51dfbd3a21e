//! The jailed side: what the child does before, for and after its one job.

mod allocator;
mod confine;
mod launch;
mod limits;
mod line;
mod maps;
mod probes;
mod process;
mod syscalls;

use std::{io, marker::PhantomData, os::fd::BorrowedFd};

use rustix::net::sockopt::socket_type;

pub use self::{allocator::JailedAllocator, maps::populate};
use self::{limits::MappedBytes, line::wire, maps::Maps, process::exit};
use crate::{
    format::Refusal,
    layer::Layer,
    wire::{Done, Frame, Input, MAX_FOLLOWING_BYTES, MESSAGE_BYTES, SetUp, Task, Text, ToChild, ToHost},
};

/// Exit code of a child that answered, whatever the answer.
pub const EXIT_ANSWERED: i32 = 0;
/// Exit code of a child that panicked.
pub const EXIT_PANIC: i32 = 70;
/// Exit code of a child that could not complete its jail.
pub const EXIT_SET_UP: i32 = 71;
/// Exit code of a child that met the end of its memory.
pub const EXIT_MEMORY: i32 = 73;
/// Exit code of a child whose host spoke nonsense or went away.
pub const EXIT_WIRE: i32 = 76;

/// A message, the longest input behind it, and one byte more, so that a longer one is seen to be longer.
const MAX_ORDER_BYTES: usize = MESSAGE_BYTES + MAX_FOLLOWING_BYTES + 1;

/// Proof that every layer of the jail is on. Only [`run`] makes one, after the last layer, and whatever touches
/// hostile bytes asks for it.
#[derive(Debug)]
pub struct Confined {
    // Seccomp and Landlock hold for the thread that put them on.
    _this_thread: PhantomData<*const ()>,
}

#[cfg(fuzzing)]
impl Confined {
    /// For a fuzzer, which needs the system calls that a jail takes away.
    pub const fn unconfined() -> Self {
        Self { _this_thread: PhantomData }
    }
}

/// One job, as the jailed program sees it.
#[derive(Debug)]
pub struct Job<'a> {
    /// What is to be done.
    pub task: Task,
    /// The input, as long as the task says.
    pub input: &'a [u8],
    /// Where the output goes. Its length is the most it can be.
    pub output: &'a mut [u8],
}

/// The program's answer to a job.
pub type Answer = Result<Done, Refusal>;

/// A layer that could not be put on.
#[derive(Debug)]
struct MissingLayer {
    layer: Layer,
    detail: Text,
}

impl MissingLayer {
    fn new(layer: Layer, detail: impl std::fmt::Display) -> Self {
        Self { layer, detail: Text::of(detail) }
    }

    /// For `map_err`: the layer with the error that kept it off.
    fn because<E: std::fmt::Display>(layer: Layer) -> impl Fn(E) -> Self {
        move |error| Self::new(layer, error)
    }
}

/// Builds the jail around this process, does one job with `work`, answers and ends the process. Where the host says so,
/// it becomes a program that nobody here wrote instead, in a jail of its own kind ([`crate::Launcher`]).
///
/// To be called first thing in `main`, on the main thread of a process that a [`crate::Jail`] started. Started in
/// any other way the process says so on standard error and ends.
pub fn run(work: fn(&Confined, Job<'_>) -> Answer) -> ! {
    if !matches!(socket_type(io::stderr()), Ok(kind) if kind == rustix::net::SocketType::SEQPACKET) {
        eprintln!("this program runs only inside the jail of lazaret, which starts it; it does nothing on its own");
        exit(EXIT_SET_UP);
    }
    process::report_panics();
    let set_up = match hear() {
        Some(ToChild::SetUp(set_up)) => set_up,
        Some(ToChild::Launch(order)) => launch::launch(&order),
        Some(ToChild::Work(..) | ToChild::Probe(_)) | None => exit(EXIT_WIRE),
    };
    // Written, so that the order finds its pages there.
    let room = vec![1; MAX_ORDER_BYTES];
    match enter(&set_up) {
        Ok((confined, maps)) => serve(&confined, maps, room, work),
        Err(MissingLayer { layer, detail }) => {
            // Without a host that listens there is nobody to tell.
            let _told = say(&ToHost::SetUpFailed { layer, detail });
            exit(EXIT_SET_UP)
        }
    }
}

/// Ends the process as one that ran out of memory, for a library with an allocator of its own that says so.
pub fn end_out_of_memory(_confined: &Confined) -> ! {
    exit(EXIT_MEMORY)
}

/// Every layer, in the one order that works: each needs system calls or descriptors that a later one takes away.
fn enter(set_up: &SetUp) -> Result<(Confined, Maps), MissingLayer> {
    confine::die_with_host(set_up.host_pid)?;
    limits::offer_to_oom_killer()?;
    confine::hide_from_tracers()?;
    confine::forbid_privileges()?;
    confine::close_descriptors()?;
    let maps = Maps::take(set_up.input_bytes, set_up.output_bytes)?;
    let mapped = MappedBytes::now()?;
    confine::forbid_files_and_network()?;
    // From here on nothing opens a descriptor, and none can be duplicated once they are limited.
    line::leave_only_wire()?;
    limits::limit_resources(set_up, mapped)?;
    process::reset_signals()?;
    limits::start_cpu_timer(set_up.cpu_ms)?;
    process::warm_up();
    syscalls::allow_only_needed()?;
    Ok((Confined { _this_thread: PhantomData }, maps))
}

fn serve(confined: &Confined, mut maps: Maps, mut room: Vec<u8>, work: fn(&Confined, Job<'_>) -> Answer) -> ! {
    let answer = match say(&ToHost::Ready).ok().and_then(|()| hear_order(wire(), &mut room)) {
        Some((ToChild::Work(task, place), behind)) => {
            let given = match place {
                Input::Mapped => maps.split(task.input_bytes()),
                Input::Follows => Some((behind, maps.output_alone())),
            };
            let Some((input, output)) = given else { exit(EXIT_WIRE) };
            match work(confined, Job { task, input, output }) {
                Ok(done) => ToHost::Done(done),
                Err(refusal) => ToHost::Refused(refusal),
            }
        }
        Some((ToChild::Probe(probe), _)) => {
            ToHost::Survived { probe, errno: probes::attempt(confined, probe, &mut maps) }
        }
        Some((ToChild::SetUp(_) | ToChild::Launch(_), _)) | None => exit(EXIT_WIRE),
    };
    let said = say(&answer);
    process::let_others_run();
    exit(if said.is_ok() { EXIT_ANSWERED } else { EXIT_WIRE })
}

/// Waits for the order of a ready child, and answers what lies behind its message. None: the host is gone or speaks another
/// language, or the input behind a task is not as long as that says.
fn hear_order<'a>(wire: BorrowedFd<'_>, room: &'a mut [u8]) -> Option<(ToChild, &'a [u8])> {
    let len = rustix::io::retry_on_intr(|| rustix::io::read(wire, &mut *room)).ok()?;
    let (message, behind) = room.get(..len)?.split_at_checked(MESSAGE_BYTES)?;
    let message = ToChild::decode(message).ok()?;
    let told = match message {
        ToChild::Work(task, Input::Follows) => task.input_bytes(),
        ToChild::Work(_, Input::Mapped) | ToChild::Probe(_) | ToChild::SetUp(_) | ToChild::Launch(_) => 0,
    };
    (behind.len() <= MAX_FOLLOWING_BYTES && behind.len() as u64 == told).then_some((message, behind))
}

/// Sends one message. Plain `write`, because that is the only sending the filter allows.
fn say(message: &ToHost) -> io::Result<()> {
    rustix::io::write(wire(), &message.encode())?;
    Ok(())
}

/// Waits for one message; `None` when the host is gone or speaks another language.
fn hear() -> Option<ToChild> {
    let mut frame: Frame = [0; MESSAGE_BYTES];
    let len = rustix::io::retry_on_intr(|| rustix::io::read(wire(), &mut frame)).ok()?;
    ToChild::decode(&frame[..len]).ok()
}

/// A layer whose failure has no error of the system.
fn require(layer: Layer, holds: bool, otherwise: &str) -> Result<(), MissingLayer> {
    if holds { Ok(()) } else { Err(MissingLayer::new(layer, otherwise)) }
}

#[cfg(test)]
mod tests;
