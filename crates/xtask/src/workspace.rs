//! Where things are.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::child;

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    target: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    target_directory: PathBuf,
    workspace_root: PathBuf,
}

impl Workspace {
    pub(crate) fn find() -> Result<Self> {
        let mut command = cargo_in(Path::new(env!("CARGO_MANIFEST_DIR")), "metadata");
        let json = child::capture("cargo metadata", command.args(["--no-deps", "--format-version", "1"]))?;
        let found: Metadata = serde_json::from_slice(&json).context("cargo metadata printed something else")?;
        Ok(Self { root: found.workspace_root, target: found.target_directory })
    }

    /// A cargo subcommand that runs at the root, with the pinned toolchain.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        cargo_in(&self.root, subcommand)
    }

    /// A program of this workspace, as `cargo build` leaves it.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.built(name, false)
    }

    /// A program of this workspace in the profile's folder.
    pub(crate) fn built(&self, name: &str, release: bool) -> PathBuf {
        self.target.join(if release { "release" } else { "debug" }).join(name)
    }

    /// What outlives one run: the virtual environment.
    pub(crate) fn state(&self) -> PathBuf {
        self.target.join("xtask-state")
    }

    /// What fuzzing builds and learns.
    pub(crate) fn fuzz(&self) -> PathBuf {
        self.target.join("fuzz")
    }

    pub(crate) fn fixture(&self, name: &str) -> PathBuf {
        self.root.join("fixtures").join(name)
    }
}

fn cargo_in(folder: &Path, subcommand: &str) -> Command {
    let mut command = child::command(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.arg(subcommand).current_dir(folder);
    // What `cargo run` says of this program is not true of the next one; cargo-machete takes its arguments by it.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
        command.env_remove(name);
    }
    command
}
