//! The commands.

mod config;
mod dead_letters;
mod doctor;
mod lists;
mod migrate;
mod queue;
mod reconcile;
mod rescan;
mod scan;
mod session;
mod sweep;
mod worker;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::{
    cli::{Cli, Command, Config, Queue},
    dev,
    settings::Settings,
    telemetry::{self, LogSetup},
    tied,
};

/// Runs a command to its end.
pub fn run(cli: &Cli) -> Result<ExitCode> {
    let (named, form) = (cli.config.as_deref(), cli.output);
    match &cli.command {
        Command::Config(Config::Check) => config::check(named, form)?,
        Command::Config(Config::Schema) => config::schema()?,
        Command::Dev(arguments) => return dev::run(arguments, named, form),
        Command::Tied { parent, program, arguments } => tied::become_program(*parent, program, arguments)?,
        Command::Worker => {
            let settings = Settings::load(named)?.settings;
            let _logging = telemetry::init(&LogSetup::service(&settings))?;
            let runtime = runtime()?;
            let ended = runtime.block_on(worker::run(&settings));
            // What still looks at an archive that was given back is not waited for.
            runtime.shutdown_background();
            ended?;
        }
        Command::Sweep { .. }
        | Command::Migrate
        | Command::Session(_)
        | Command::Scan(_)
        | Command::Reconcile(_)
        | Command::Rescan(_)
        | Command::Lists(_)
        | Command::Queue(_)
        | Command::DeadLetters(_)
        | Command::Doctor => {
            let settings = Settings::load(named)?.settings;
            let _logging = telemetry::init(&LogSetup::command(&settings))?;
            return runtime()?.block_on(once(&settings, cli));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A command that ends by itself.
async fn once(settings: &Settings, cli: &Cli) -> Result<ExitCode> {
    let form = cli.output;
    match &cli.command {
        Command::Sweep { dry_run } => sweep::run(settings, *dry_run, form).await?,
        Command::Migrate => migrate::run(settings, form).await?,
        Command::Session(command) => session::run(settings, command, form).await?,
        Command::Scan(arguments) => return scan::run(settings, arguments, form).await,
        Command::Reconcile(arguments) => return reconcile::run(settings, arguments, form).await,
        Command::Rescan(arguments) => return rescan::run(settings, arguments, form).await,
        Command::Lists(command) => lists::run(settings, command, form).await?,
        Command::Queue(Queue::Declare) => queue::declare(settings, form).await?,
        Command::DeadLetters(command) => return dead_letters::run(settings, command, form).await,
        Command::Doctor => return doctor::run(settings, form).await,
        Command::Config(_) | Command::Dev(_) | Command::Worker | Command::Tied { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("the runtime cannot start")
}
