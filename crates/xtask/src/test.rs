//! `cargo xtask test`: every check there is, in the order in which they fail fastest.

use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::packages::{self, C_BUILD, CURL};
use crate::servers::{self, Begun};
use crate::workspace::Workspace;
use crate::{build, child, room, say, schema, tools};

/// Everything there is, what the default build leaves out included.
const ALL: [&str; 3] = ["--workspace", "--features", "yara"];
const FETCH_WITHIN: Duration = Duration::from_mins(2);
/// GiB of what the compiler makes from nothing, and of what the tests have at once: a store, a spool, databases.
const TO_BUILD: u64 = 10;
const TO_TEST: u64 = 6;
const ADVISORIES_UNREACHABLE: &str =
    "advisories and yanked crates NOT checked: the advisory database could not be fetched";

pub(crate) fn run(nextest: &[String]) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    let mut steps = Steps::default();
    prepare(&workspace, &mut steps)?;
    // RabbitMQ takes its time, and does so while the compiler works.
    let begun = Begun::begin(&workspace)?;
    check(&workspace, &mut steps)?;
    let jailed = steps.step("the jailed program", || build::jailed(&workspace, false))?;
    let servers = steps.step("servers", || begun.ready())?;
    steps.step("doc-tests", || {
        let mut command = workspace.cargo("test");
        child::run("cargo test --doc", command.args(ALL).args(["--doc", "--quiet"]).envs(servers.environment()))
    })?;
    steps.print();
    for warning in &steps.warnings {
        say::loud(warning);
    }
    say::step("cargo nextest");
    let mut command = workspace.cargo("nextest");
    command.arg("run").args(ALL).args(nextest).envs(servers.environment()).env("LAZARET_TEST_JAIL", jailed);
    // What went wrong is in the chain of an error, and is lost among the frames of a runtime.
    command.env("RUST_BACKTRACE", "0");
    let status = child::status("cargo nextest", &mut command, Duration::MAX)?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

fn prepare(workspace: &Workspace, steps: &mut Steps) -> Result<()> {
    let program = workspace.program("lazaret");
    // Most often they are on the same disk.
    let to_build = if program.exists() { 0 } else { TO_BUILD + TO_TEST };
    let needs = [(program, to_build, "a first build and the tests"), (env::temp_dir(), TO_TEST, "the tests")];
    for (folder, needed, what) in needs {
        if let Some(warning) = room::lack(&folder, needed, what) {
            steps.warn(warning);
        }
    }
    steps.step("fmt", || child::run("cargo fmt", workspace.cargo("fmt").args(["--all", "--check"])))?;
    steps.step("tools", || {
        packages::ensure(&C_BUILD)?;
        packages::ensure(&[CURL])?;
        tools::ensure_cargo_tools(workspace, &tools::CARGO_TOOLS)?;
        servers::ensure_installed(workspace)
    })
}

fn check(workspace: &Workspace, steps: &mut Steps) -> Result<()> {
    steps.step("clippy", || {
        for features in [ALL.as_slice(), &ALL[..1]] {
            let arguments = ["--all-targets", "--", "-D", "warnings"];
            child::run("cargo clippy", workspace.cargo("clippy").args(features).args(arguments))?;
        }
        Ok(())
    })?;
    steps.step("rustdoc", || {
        let mut command = workspace.cargo("doc");
        command.args(ALL).arg("--no-deps").env("RUSTDOCFLAGS", "-Dwarnings");
        child::run("cargo doc", &mut command)
    })?;
    let advisories = steps.step("deny", || deny(workspace))?;
    if !advisories {
        steps.warn(ADVISORIES_UNREACHABLE.to_owned());
    }
    steps.step("machete", || child::run("cargo machete", &mut workspace.cargo("machete")))?;
    steps.step("build", || child::run("cargo build", workspace.cargo("build").args(ALL).arg("--all-targets")))?;
    steps.step("settings schema", || schema::check(workspace))
}

/// Whether the advisories could be checked. Everything else needs no network, and always is.
fn deny(workspace: &Workspace) -> Result<bool> {
    let check = || {
        let mut command = workspace.cargo("deny");
        command.args(["check", "--hide-inclusion-graph"]);
        command
    };
    child::run("cargo deny", check().args(["bans", "licenses", "sources"]))?;
    let mut fetch = workspace.cargo("deny");
    let fetched = child::status("cargo deny fetch", fetch.args(["fetch", "db"]), FETCH_WITHIN)?.success();
    if fetched {
        child::run("cargo deny", check().arg("advisories"))?;
    }
    Ok(fetched)
}

/// The steps done so far and the time each took.
#[derive(Default)]
struct Steps {
    done: Vec<(&'static str, Duration)>,
    warnings: Vec<String>,
}

impl Steps {
    fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        say::step(name);
        let started = Instant::now();
        let result = work().with_context(|| format!("{name} did not pass"))?;
        self.done.push((name, started.elapsed()));
        Ok(result)
    }

    /// Said at once, and again before the tests, where it is not scrolled away.
    fn warn(&mut self, warning: String) {
        say::loud(&warning);
        self.warnings.push(warning);
    }

    fn print(&self) {
        say::step("passed so far");
        for (name, took) in &self.done {
            eprintln!("{:>8.1} s  {name}", took.as_secs_f64());
        }
    }
}
