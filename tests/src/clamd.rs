//! A clamd of a test's own, with settings and signatures that the shared one does not have.

use std::{
    env,
    fs::{self, File},
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::geteuid;
use tempfile::TempDir;

use crate::{program::Running, wait::until_true};

const UP_WITHIN: Duration = Duration::from_secs(20);

/// The line that finds Lazaret's canary, as it is shipped.
pub const CANARY: &str = include_str!("../../config/clamav/lazaret-canary.ndb");
/// A text that a signature of [`MARKER_SIGNATURE`] finds, wherever it is.
pub const MARKER: &[u8] = b"Lazaret-Test-Signature";
/// The line that finds [`MARKER`] and EICAR's test file.
pub const MARKER_SIGNATURE: &str = include_str!("../../fixtures/clamav/lazaret-test.ndb");

/// A clamd that ends with this value.
#[derive(Debug)]
pub struct OwnClamd {
    folder: TempDir,
    running: Running,
}

impl OwnClamd {
    /// Starts it with these signature files (`name.ndb`, text) and these further lines of `clamd.conf`; all else is as
    /// ClamAV ships it.
    pub async fn start(signatures: &[(&str, &str)], lines: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path();
        fs::create_dir(path.join("db"))?;
        fs::create_dir(path.join("tmp"))?;
        write(&path.join("db"), signatures)?;
        let mut settings = format!(
            "DatabaseDirectory {0}/db\nLocalSocket {0}/clamd.sock\nTemporaryDirectory {0}/tmp\nForeground yes\n{1}\n",
            path.display(),
            lines.join("\n"),
        );
        if geteuid().is_root() {
            settings.push_str("User root\n");
        }
        fs::write(path.join("clamd.conf"), settings)?;
        let mut command = crate::program::under_guard(find()?);
        command.arg("--config-file").arg(path.join("clamd.conf"));
        let running = Running::start(&mut command, path, "clamd")?;
        let mut own = Self { folder, running };
        until_true("clamd answers", UP_WITHIN, async || {
            own.running.ensure_up()?;
            Ok(own.ask("zPING\0").is_ok_and(|answer| answer.starts_with("PONG")))
        })
        .await?;
        Ok(own)
    }

    /// `unix:/path`.
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket().display())
    }

    /// Has it forget its signatures and load these.
    pub fn reload(&self, signatures: &[(&str, &str)]) -> Result<()> {
        let database = self.folder.path().join("db");
        for entry in fs::read_dir(&database)? {
            fs::remove_file(entry?.path())?;
        }
        write(&database, signatures)?;
        let answer = self.ask("zRELOAD\0")?;
        anyhow::ensure!(answer.starts_with("RELOADING"), "clamd says {answer:?}");
        Ok(())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("clamd.sock")
    }

    fn ask(&self, command: &str) -> Result<String> {
        let mut socket = UnixStream::connect(self.socket())?;
        socket.write_all(command.as_bytes())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

fn write(database: &Path, signatures: &[(&str, &str)]) -> Result<()> {
    for (name, text) in signatures {
        File::create(database.join(name))?.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// Debian installs it where an ordinary user's `PATH` does not lead.
fn find() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("clamd")).find(|file| file.is_file()).context("there is no clamd")
}
