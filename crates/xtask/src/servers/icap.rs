//! c-icap with its service for viruses, and clamd behind it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};

use super::server::{Recipe, says};
use crate::child::{self, StopWith};
use crate::packages;

const SERVICE: &str = "virus_scan";

/// It asks clamd for its version when it starts, so that one has to be up.
pub(super) fn recipe(clamd: &Path, folder: &Path) -> Result<Recipe> {
    let (clamd, folder) = (clamd.to_owned(), folder.join("c-icap"));
    fs::create_dir_all(folder.join("temporary"))?;
    Ok(Recipe {
        name: "c-icap",
        command: Box::new(move |address| {
            let program = packages::find("c-icap").context("c-icap is gone again")?;
            let file = folder.join("c-icap.conf");
            fs::write(&file, settings(address, &clamd, &folder))?;
            let mut command = child::command(program);
            // Not as a daemon, and with its words on the standard output.
            command.args(["-N", "-D", "-f"]).arg(file).current_dir(&folder);
            Ok(command)
        }),
        answers: Box::new(|address| {
            let question = format!("OPTIONS icap://{address}/{SERVICE} ICAP/1.0\r\nHost: {address}\r\n\r\n");
            says(address, question.as_bytes(), b"ICAP/1.0 200 ")
        }),
        stop_with: StopWith::Term,
    })
}

pub(super) fn url(address: SocketAddr) -> String {
    format!("icap://{address}/{SERVICE}")
}

/// What it scans, and how it answers, are Debian's stock settings: they pass over types and sizes, which the tests see.
fn settings(address: SocketAddr, clamd: &Path, folder: &Path) -> String {
    let (folder, clamd) = (folder.display(), clamd.display());
    format!(
        "PidFile {folder}/c-icap.pid\nCommandsSocket {folder}/c-icap.ctl\nTmpDir {folder}/temporary\n\
         ServerLog {folder}/server.log\nAccessLog {folder}/access.log\n\
         Port {address}\nServerAdmin nobody@localhost\nServerName localhost\n\
         StartServers 1\nMaxServers 2\nThreadsPerChild 40\nMinSpareThreads 1\nMaxSpareThreads 80\n\
         LoadMagicFile /etc/c-icap/c-icap.magic\n\
         Service antivirus_module virus_scan.so\n\
         virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE\n\
         virus_scan.SendPercentData 5\nvirus_scan.StartSendPercentDataAfter 2M\nvirus_scan.MaxObjectSize 5M\n\
         Module common clamd_mod.so\nclamd_mod.ClamdSocket {clamd}\n"
    )
}
