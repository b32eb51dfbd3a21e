//! Programs that nobody here wrote, each in a jail of its own kind.
//!
//! A jailed process of ours builds the jail and becomes the program. Nothing is kept ready: beside the start of an
//! interpreter the jail's own millisecond is little.

mod object;
mod output;
mod words;

use std::{
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{Arc, mpsc},
    thread,
};

use async_trait::async_trait;
use lazaret_core::{
    Spooled,
    ports::{JailedProgram, ProgramEnd, ProgramJail, ProgramJailError},
};
use tokio::{
    net::unix::pipe,
    sync::oneshot,
    time::{timeout, timeout_at},
};

use self::{object::MemoryDevice, output::Tail};
use super::{
    JailError,
    attend::{Deadline, SET_UP_TIME, Word, listen},
    lacking,
    prisoner::Prisoner,
    reaper::Reaper,
    spawn::{Descriptors, spawn, wire_pair},
    watch::watch,
};
use crate::{
    layer::Layer,
    wire::{Launch, ToChild, ToHost},
};

/// Runs programs in the jail's second profile.
///
/// The programs die with it: the kernel kills them when the thread ends that started them, and that thread lives as long
/// as this value and its clones.
#[derive(Debug, Clone)]
pub struct Launcher {
    orders: mpsc::Sender<Order>,
    memory: MemoryDevice,
    path: Arc<PathBuf>,
}

/// A process to be started.
struct Order {
    descriptors: Descriptors,
    started: oneshot::Sender<io::Result<Prisoner>>,
}

/// A program from its start on. Dropped, it is killed.
struct Running<'a> {
    program: &'a JailedProgram,
    prisoner: Prisoner,
    wire: Arc<OwnedFd>,
    answer: pipe::Receiver,
    complaint: pipe::Receiver,
}

impl Launcher {
    /// `launcher` is a program that calls [`crate::jail::run`], the same as a [`crate::Jail`] has. Nothing is started
    /// yet but two threads.
    pub fn new(launcher: &Path) -> Result<Self, JailError> {
        let memory = MemoryDevice::find().map_err(lacking("memory"))?;
        let reaper = Reaper::start()?;
        let (orders, inbox) = mpsc::channel::<Order>();
        // Processes start in the root folder, where a relative path would mean another file.
        let path = std::path::absolute(launcher)
            .map_err(|source| JailError::Start { program: launcher.to_owned(), source })?;
        let path = Arc::new(path);
        let program = Arc::clone(&path);
        thread::Builder::new()
            .name("program-spawner".into())
            .spawn(move || {
                for Order { descriptors, started } in inbox {
                    let child = spawn(&program, descriptors).and_then(|child| Prisoner::new(child, reaper.clone()));
                    // Nobody waits any more: its drop ends the child.
                    drop(started.send(child));
                }
            })
            .map_err(lacking("thread"))?;
        Ok(Self { orders, memory, path })
    }

    async fn start<'a>(&self, program: &'a JailedProgram, object: &Spooled) -> Result<Running<'a>, ProgramJailError> {
        let cannot = |source| ProgramJailError::Start { program: name(program), source };
        let input = self.memory.reopen(object);
        let input = input.map_err(|source| ProgramJailError::Object { program: name(program), source })?;
        let (answer, answers) = output::pipe().map_err(cannot)?;
        let (complaint, complaints) = output::pipe().map_err(cannot)?;
        let (wire, theirs) = wire_pair().map_err(cannot)?;
        words::send(&wire, program, &complaints).map_err(cannot)?;
        let descriptors = Descriptors { input, output: Some(answers), wire: theirs };
        let (started, start) = oneshot::channel();
        let gone = || cannot(io::Error::other("the thread that starts programs is gone"));
        self.orders.send(Order { descriptors, started }).map_err(|_| gone())?;
        let prisoner = start.await.map_err(|_| gone())?.map_err(|source| self.not_ours(&source)).map_err(cannot)?;
        Ok(Running { program, prisoner, wire: Arc::new(wire), answer, complaint })
    }

    /// It is the launcher that could not be started, which the program's name would hide.
    fn not_ours(&self, source: &io::Error) -> io::Error {
        io::Error::new(source.kind(), format!("{}: {source}", self.path.display()))
    }
}

#[async_trait]
impl ProgramJail for Launcher {
    async fn run(&self, program: &JailedProgram, object: &Spooled) -> Result<ProgramEnd, ProgramJailError> {
        let deadline = Deadline::after(program.wall_time);
        let mut running = self.start(program, object).await?;
        match timeout(SET_UP_TIME, running.begun()).await {
            Ok(begun) => begun?,
            Err(_) => return Err(running.lacks(Layer::Program, format!("it did not begin within {SET_UP_TIME:?}"))),
        }
        running.end(deadline).await
    }
}

impl Running<'_> {
    /// Waits until the process has become the program: its wire closes then, and only then or at its end.
    async fn begun(&mut self) -> Result<(), ProgramJailError> {
        let cannot = |source| ProgramJailError::Start { program: name(self.program), source };
        let wire = watch(Arc::clone(&self.wire)).map_err(cannot)?;
        let mut ready = false;
        loop {
            match listen(&wire).await.map_err(cannot)? {
                Word::Message(ToHost::Ready) if !ready => ready = true,
                Word::Message(ToHost::SetUpFailed { layer: Layer::Program, detail }) => {
                    return Err(cannot(io::Error::other(detail.to_string())));
                }
                Word::Message(ToHost::SetUpFailed { layer, detail }) => {
                    return Err(self.lacks(layer, detail.to_string()));
                }
                Word::HungUp if ready => return Ok(()),
                Word::HungUp => {
                    let status = self.prisoner.wait().await.map_err(cannot)?;
                    return Err(self.lacks(Layer::Program, format!("the launcher ended with {status}")));
                }
                Word::Message(other) => return Err(self.lacks(Layer::Program, format!("the launcher said {other:?}"))),
                Word::Nonsense(nonsense) => return Err(self.lacks(Layer::Program, nonsense)),
            }
        }
    }

    /// Reads all that the program says until it is gone.
    async fn end(mut self, deadline: Deadline) -> Result<ProgramEnd, ProgramJailError> {
        let cannot = |source| ProgramJailError::Start { program: name(self.program), source };
        let limit = self.program.max_answer_bytes;
        let mut complaint = Tail::default();
        let over = async {
            tokio::try_join!(
                output::whole(&mut self.answer, limit),
                output::tail(&mut self.complaint, &mut complaint),
                async { self.prisoner.wait().await.map_err(output::Stop::from) }
            )
        };
        let over = timeout_at(deadline.at, over).await;
        let killed = |why: String, complaint: Tail| Ok(ProgramEnd::Killed { why, complaint: complaint.into_text() });
        match over {
            Ok(Ok((answer, (), status))) => Ok(self.ended(status, answer, complaint)),
            Ok(Err(output::Stop::Flood)) => {
                self.prisoner.kill().await.map_err(cannot)?;
                killed(format!("its answer is longer than {limit} bytes"), complaint)
            }
            Ok(Err(output::Stop::Unable(error))) => Err(cannot(error)),
            Err(_) => {
                self.prisoner.kill().await.map_err(cannot)?;
                killed(format!("it did not end within {} ms", deadline.limit.as_millis()), complaint)
            }
        }
    }

    fn ended(&self, status: ExitStatus, answer: Vec<u8>, complaint: Tail) -> ProgramEnd {
        let complaint = complaint.into_text();
        if let Some(code) = status.code() {
            return ProgramEnd::Exited { code, answer, complaint };
        }
        let why = match status.signal() {
            Some(libc::SIGSYS) => "a system call that no scanner makes".to_owned(),
            Some(libc::SIGXCPU | libc::SIGPROF) => {
                format!("it used its {} ms of CPU time", self.program.cpu_time.as_millis())
            }
            Some(libc::SIGXFSZ) => "it wrote to a file".to_owned(),
            Some(libc::SIGKILL) => {
                "killed with signal 9: by an operator, for lack of memory, or long out of CPU time".to_owned()
            }
            Some(signal) => format!("it ended with signal {signal}"),
            None => format!("it ended with {status}"),
        };
        ProgramEnd::Killed { why, complaint }
    }

    fn lacks(&self, layer: Layer, detail: String) -> ProgramJailError {
        ProgramJailError::Layer { program: name(self.program), layer: layer.to_string(), source: detail.into() }
    }
}

/// What the process is told before it starts.
fn order(program: &JailedProgram) -> io::Result<ToChild> {
    let count =
        |words: usize| u16::try_from(words).map_err(|_| io::Error::other(format!("{words} words are too many")));
    Ok(ToChild::Launch(Launch {
        host_pid: std::process::id(),
        memory_bytes: program.memory_bytes,
        cpu_ms: u64::try_from(program.cpu_time.as_millis()).unwrap_or(u64::MAX),
        threads: program.threads,
        arguments: count(program.arguments.len() + 1)?,
        readable: count(program.readable.len())?,
    }))
}

fn name(program: &JailedProgram) -> String {
    program.program.display().to_string()
}
