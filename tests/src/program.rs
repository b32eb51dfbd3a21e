//! The program as its users meet it: a command line, exit codes, two streams, signals.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

use crate::wait::{until, until_true};

const LOG_TAIL_LINES: usize = 30;
const STOPPED_WITHIN: Duration = Duration::from_secs(10);

/// `lazaret` from the folder above this test, with an environment that holds no settings of whoever runs the test.
/// The kernel ends it with the thread that starts it.
pub fn lazaret() -> Command {
    under_guard(program("lazaret"))
}

/// The path of a program of this workspace.
pub fn program(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap_or_default();
    let profile = test.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    profile.join(name)
}

pub(crate) fn under_guard(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).stdin(Stdio::null());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ["AWS_", "LAZARET_", "RUST_LOG"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    // The program as it is released, where `cargo xtask test` made it.
    if let Some(jailed) = env::var_os("LAZARET_TEST_JAIL") {
        command.env("LAZARET__SANDBOX__PROGRAM", jailed);
    }
    command
}

/// What a command that ended left.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error stream.
    pub stderr: String,
}

impl Ended {
    /// Runs `command` to its end.
    pub fn run(command: &mut Command) -> Result<Self> {
        let output = command.output().context("cannot start the program: `cargo build --workspace --bins` makes it")?;
        Ok(Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Its standard output as JSON, after a success.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        ensure!(self.code == Some(0), "{self:?}");
        serde_json::from_str(&self.stdout).with_context(|| format!("{self:?}"))
    }
}

/// A program that runs until it is told to end, or until its guard is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts `command`; its streams go to files `name.out` and `name.err` in `folder`.
    pub fn start(command: &mut Command, folder: &Path, name: &str) -> Result<Self> {
        let (stdout, stderr) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.err")));
        command.stdout(File::create(&stdout)?).stderr(File::create(&stderr)?);
        let child = command.spawn().context("cannot start the program")?;
        Ok(Self { child, stdout, stderr })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to its standard output so far.
    pub fn stdout(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.stdout)?)
    }

    /// What it wrote to its standard error stream so far.
    pub fn stderr(&self) -> Result<String> {
        Ok(fs::read_to_string(&self.stderr)?)
    }

    /// That it ended by itself is an error.
    pub fn ensure_up(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the program ended by itself: {status}"),
            None => Ok(()),
        }
    }

    /// SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::TERM)?)
    }

    /// SIGSTOP. Returns once none of its threads runs any more.
    pub async fn pause(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::STOP)?;
        until_true("all threads stand still", STOPPED_WITHIN, async || {
            for thread in fs::read_dir(format!("/proc/{}/task", self.id()))? {
                let status = fs::read_to_string(thread?.path().join("status"))?;
                if !status.contains("State:\tT") {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::CONT)?)
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Kills a program that did well, whose log nobody needs to see.
    pub fn dismiss(mut self) -> Result<()> {
        self.kill()?;
        File::create(&self.stderr)?;
        Ok(())
    }

    /// Its end.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        until("the program ends", within, async || Ok(self.child.try_wait()?)).await
    }

    /// The processes it started that live now, as folders of `/proc`. Not every kernel lists them by parent.
    pub fn children(&self) -> Result<Vec<PathBuf>> {
        let parent = format!("\nPPid:\t{}\n", self.id());
        let mut children = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let process = entry?.path();
            // One that ends meanwhile has no status any more.
            if fs::read_to_string(process.join("status")).is_ok_and(|status| status.contains(&parent)) {
                children.push(process);
            }
        }
        Ok(children)
    }

    /// The most memory it ever had resident, in bytes (`VmHWM` of proc(5)).
    pub fn peak_resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Running {
    /// Shown by the test runner where the test failed.
    fn drop(&mut self) {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        let log = fs::read_to_string(&self.stderr).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        if lines.is_empty() {
            return;
        }
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        eprintln!("{} ({killed:?}) ends with:\n{}", self.stderr.display(), tail.join("\n"));
    }
}
