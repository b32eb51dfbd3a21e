#![doc = include_str!("../README.md")]

mod bench;
mod build;
mod child;
mod demo;
mod fuzz;
mod packages;
mod room;
mod say;
mod schema;
mod scratch;
mod servers;
mod stop;
mod test;
mod tools;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The repository's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the programs, the jailed one linked statically
    Build {
        /// With optimisations
        #[arg(long)]
        release: bool,
    },
    /// Send real files through `lazaret dev` and check what becomes of each
    Demo {
        /// Stay up afterwards, until Ctrl-C
        #[arg(long)]
        keep: bool,
    },
    /// Check formatting, lints, docs and dependencies, then run all tests against real servers
    Test {
        /// Passed on to `cargo nextest run`: filters, `--no-capture`, …
        #[arg(last = true)]
        nextest: Vec<String>,
    },
    /// Start the servers that the tests need, print where they are, keep them up until Ctrl-C
    Servers,
    /// Measure small objects through replicas, images beside libvips and Pillow, scans beside clamdscan
    Bench(bench::Bench),
    /// Run the fuzz targets, each for a minute
    Fuzz(fuzz::Fuzz),
    /// Write config/schema.json
    Schema,
}

fn main() -> ExitCode {
    let done = stop::listen().and_then(|()| match Arguments::parse().command {
        Command::Build { release } => build::run(release),
        Command::Demo { keep } => demo::run(keep),
        Command::Test { nextest } => test::run(&nextest),
        Command::Servers => servers::run(),
        Command::Bench(bench) => bench::run(bench),
        Command::Fuzz(fuzz) => fuzz::run(&fuzz),
        Command::Schema => schema::write().map(|()| ExitCode::SUCCESS),
    });
    done.unwrap_or_else(|error| {
        say::failure(&format!("{error:#}"));
        if stop::requested() { ExitCode::from(130) } else { ExitCode::FAILURE }
    })
}
