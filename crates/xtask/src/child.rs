//! Programs that this one starts, and their end.

use std::ffi::OsStr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{say, stop};

const GRACE: Duration = Duration::from_secs(15);

/// A command whose process the kernel ends when this one dies. `setpriv` (util-linux, essential on Debian)
/// sets the parent-death signal and becomes the program, so the process id is the program's own.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    command_that_dies_with("TERM", program)
}

/// [`command`] with another signal.
pub(crate) fn command_that_dies_with(signal: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal, "--"]).arg(program);
    command
}

/// How a process is asked to end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StopWith {
    Term,
    Int,
    /// Not asked.
    Kill,
}

impl From<StopWith> for Signal {
    fn from(with: StopWith) -> Self {
        match with {
            StopWith::Term => Self::TERM,
            StopWith::Int => Self::INT,
            StopWith::Kill => Self::KILL,
        }
    }
}

/// A process that ends, at the latest, with its guard.
pub(crate) struct Running {
    child: Child,
    name: String,
    stop_with: StopWith,
}

impl Running {
    pub(crate) fn start(name: &str, command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name: name.to_owned(), stop_with: StopWith::Term })
    }

    pub(crate) fn stopped_with(mut self, stop_with: StopWith) -> Self {
        self.stop_with = stop_with;
        self
    }

    pub(crate) fn stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// The exit status, once there is one.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))
    }

    fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        stop::poll(within, || self.ended())?
            .ok_or_else(|| anyhow!("{} took more than {} s", self.name, within.as_secs()))
    }

    fn terminate(&mut self) -> Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        kill_process(Pid::from_child(&self.child), self.stop_with.into())
            .with_context(|| format!("cannot stop {}", self.name))?;
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            if self.ended()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        say::loud(&format!("{} did not stop within {} s and was killed", self.name, GRACE.as_secs()));
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.terminate() {
            say::failure(&format!("{error:#}"));
        }
    }
}

/// Runs a command to its end, or ends it after a while; its output goes where this process's goes.
pub(crate) fn status(name: &str, command: &mut Command, within: Duration) -> Result<ExitStatus> {
    Running::start(name, command.stdin(Stdio::null()))?.wait(within)
}

/// Runs a command which has to succeed.
pub(crate) fn run(name: &str, command: &mut Command) -> Result<()> {
    let status = status(name, command, Duration::MAX)?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

/// Runs a short command which has to succeed, and returns what it printed.
pub(crate) fn capture(name: &str, command: &mut Command) -> Result<Vec<u8>> {
    if stop::requested() {
        bail!("interrupted");
    }
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        let said = [output.stderr, output.stdout].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        bail!("{name} failed ({}): {}", output.status, said.join(" ").trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::{Running, capture, command};
    use crate::scratch::Scratch;
    use rustix::process::{Pid, test_kill_process};

    #[test]
    fn what_was_started_is_gone_with_its_guard() {
        let scratch = Scratch::new("guard").expect("a scratch folder");
        let folder = scratch.path().to_owned();
        let sleeper = Running::start("sleep", command("sleep").arg("1000").current_dir(&folder)).expect("sleep starts");
        let pid = Pid::from_child(&sleeper.child);
        assert!(test_kill_process(pid).is_ok() && folder.is_dir());
        drop((sleeper, scratch));
        assert!(test_kill_process(pid).is_err() && !folder.exists());
    }

    #[test]
    fn a_failure_tells_what_the_program_said() {
        let error = capture("the probe", command("sh").args(["-c", "echo out; echo err >&2; exit 3"]));
        assert_eq!(error.expect_err("exit 3").to_string(), "the probe failed (exit status: 3): err out");
    }
}
