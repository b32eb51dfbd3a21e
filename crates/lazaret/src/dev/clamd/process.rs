//! Our own clamd: its settings, its signatures, its life.

use std::{
    env, fs,
    os::unix::{
        fs::{DirBuilderExt, PermissionsExt, symlink},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::{SYSTEM_DATABASE, Signatures};
use crate::{
    settings::{ClamdAddress, Size},
    tied,
};

/// What it scans whole: below its own cap of 2^31 - 3 bytes.
pub(super) const MAX_SIZE: Size = Size::mib(2000);

const TEST_SIGNATURES: [(&str, &str); 2] = [
    ("lazaret-test.hdb", include_str!("../../../../../fixtures/clamav/lazaret-test.hdb")),
    ("lazaret-test.ndb", include_str!("../../../../../fixtures/clamav/lazaret-test.ndb")),
];
const LOG: &str = "clamd.log";
/// How the folder of its files is called, and what leads there from the folder of `lazaret dev`.
const PREFIX: &str = "lazaret-clamd-";
const LINK: &str = "clamd-files";
/// Loading the system's whole database takes up to a minute on a slow machine.
const READY_WITHIN: Duration = Duration::from_mins(3);
const ASK_EVERY: Duration = Duration::from_millis(20);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The longest path of a unix socket on Linux, in bytes (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// A clamd that ends with this value, and with this process whatever becomes of it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    address: ClamdAddress,
    /// All that it reads and writes.
    files: TempDir,
    /// Where its log goes when it fails.
    kept_log: PathBuf,
}

impl Process {
    /// Starts it and waits until it listens. Where it fails, its log is kept in `home`.
    pub(super) async fn start(home: &Path, signatures: Signatures) -> Result<Self> {
        let program = find().ok_or_else(|| {
            anyhow!(
                "no clamd runs here and none is installed; run `apt-get install clamav-daemon`, or name one with \
                 --clamd. Nothing is published without it"
            )
        })?;
        let files = private_folder(&home.join(LINK))?;
        let folder = files.path();
        let unwritable = || format!("the folder {} cannot be written", folder.display());
        for part in ["tmp", "db"] {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.join(part)).with_context(unwritable)?;
        }
        let database = match signatures {
            Signatures::System => SYSTEM_DATABASE.into(),
            Signatures::BuiltInTest | Signatures::External => {
                for (name, text) in TEST_SIGNATURES {
                    fs::write(folder.join("db").join(name), text).with_context(unwritable)?;
                }
                folder.join("db")
            }
        };
        let (socket, conf) = (socket(folder)?, folder.join("clamd.conf"));
        fs::write(&conf, settings(&socket, &database, &folder.join("tmp"))).with_context(unwritable)?;
        let out = fs::File::create(folder.join(LOG)).with_context(unwritable)?;
        let child = tied::command(&program)?
            .arg("--config-file")
            .arg(&conf)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        info!(program = %program.display(), signatures = signatures.name(), "clamd starts");
        let address = format!("unix:{}", socket.display()).parse().map_err(|error: String| anyhow!(error))?;
        let mut process = Self { child, address, files, kept_log: home.join(LOG) };
        process.wait_until_it_listens(&socket).await?;
        Ok(process)
    }

    pub(super) const fn address(&self) -> &ClamdAddress {
        &self.address
    }

    /// Returns when it ended by itself.
    pub(super) async fn ended(&mut self) -> anyhow::Error {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return self.over(status),
                Ok(None) => sleep(LOOK_EVERY).await,
                Err(error) => return anyhow!("clamd cannot be watched: {error}"),
            }
        }
    }

    async fn wait_until_it_listens(&mut self, socket: &Path) -> Result<()> {
        let began = Instant::now();
        while UnixStream::connect(socket).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.over(status));
            }
            if began.elapsed() > READY_WITHIN {
                bail!("clamd did not listen within {} s{}", READY_WITHIN.as_secs(), self.keep_log());
            }
            sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    fn over(&self, status: ExitStatus) -> anyhow::Error {
        let text = fs::read_to_string(self.files.path().join(LOG)).unwrap_or_default();
        let said = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        anyhow!(
            "the clamd of `lazaret dev` ended by itself ({status}), and nothing is published without one: {said}{}; \
             start `lazaret dev` again (what was not settled is looked at again), or name another clamd with --clamd",
            self.keep_log()
        )
    }

    /// Copies the log to where it outlives us, and says where that is.
    fn keep_log(&self) -> String {
        match fs::copy(self.files.path().join(LOG), &self.kept_log) {
            Ok(_) => format!("; its log is {}", self.kept_log.display()),
            Err(error) => format!("; its log cannot be kept as {}: {error}", self.kept_log.display()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It holds nothing that an orderly end would save. An error means that it ended before.
        self.child.kill().ok();
        self.child.wait().ok();
        // Its target goes with us; the next start would pass over one that leads nowhere.
        fs::remove_file(self.kept_log.with_file_name(LINK)).ok();
    }
}

/// The program, where packages put it or on the path.
fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join("clamd"));
    ["/usr/sbin/clamd", "/usr/local/sbin/clamd"]
        .into_iter()
        .map(PathBuf::from)
        .chain(on_path)
        .find(|path| path.is_file())
}

/// Among the temporary files, because Debian's AppArmor profile lets clamd use no folder of a user's. `link` leads to
/// it, and to what a killed `lazaret dev` had no time to remove.
fn private_folder(link: &Path) -> Result<TempDir> {
    if let Ok(left) = fs::read_link(link) {
        // It may have gone with a restart of the machine; whoever may not remove it did not make it.
        if left.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes())) {
            fs::remove_dir_all(&left).ok();
        }
        fs::remove_file(link).with_context(|| format!("{} cannot be removed", link.display()))?;
    }
    let mode = fs::Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(mode)
        .tempdir()
        .with_context(|| format!("no folder for clamd can be made in {}; set TMPDIR", env::temp_dir().display()))?;
    symlink(folder.path(), link).with_context(|| format!("{} cannot be made", link.display()))?;
    Ok(folder)
}

fn socket(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("clamd.sock");
    if path.as_os_str().len() > MAX_SOCKET_PATH {
        bail!("{} is too long a path for the socket of clamd; set TMPDIR to a shorter one", path.display());
    }
    Ok(path)
}

/// clamd.conf(5). What it does not look at it must say; the time of one scan ends before the scanner's time-out.
fn settings(socket: &Path, database: &Path, temporary: &Path) -> String {
    let paths = [("LocalSocket", socket), ("DatabaseDirectory", database), ("TemporaryDirectory", temporary)];
    let mut text: String = paths.map(|(name, path)| format!("{name} {}\n", quoted(path))).concat();
    text.push_str(
        "Foreground yes\n\
         LocalSocketMode 600\n\
         FixStaleSocket yes\n\
         AlertExceedsMax yes\n\
         AlertEncrypted yes\n\
         AlertBrokenMedia no\n\
         MaxScanTime 50000\n\
         MaxFileSize 2000M\n\
         MaxScanSize 4000M\n\
         StreamMaxLength 2000M\n\
         ExitOnOOM yes\n",
    );
    text
}

/// A value with a space in it is quoted.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
