//! Debian packages, installed only where what they bring is missing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Result, bail};
use rustix::process::geteuid;

use crate::{child, say};

/// The package and how one sees that it is not needed.
pub(crate) struct Package {
    name: &'static str,
    present: fn() -> bool,
}

/// What builds libjpeg-turbo, beside the C compiler that Rust links with.
pub(crate) const C_BUILD: [Package; 3] = [
    Package { name: "cmake", present: || find("cmake").is_some() },
    Package { name: "make", present: || find("make").is_some() },
    Package { name: "nasm", present: || find("nasm").is_some() },
];
/// What builds libFuzzer.
pub(crate) const CXX: Package = Package { name: "g++", present: || find("c++").is_some() };
pub(crate) const CLAMAV: Package = Package { name: "clamav-daemon", present: || find("clamd").is_some() };
/// What Lazaret's scans are measured beside.
pub(crate) const CLAMDSCAN: Package = Package { name: "clamdscan", present: || find("clamdscan").is_some() };
pub(crate) const C_ICAP: Package = Package { name: "c-icap", present: || find("c-icap").is_some() };
/// c-icap's service for viruses and its way to clamd, in the folder of this machine's architecture.
pub(crate) const C_ICAP_VIRUS_SCAN: Package = Package {
    name: "libc-icap-mod-virus-scan",
    present: || {
        let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path().join("c_icap"));
        let modules = ["virus_scan.so", "clamd_mod.so"];
        folders.into_iter().any(|folder| modules.iter().all(|module| folder.join(module).is_file()))
    },
};
pub(crate) const CURL: Package = Package { name: "curl", present: || find("curl").is_some() };
/// For a worker whose clock is an hour off.
pub(crate) const FAKETIME: Package = Package { name: "faketime", present: || find("faketime").is_some() };
pub(crate) const POSTGRESQL: Package = Package { name: "postgresql", present: || postgresql_bin().is_some() };
pub(crate) const RABBITMQ: Package =
    Package { name: "rabbitmq-server", present: || is_executable(Path::new(RABBITMQ_SERVER)) };
/// The program itself; the one on the path insists on the system's user and folders.
pub(crate) const RABBITMQ_SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const POSTGRESQL_VERSIONS: &str = "/usr/lib/postgresql";
/// Asked by Debian's packages before they start a service
/// (<https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt>): 101 is no. One that is there stays.
const INSTALL: &str = r#"set -e
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
fi
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@""#;
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

/// The folder of the newest PostgreSQL's programs, which Debian keeps off the path.
pub(crate) fn postgresql_bin() -> Option<PathBuf> {
    let versions = fs::read_dir(POSTGRESQL_VERSIONS).ok()?;
    let numbered = versions.flatten().filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let bin = entry.path().join("bin");
        ["postgres", "initdb"].iter().all(|program| is_executable(&bin.join(program))).then_some((number, bin))
    });
    numbered.max().map(|(_, bin)| bin)
}

fn is_executable(file: &Path) -> bool {
    file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok()
}

/// Installs what is missing with apt-get, through sudo unless root. No service is started by it.
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
    child::run("apt-get update", as_root(root).args(["apt-get", "update", "-q"]))?;
    child::run("apt-get install", as_root(root).args(["sh", "-c", INSTALL, "apt-get install"]).args(&names))?;
    match missing.iter().find(|package| !(package.present)()) {
        Some(package) => bail!("apt-get installed {}, and what it should bring is still missing", package.name),
        None => Ok(()),
    }
}

fn as_root(root: bool) -> Command {
    child::command(if root { "env" } else { "sudo" })
}
