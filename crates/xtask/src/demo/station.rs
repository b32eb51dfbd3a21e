//! The running `lazaret dev` and its command line.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::cases::POLICY;
use crate::child::{self, Running};
use crate::scratch::Scratch;
use crate::stop;
use crate::workspace::Workspace;

/// A clamd with the system's whole database takes its time.
const READY_WITHIN: Duration = Duration::from_mins(3);
const LOG_TAIL_LINES: usize = 40;

/// What `lazaret dev --output json` says first.
#[derive(Deserialize)]
pub(super) struct Ready {
    pub(super) endpoint: String,
    config: PathBuf,
    pub(super) access_key_id: String,
    pub(super) secret_access_key: String,
    pub(super) bucket: String,
    pub(super) clamd: Clamd,
}

#[derive(Deserialize)]
pub(super) struct Clamd {
    pub(super) address: String,
    pub(super) signatures: String,
    pub(super) signature_warning: Option<String>,
}

/// What `lazaret session create --output json` prints.
#[derive(Deserialize)]
pub(super) struct Created {
    pub(super) upload_id: String,
    pub(super) object_id: String,
    pub(super) put_url: String,
    pub(super) headers: BTreeMap<String, String>,
}

/// What the demo needs of `lazaret session show --output json`.
#[derive(Deserialize)]
pub(super) struct Shown {
    pub(super) state: String,
    pub(super) reason: Option<String>,
    pub(super) published: Option<Published>,
}

#[derive(Deserialize)]
pub(super) struct Published {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) content_type: String,
    pub(super) size: u64,
    pub(super) sha256: String,
    image: Option<Image>,
}

#[derive(Deserialize)]
struct Image {
    variants: Vec<Variant>,
}

/// A derived size that was published beside its image.
#[derive(Deserialize)]
pub(super) struct Variant {
    pub(super) key: String,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Published {
    pub(super) fn variants(&self) -> &[Variant] {
        self.image.as_ref().map_or(&[], |image| &image.variants)
    }

    /// Of the copy and its variants.
    pub(super) fn keys(&self) -> impl Iterator<Item = String> {
        let variants = self.variants().iter().map(|variant| variant.key.clone());
        std::iter::once(self.key.clone()).chain(variants)
    }
}

/// The process is dropped before the folder it works in.
pub(super) struct Station {
    pub(super) ready: Ready,
    process: Running,
    program: PathBuf,
    scratch: Scratch,
}

impl Station {
    pub(super) fn start(workspace: &Workspace) -> Result<Self> {
        let scratch = Scratch::new("demo")?;
        let program = workspace.program("lazaret");
        let mut command = child::command(&program);
        command
            .args(["dev", "--listen", "127.0.0.1:0", "--output", "json", "--data-dir"])
            .arg(scratch.path().join("data"))
            .env("LAZARET__POLICY", POLICY.replace('\n', " "))
            .current_dir(&workspace.root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log(&scratch))?);
        let mut process = Running::start("lazaret dev", &mut command)?;
        let stdout = process.stdout().context("lazaret dev has no stdout")?;
        let ready = wait_until_ready(&mut process, stdout)
            .map_err(|error| with_log(&error.context("lazaret dev did not start"), &scratch))?;
        Ok(Self { ready, process, program, scratch })
    }

    /// A file of the demo's own beside the station's data.
    pub(super) fn scratch_file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// That the process ended by itself is an error.
    pub(super) fn still_up(&mut self) -> Result<()> {
        match self.process.ended()? {
            Some(status) => bail!("lazaret dev ended by itself ({status})"),
            None => Ok(()),
        }
    }

    /// Returns when a stop is requested.
    pub(super) fn stay_up(&mut self) -> Result<()> {
        while !stop::requested() {
            self.still_up().map_err(|error| self.with_log(&error))?;
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub(super) fn with_log(&self, error: &anyhow::Error) -> anyhow::Error {
        with_log(error, &self.scratch)
    }

    pub(super) fn log_tail(&self) -> String {
        tail(&log(&self.scratch))
    }

    /// The command line that a person would type.
    pub(super) fn invocation(&self) -> String {
        format!("{} --config {}", self.program.display(), self.ready.config.display())
    }

    pub(super) fn create(&self, arguments: &[String]) -> Result<Created> {
        let mut command = self.lazaret();
        json("lazaret session create", command.args(["session", "create", "--output", "json"]).args(arguments))
    }

    pub(super) fn show(&self, upload_id: &str) -> Result<Shown> {
        let mut command = self.lazaret();
        json("lazaret session show", command.args(["session", "show", "--output", "json", upload_id]))
    }

    pub(super) fn sweep(&self) -> Result<()> {
        child::capture("lazaret sweep", self.lazaret().arg("sweep")).map(drop)
    }

    fn lazaret(&self) -> Command {
        let mut command = child::command(&self.program);
        command.arg("--config").arg(&self.ready.config);
        command
    }
}

fn json<T: DeserializeOwned>(name: &str, command: &mut Command) -> Result<T> {
    let printed = child::capture(name, command)?;
    serde_json::from_slice(&printed)
        .with_context(|| format!("{name} printed something else: {}", String::from_utf8_lossy(&printed).trim()))
}

fn wait_until_ready(process: &mut Running, stdout: ChildStdout) -> Result<Ready> {
    let first = first_line(stdout);
    let line = stop::poll(READY_WITHIN, || match first.try_recv() {
        Ok(line) => Ok(Some(line?)),
        Err(TryRecvError::Empty) => Ok(None),
        Err(TryRecvError::Disconnected) => match process.ended()? {
            Some(status) => bail!("it ended ({status})"),
            None => Ok(None),
        },
    })?;
    let line = line.with_context(|| format!("it said nothing within {} s", READY_WITHIN.as_secs()))?;
    serde_json::from_str(&line).with_context(|| format!("its first line is something else: {}", line.trim()))
}

/// Reads on after the first line, so that the pipe never fills; the thread ends with the process.
fn first_line(stdout: ChildStdout) -> Receiver<std::io::Result<String>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            // Nobody listens after the first line.
            sender.send(line).ok();
        }
    });
    receiver
}

/// The error, and then what led to it.
fn with_log(error: &anyhow::Error, scratch: &Scratch) -> anyhow::Error {
    anyhow!("{error:#}\nThe end of the log of lazaret dev:\n{}", tail(&log(scratch)))
}

fn log(scratch: &Scratch) -> PathBuf {
    scratch.path().join("dev.log")
}

fn tail(file: &Path) -> String {
    match fs::read(file) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
        }
        Err(error) => format!("(cannot read {}: {error})", file.display()),
    }
}
