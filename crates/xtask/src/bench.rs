//! `cargo xtask bench`: figures, from the release build, on servers of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::packages::{self, C_BUILD, CLAMDSCAN, PYTHON_VENV};
use crate::servers::{self, Begun};
use crate::tools::PYTHON;
use crate::workspace::Workspace;
use crate::{build, child, say};

const OBJECTS: usize = 10_000;
const REPLICAS: usize = 3;
const ROUNDS: usize = 15;
const SCAN_ROUNDS: usize = 5;

/// All, one after the other, unless one is named.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    only: Option<Which>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Which {
    /// Small objects through replicas on one machine
    Replicas(Replicas),
    /// Images through the jail, beside libvips and Pillow
    Transform(Transform),
    /// Files through clamd with all that is around it, beside clamdscan
    Scan(Scan),
}

#[derive(Debug, Clone, Copy, Args)]
struct Replicas {
    /// How many small objects go through
    #[arg(long, default_value_t = OBJECTS)]
    objects: usize,
    /// How many workers share them
    #[arg(long, default_value_t = REPLICAS)]
    replicas: usize,
}

#[derive(Debug, Clone, Copy, Args)]
struct Transform {
    /// How often each image is made anew in each way
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
}

#[derive(Debug, Clone, Copy, Args)]
struct Scan {
    /// How often each set of files is scanned in each way
    #[arg(long, default_value_t = SCAN_ROUNDS)]
    rounds: usize,
}

pub(crate) fn run(bench: Bench) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match bench.only {
        Some(Which::Replicas(bench)) => replicas(&workspace, bench)?,
        Some(Which::Transform(bench)) => transform(&workspace, bench)?,
        Some(Which::Scan(bench)) => scan(&workspace, bench)?,
        None => {
            transform(&workspace, Transform { rounds: ROUNDS })?;
            scan(&workspace, Scan { rounds: SCAN_ROUNDS })?;
            replicas(&workspace, Replicas { objects: OBJECTS, replicas: REPLICAS })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn replicas(workspace: &Workspace, bench: Replicas) -> Result<()> {
    servers::ensure_installed(workspace)?;
    let jailed = build(workspace, &["--bench", "replicas"])?;
    say::step("servers");
    let servers = Begun::begin(workspace)?.ready()?;
    say::step("replicas");
    let mut command = workspace.cargo("bench");
    command
        .args(["--workspace", "--bench", "replicas"])
        .env("LAZARET_TEST_JAIL", jailed)
        .envs(servers.environment())
        .env("LAZARET_BENCH_OBJECTS", bench.objects.to_string())
        .env("LAZARET_BENCH_REPLICAS", bench.replicas.to_string());
    child::run("cargo bench", &mut command)
}

fn transform(workspace: &Workspace, bench: Transform) -> Result<()> {
    packages::ensure(&[PYTHON_VENV])?;
    PYTHON.ensure(workspace)?;
    let jailed = build(workspace, &["--bench", "transform", "--example", "workbench"])?;
    say::step("transform");
    let mut command = workspace.cargo("bench");
    command
        .args(["--workspace", "--bench", "transform"])
        .env("LAZARET_TEST_JAIL", jailed)
        .env("LAZARET_TEST_PYTHON", PYTHON.program(workspace))
        .env("LAZARET_BENCH_ROUNDS", bench.rounds.to_string());
    child::run("cargo bench", &mut command)
}

fn scan(workspace: &Workspace, bench: Scan) -> Result<()> {
    servers::ensure_installed(workspace)?;
    packages::ensure(&[CLAMDSCAN])?;
    build(workspace, &["--bench", "scan"])?;
    say::step("servers");
    let servers = Begun::begin(workspace)?.ready()?;
    say::step("scan");
    let mut command = workspace.cargo("bench");
    command
        .args(["--workspace", "--bench", "scan"])
        .envs(servers.environment())
        .env("LAZARET_BENCH_ROUNDS", bench.rounds.to_string());
    child::run("cargo bench", &mut command)
}

/// Answers the path of the jailed program.
fn build(workspace: &Workspace, targets: &[&str]) -> Result<PathBuf> {
    packages::ensure(&C_BUILD)?;
    say::step("release build");
    // Together, so that all ask the same features of every dependency.
    let mut command = workspace.cargo("build");
    child::run("cargo build", command.args(["--workspace", "--bins", "--release"]).args(targets))?;
    build::jailed(workspace, true)
}
