//! clamd, with the signatures of `fixtures/clamav`.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::process::geteuid;

use super::server::{Recipe, says};
use crate::child::{self, StopWith};
use crate::packages;

pub(super) fn recipe(signatures: &Path, folder: &Path) -> Result<Recipe> {
    copy_folder(signatures, &database(folder))?;
    fs::create_dir_all(temporary(folder))?;
    let (folder, socket) = (folder.to_owned(), socket(folder));
    Ok(Recipe {
        name: "clamd",
        command: Box::new(move |address| {
            let program = packages::find("clamd").context("clamd is gone again")?;
            let file = folder.join("clamd.conf");
            fs::write(&file, settings(address, &folder))?;
            let mut command = child::command(program);
            command.arg("--config-file").arg(file).current_dir(&folder);
            Ok(command)
        }),
        answers: Box::new(move |address| says(address, b"zPING\0", b"PONG") && UnixStream::connect(&socket).is_ok()),
        stop_with: StopWith::Term,
    })
}

pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("clamd.sock")
}

pub(super) fn database(folder: &Path) -> PathBuf {
    folder.join("signatures")
}

fn temporary(folder: &Path) -> PathBuf {
    folder.join("clamd-temporary")
}

/// Limits far above the stock ones, so that a test of large objects meets Lazaret's limits and not clamd's.
fn settings(address: SocketAddr, folder: &Path) -> String {
    let mut settings = format!(
        "DatabaseDirectory {}\nLocalSocket {}\nLocalSocketMode 600\nFixStaleSocket yes\nTemporaryDirectory {}\n\
         TCPAddr {}\nTCPSocket {}\nForeground yes\nDisableCache yes\n\
         AlertExceedsMax yes\nAlertEncrypted yes\nMaxScanTime 120000\n\
         MaxFileSize 2000M\nMaxScanSize 2000M\nStreamMaxLength 2000M\n",
        database(folder).display(),
        socket(folder).display(),
        temporary(folder).display(),
        address.ip(),
        address.port(),
    );
    if geteuid().is_root() {
        settings.push_str("User root\n");
    }
    settings
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
