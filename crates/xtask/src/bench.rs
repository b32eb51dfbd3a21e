//! `cargo xtask bench`: figures, from the release build, on servers of its own.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::servers::{self, Begun};
use crate::workspace::Workspace;
use crate::{child, say};

/// How much is measured.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Bench {
    /// How many small objects go through
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
    /// How many workers share them
    #[arg(long, default_value_t = 3)]
    replicas: usize,
}

pub(crate) fn run(bench: Bench) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    servers::ensure_installed(&workspace)?;
    say::step("release build");
    // Together, so that both ask the same features of every dependency.
    let build = ["--workspace", "--bins", "--bench", "replicas", "--release"];
    child::run("cargo build", workspace.cargo("build").args(build))?;
    say::step("servers");
    let servers = Begun::begin(&workspace)?.ready()?;
    say::step("replicas");
    let mut command = workspace.cargo("bench");
    command
        .args(["--workspace", "--bench", "replicas"])
        .envs(servers.environment())
        .env("LAZARET_BENCH_OBJECTS", bench.objects.to_string())
        .env("LAZARET_BENCH_REPLICAS", bench.replicas.to_string());
    child::run("cargo bench", &mut command)?;
    Ok(ExitCode::SUCCESS)
}
