//! One server: started on a free port, waited for, stopped with its guard.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::child::{Running, StopWith};
use crate::stop;

/// RabbitMQ takes 24 s on an idle machine, and the compiler runs beside it.
const START_WITHIN: Duration = Duration::from_mins(3);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A free port can be taken between the look and the start: then another one is tried.
const START_ATTEMPTS: usize = 3;

type MakeCommand = Box<dyn Fn(SocketAddr) -> Result<Command>>;
type Answers = Box<dyn Fn(SocketAddr) -> bool>;

/// How a server is started, and how one sees that it is up.
pub(super) struct Recipe {
    pub(super) name: &'static str,
    pub(super) command: MakeCommand,
    pub(super) answers: Answers,
    pub(super) stop_with: StopWith,
}

/// A server that was started and may not answer yet.
pub(super) struct Starting {
    recipe: Recipe,
    log: PathBuf,
    server: Server,
}

/// A server that answers, until dropped.
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) address: SocketAddr,
    process: Running,
}

impl Server {
    /// Its exit status, once there is one.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }
}

impl Starting {
    /// Starts it; what it says goes to a file in `folder`.
    pub(super) fn begin(recipe: Recipe, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{}.log", recipe.name));
        let server = start(&recipe, &log)?;
        Ok(Self { recipe, log, server })
    }

    /// Returns once it answers.
    pub(super) fn ready(mut self) -> Result<Server> {
        for attempt in 1.. {
            let (server, answers) = (&mut self.server, &self.recipe.answers);
            let up = stop::poll(START_WITHIN, || {
                Ok(if server.ended()?.is_some() { Some(false) } else { answers(server.address).then_some(true) })
            })?;
            if up == Some(true) {
                return Ok(self.server);
            }
            if attempt == START_ATTEMPTS {
                break;
            }
            self.server = start(&self.recipe, &self.log)?;
        }
        let said = fs::read_to_string(&self.log).unwrap_or_else(|error| format!("(no log: {error})"));
        bail!("{} does not answer; it says:\n{}", self.recipe.name, said.trim())
    }
}

fn start(recipe: &Recipe, log: &Path) -> Result<Server> {
    let address = free_address()?;
    let output = File::create(log)?;
    let mut command = (recipe.command)(address)?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let process = Running::start(recipe.name, &mut command)?.stopped_with(recipe.stop_with);
    Ok(Server { name: recipe.name, address, process })
}

/// Whether a server answers a question with these bytes first.
pub(super) fn says(address: SocketAddr, question: &[u8], answer: &[u8]) -> bool {
    let mut reply = vec![0; answer.len()];
    connect(address).is_ok_and(|mut stream| {
        stream.write_all(question).is_ok() && stream.read_exact(&mut reply).is_ok() && reply == answer
    })
}

/// Whether anybody listens.
pub(super) fn listens(address: SocketAddr) -> bool {
    connect(address).is_ok()
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    Ok(stream)
}

pub(super) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?;
    Ok(listener.local_addr()?)
}
