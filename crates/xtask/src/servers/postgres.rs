//! PostgreSQL, whose superuser `postgres` needs no password on loopback.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use rustix::fs::{Gid, Uid, chown};
use rustix::process::geteuid;

use super::server::{Recipe, says};
use super::text;
use crate::child::{self, StopWith};
use crate::packages;

/// Debian's package makes it.
const USER: &str = "postgres";
/// A worker per test, a pool per worker.
const MAX_CONNECTIONS: &str = "max_connections=300";

pub(super) fn recipe(folder: &Path) -> Result<Recipe> {
    let bin = packages::postgresql_bin().context("PostgreSQL is gone again")?;
    if geteuid().is_root() {
        give_away(folder)?;
    }
    let data = folder.join("data");
    let mut initdb = as_user(bin.join("initdb"), "TERM");
    initdb.args(["--username", USER, "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"]);
    child::capture("initdb", initdb.current_dir(folder).arg("--pgdata").arg(&data))?;
    let sockets = format!("unix_socket_directories={}", text(folder)?);
    let folder = folder.to_owned();
    Ok(Recipe {
        name: "postgres",
        command: Box::new(move |address| {
            let mut command = as_user(bin.join("postgres"), "INT");
            command.current_dir(&folder).arg("-D").arg(&data);
            command.args(["-p", &address.port().to_string()]);
            for setting in [&format!("listen_addresses={}", address.ip()), &sockets, MAX_CONNECTIONS] {
                command.args(["-c", setting]);
            }
            Ok(command)
        }),
        answers: Box::new(|address| says(address, &hello(), b"R")),
        // SIGTERM waits for clients to leave.
        stop_with: StopWith::Int,
    })
}

pub(super) fn url(address: SocketAddr) -> String {
    format!("postgres://{USER}@{address}/postgres")
}

/// A new user takes the parent-death signal away, so `setpriv` has to change the user and set it in one go.
fn as_user(program: impl AsRef<OsStr>, dies_with: &str) -> Command {
    let mut command = Command::new("setpriv");
    if geteuid().is_root() {
        command.args(["--reuid", USER, "--regid", USER, "--init-groups"]);
    }
    command.args(["--pdeathsig", dies_with, "--"]).arg(program);
    command
}

fn give_away(folder: &Path) -> Result<()> {
    let id = |option: &str| -> Result<u32> {
        let number = child::capture("id", Command::new("id").args([option, USER]))?;
        Ok(String::from_utf8(number)?.trim().parse()?)
    };
    let (user, group) = (Uid::from_raw(id("-u")?), Gid::from_raw(id("-g")?));
    chown(folder, Some(user), Some(group)).with_context(|| format!("cannot give {} away", folder.display()))
}

/// The start-up message; an answer that begins with `R` says that it is up and lets us in
/// (<https://www.postgresql.org/docs/15/protocol-message-formats.html>).
fn hello() -> Vec<u8> {
    let parameters = format!("user\0{USER}\0database\0postgres\0\0");
    let protocol = 0x0003_0000_u32.to_be_bytes();
    let length = u32::try_from(4 + protocol.len() + parameters.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), &protocol, parameters.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::hello;

    #[test]
    fn the_greeting_says_its_own_length() {
        let hello = hello();
        let length = u32::from_be_bytes(hello[..4].try_into().expect("four bytes"));
        assert_eq!(usize::try_from(length).expect("it fits"), hello.len());
    }
}
