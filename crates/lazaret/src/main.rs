//! The program `lazaret`.

use std::process::ExitCode;

use clap::Parser;
use lazaret::{cli::Cli, command, failure};

fn main() -> ExitCode {
    match command::run(&Cli::parse()) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}
