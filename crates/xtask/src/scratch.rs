//! A folder of one's own, gone when its guard is.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::{env, process};

use anyhow::{Context, Result};

use crate::say;

pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Under the system's temporary folder and not under `target`: a unix socket's path has 107 bytes at most.
    pub(crate) fn new(purpose: &str) -> Result<Self> {
        for attempt in 0..100 {
            let path = env::temp_dir().join(format!("lazaret-{purpose}-{}-{attempt}", process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot create {}", path.display())),
            }
        }
        anyhow::bail!("no free name for a scratch folder in {}", env::temp_dir().display())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            say::failure(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}
