//! A child that the kernel ends when we end, however we end.
//!
//! The parent-death signal can only be asked for by the child itself, so this program is started once more: it asks,
//! and then becomes the other program.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt,
    path::Path,
    process::{self, Command},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// The hidden command of this program that does it.
pub(crate) const COMMAND: &str = "tied-to-parent";

/// A command that runs `program`, for as long at most as the *thread* lives that spawns it.
pub(crate) fn command(program: &Path) -> Result<Command> {
    let this = env::current_exe().context("this program does not know where it lies")?;
    let mut command = Command::new(this);
    // In a group of its own it does not see Ctrl-C, so it serves us until we are drained.
    command.process_group(0).arg(COMMAND).arg(process::id().to_string()).arg(program);
    Ok(command)
}

/// Becomes `program`; returns only when that fails.
pub(crate) fn become_program(parent: i32, program: &OsString, arguments: &[OsString]) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("the parent-death signal cannot be set")?;
    // The parent may have ended before we asked.
    if getppid() != Pid::from_raw(parent) {
        bail!("the parent has ended");
    }
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("{} cannot be started", program.display()))
}
