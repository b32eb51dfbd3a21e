//! Programs that the tests need and Debian does not have, each at a fixed version.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{child, say};

const CARGO_TOOLS: [(&str, &str); 3] = [("nextest", "0.9.143"), ("deny", "0.20.2"), ("machete", "0.9.2")];
const MINISTACK: &str = "ministack==1.5.33";

/// Installs the cargo subcommands that are not there, in any version.
pub(super) fn ensure_cargo_tools(workspace: &Workspace) -> Result<()> {
    for (name, version) in CARGO_TOOLS {
        let mut probe = workspace.cargo(name);
        if child::capture(name, probe.arg("--version")).is_ok() {
            continue;
        }
        let package = format!("cargo-{name}@{version}");
        say::step(&format!("cargo install {package} (once; some minutes)"));
        let mut install = workspace.cargo("install");
        child::run("cargo install", install.args(["--locked", &package]))?;
    }
    Ok(())
}

/// A virtual environment that is complete or does not exist under its name.
pub(super) fn ensure_ministack(workspace: &Workspace) -> Result<()> {
    if ministack(workspace).is_file() {
        return Ok(());
    }
    let folder = environment(workspace);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    say::step(&format!("pip install {MINISTACK}"));
    child::run("python3 -m venv", child::command("python3").args(["-m", "venv"]).arg(&folder))?;
    let mut install = child::command(folder.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", MINISTACK]);
    child::run("pip install", &mut install)
}

/// The program is written last by pip, so its presence says that the environment is complete.
pub(super) fn ministack(workspace: &Workspace) -> PathBuf {
    environment(workspace).join("bin/ministack")
}

fn environment(workspace: &Workspace) -> PathBuf {
    workspace.state().join(MINISTACK.replace("==", "-"))
}
