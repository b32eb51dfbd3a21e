//! Debian packages, installed only where what they bring is missing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use rustix::process::geteuid;

use crate::{child, say};

/// The package and how one sees that it is not needed.
pub(crate) struct Package {
    name: &'static str,
    present: fn() -> bool,
}

pub(crate) const CLAMAV: Package = Package { name: "clamav-daemon", present: || find("clamd").is_some() };
pub(crate) const CURL: Package = Package { name: "curl", present: || find("curl").is_some() };
pub(crate) const PYTHON_VENV: Package = Package {
    name: "python3-venv",
    present: || {
        let imports = ["-c", "import venv, ensurepip"];
        child::capture("python3", Command::new("python3").args(imports)).is_ok()
    },
};

/// Looks where servers live too: `/usr/sbin` is not on every user's path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Installs what is missing with apt-get, through sudo unless root.
pub(crate) fn ensure(wanted: &[Package]) -> Result<()> {
    let missing: Vec<_> = wanted.iter().filter(|package| !(package.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|package| package.name).collect();
    let by_hand = format!("install {} and try again", names.join(", "));
    if find("apt-get").is_none() {
        bail!("this is no Debian (there is no apt-get): {by_hand}");
    }
    let root = geteuid().is_root();
    if !root && find("sudo").is_none() {
        bail!("apt-get needs root and there is no sudo: {by_hand}");
    }
    say::step(&format!("apt-get install {}", names.join(" ")));
    child::run("apt-get update", apt(root).arg("update").arg("-q"))?;
    child::run("apt-get install", apt(root).args(["install", "-q", "-y", "--no-install-recommends"]).args(&names))?;
    match missing.iter().find(|package| !(package.present)()) {
        Some(package) => bail!("apt-get installed {}, and what it should bring is still missing", package.name),
        None => Ok(()),
    }
}

fn apt(root: bool) -> Command {
    let mut command = child::command(if root { "env" } else { "sudo" });
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command
}
