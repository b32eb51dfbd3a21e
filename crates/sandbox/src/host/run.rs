//! One child from its start to its end.

use std::{
    fs::File,
    io,
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    io::{Errno, ioctl_fionbio},
    net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, timeout_at},
};

use super::{
    ExitCause, Jail, JailError,
    exits::{Heard, classify},
    memfd,
    prisoner::Prisoner,
    spawner::Descriptors,
    watch::watch,
};
use crate::{
    format::{Done, Refusal},
    layer::Layer,
    probe::Probe,
    wire::{MESSAGE_BYTES, SetUp, ToChild, ToHost, Work},
};

/// What a ready child is told to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    Work(Work),
    Probe(Probe),
}

/// How a job ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// With this output, cut and sealed.
    Done { file: File, done: Done },
    /// The program refused its input.
    Refused(Refusal),
    /// The child came to another end.
    Stopped { cause: ExitCause, detail: String, heard: Option<ToHost> },
}

/// Tells the observer of a child's end; of a cancelled one when its job's future is dropped. A probe's end is the
/// self-test's own doing: told, it would look like an attack.
struct Report<'a> {
    jail: &'a Jail,
    task: Task,
    /// None: there was no child.
    cause: Option<ExitCause>,
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        match (self.task, self.cause) {
            (Task::Work(_), Some(cause)) => (self.jail.observer)(cause),
            (Task::Work(_), None) | (Task::Probe(_), _) => {}
        }
    }
}

impl Jail {
    /// Runs one task, in a second fresh child where the first could not complete its jail.
    pub(super) async fn run(&self, input: BorrowedFd<'_>, input_bytes: u64, task: Task) -> Result<Ending, JailError> {
        // The semaphore lives as long as `self` and is never closed.
        let _slot = self.slots.acquire().await.map_err(|_| JailError::Closed)?;
        let mut retried = false;
        loop {
            match self.attempt(input, input_bytes, task).await? {
                Ending::Stopped { cause: ExitCause::SetUp, detail, heard } if retried => {
                    let layer = match heard {
                        Some(ToHost::SetUpFailed { layer, .. }) => layer,
                        _ => Layer::Program,
                    };
                    return Err(JailError::MissingLayer { layer, detail });
                }
                Ending::Stopped { cause: ExitCause::SetUp, .. } => retried = true,
                ending => return Ok(ending),
            }
        }
    }

    async fn attempt(&self, input: BorrowedFd<'_>, input_bytes: u64, task: Task) -> Result<Ending, JailError> {
        let deadline = Instant::now() + self.settings.wall_time;
        let resource = |what| move |source: io::Error| JailError::Resource { what, source };
        let output_bytes = self.output_bytes();
        let output = memfd::create(output_bytes).map_err(resource("output memory"))?;
        let (ours, theirs) = wire_pair().map_err(resource("socket"))?;
        let wire = watch(ours).map_err(resource("socket"))?;
        let descriptors = Descriptors {
            input: input.try_clone_to_owned().map_err(resource("descriptor"))?,
            output: output.try_clone().map_err(resource("descriptor"))?.into(),
            wire: theirs,
        };
        // The message waits in the socket until the child reads it.
        let set_up = SetUp {
            host_pid: std::process::id(),
            input_bytes,
            output_bytes,
            memory_bytes: self.settings.memory_bytes,
            cpu_ms: u64::try_from(self.settings.cpu_time.as_millis()).unwrap_or(u64::MAX),
        };
        tell(&wire, &ToChild::SetUp(set_up)).map_err(resource("socket buffer"))?;
        // Before the child, which lives a moment before this future knows of it.
        let mut report = Report { jail: self, task, cause: Some(ExitCause::Cancelled) };
        let mut prisoner = self.spawner.spawn(descriptors).await?.map_err(|source| {
            report.cause = None;
            JailError::Start { program: self.settings.program.clone(), source }
        })?;

        let mut heard = Heard::default();
        let (cause, detail) = match timeout_at(deadline, attend(&wire, &mut prisoner, task, &mut heard)).await {
            Ok(Ok(end)) => end,
            Ok(Err(source)) => return Err(JailError::Resource { what: "word from the child", source }),
            Err(_) if !heard.ready => (ExitCause::SetUp, overdue("was not ready", self.settings.wall_time)),
            Err(_) => (ExitCause::WallTime, overdue("did not end", self.settings.wall_time)),
        };
        prisoner.kill().await.map_err(resource("end of the child"))?;
        let ending = self.conclude(cause, detail, heard, task, output)?;
        report.cause = match &ending {
            Ending::Stopped { cause, .. } => Some(*cause),
            Ending::Done { .. } | Ending::Refused(_) => Some(cause),
        };
        Ok(ending)
    }

    /// Length of the output map: the setting, in whole pages.
    fn output_bytes(&self) -> u64 {
        let page = rustix::param::page_size() as u64;
        self.settings.max_output_bytes.max(1).div_ceil(page).saturating_mul(page)
    }

    /// Checks what the child claims against what it was allowed. The child is gone.
    fn conclude(
        &self,
        cause: ExitCause,
        detail: String,
        heard: Heard,
        task: Task,
        output: File,
    ) -> Result<Ending, JailError> {
        match (cause, heard.last, task) {
            (ExitCause::Done, Some(ToHost::Done(done)), Task::Work(work)) => {
                if let Some(lie) = self.lie_in(&done, &work) {
                    return Ok(Ending::Stopped { cause: ExitCause::Protocol, detail: lie, heard: None });
                }
                memfd::seal(&output, done.len)
                    .map_err(|source| JailError::Resource { what: "seal on the output", source })?;
                Ok(Ending::Done { file: output, done })
            }
            (ExitCause::Refused, Some(ToHost::Refused(refusal)), Task::Work(_)) => Ok(Ending::Refused(refusal)),
            (ExitCause::Done | ExitCause::Refused, ..) => Ok(Ending::Stopped {
                cause: ExitCause::Protocol,
                detail: "answered another question".into(),
                heard: None,
            }),
            (cause, heard, _) => Ok(Ending::Stopped { cause, detail, heard }),
        }
    }

    /// What is not so in an answer, if anything. Frames times the canvas may be more than `max_total_pixels`: an honest
    /// animation's frames cover only what changes, and an answer does not say how much that is.
    fn lie_in(&self, done: &Done, work: &Work) -> Option<String> {
        let limits = &work.limits;
        let pixels = u64::from(done.width) * u64::from(done.height);
        if done.len == 0 || done.len > self.settings.max_output_bytes {
            return Some(format!(
                "claims {} bytes of output, {} are possible",
                done.len, self.settings.max_output_bytes
            ));
        }
        if done.format != work.format.output() {
            return Some(format!("claims {} made from {}", done.format.media_type(), work.format.media_type()));
        }
        let too_large = pixels > limits.max_pixels || done.width.max(done.height) > limits.max_side;
        if pixels == 0 || too_large || done.frames == 0 || done.frames > limits.max_frames {
            return Some(format!("claims {} frames of {}x{} pixels", done.frames, done.width, done.height));
        }
        None
    }
}

fn overdue(what: &str, limit: Duration) -> String {
    format!("{what} within {} ms", limit.as_millis())
}

/// A pair of connected sockets that keep messages apart. Ours never blocks.
fn wire_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

/// Listens to the child until it lies, which nobody needs to wait for, or hangs up and ends.
async fn attend(
    wire: &AsyncFd<OwnedFd>,
    prisoner: &mut Prisoner,
    task: Task,
    heard: &mut Heard,
) -> io::Result<(ExitCause, String)> {
    loop {
        let message = match listen(wire).await? {
            Word::Message(message) => message,
            Word::Nonsense(nonsense) => {
                heard.lie = Some(nonsense);
                break;
            }
            Word::HungUp => break,
        };
        match message {
            ToHost::Ready if !heard.ready && heard.last.is_none() => {
                heard.ready = true;
                let order = match task {
                    Task::Work(work) => ToChild::Work(work),
                    Task::Probe(probe) => ToChild::Probe(probe),
                };
                // A child that died meanwhile is known by its exit.
                if let Err(error) = tell(wire, &order) {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a jailed child hung up before its job");
                }
            }
            message if heard.last.is_none() && speaks_in_turn(&message, heard.ready) => heard.last = Some(message),
            message => {
                heard.lie = Some(format!("said {message:?} out of turn"));
                break;
            }
        }
    }
    if let Some(lie) = &heard.lie {
        return Ok((ExitCause::Protocol, lie.clone()));
    }
    let status = prisoner.wait().await?;
    Ok(classify(status, heard))
}

/// Before it is ready a child can only fail; after that it can do all else.
fn speaks_in_turn(message: &ToHost, ready: bool) -> bool {
    match message {
        ToHost::Ready => false,
        ToHost::SetUpFailed { .. } => !ready,
        ToHost::Panicked { .. } => true,
        ToHost::Done(_) | ToHost::Refused(_) | ToHost::Survived { .. } => ready,
    }
}

enum Word {
    Message(ToHost),
    Nonsense(String),
    HungUp,
}

async fn listen(wire: &AsyncFd<OwnedFd>) -> io::Result<Word> {
    // One byte more than a message, so that a longer one is seen to be longer.
    let mut buffer = [0; MESSAGE_BYTES + 1];
    let received = wire.async_io(Interest::READABLE, |fd| Ok(recv(fd, &mut buffer, RecvFlags::empty())?.0)).await;
    match received {
        Ok(0) => Ok(Word::HungUp),
        Ok(len) => Ok(match ToHost::decode(&buffer[..len]) {
            Ok(message) => Word::Message(message),
            Err(error) => Word::Nonsense(error.to_string()),
        }),
        // The child died with words of ours unread.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(Word::HungUp),
        Err(error) => Err(error),
    }
}

/// Sends one message. The socket's buffer holds far more than the two messages a child ever gets.
fn tell(wire: &AsyncFd<OwnedFd>, message: &ToChild) -> io::Result<()> {
    match send(wire.get_ref(), &message.encode(), SendFlags::NOSIGNAL) {
        Ok(MESSAGE_BYTES) => Ok(()),
        Ok(_) => Err(Errno::MSGSIZE.into()),
        Err(error) => Err(error.into()),
    }
}
