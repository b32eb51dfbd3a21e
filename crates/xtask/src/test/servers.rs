//! The servers that the tests talk to: ministack (S3 and SQS) and clamd, on loopback.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::geteuid;

use super::tools;
use crate::child::{self, Running};
use crate::scratch::Scratch;
use crate::workspace::Workspace;
use crate::{packages, stop};

const START_WITHIN: Duration = Duration::from_secs(30);
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// A free port can be taken between the look and the start: then another one is tried.
const START_ATTEMPTS: usize = 3;

/// Both servers, until dropped. The processes are dropped before the folder they work in.
pub(super) struct Servers {
    ministack: Server,
    clamd: Server,
    scratch: Scratch,
}

struct Server {
    address: SocketAddr,
    /// Held for its drop, which stops the server.
    _process: Running,
}

impl Servers {
    pub(super) fn start(workspace: &Workspace) -> Result<Self> {
        let scratch = Scratch::new("test")?;
        let folder = scratch.path();
        let program = tools::ministack(workspace);
        let ministack =
            start("ministack", folder, |address| Ok(ministack(&program, address, folder)), ministack_answers)?;
        copy_folder(&workspace.fixture("clamav"), &database(folder))?;
        let socket = socket(folder);
        let clamd =
            start("clamd", folder, |address| clamd(address, folder), |address| clamd_answers(address, &socket))?;
        Ok(Self { ministack, clamd, scratch })
    }

    /// What the tests find in their environment (README).
    pub(super) fn environment(&self) -> [(&'static str, String); 5] {
        let aws = format!("http://{}", self.ministack.address);
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        [
            ("LAZARET_TEST_S3_ENDPOINT", aws.clone()),
            ("LAZARET_TEST_SQS_ENDPOINT", aws),
            ("LAZARET_TEST_CLAMD_SOCKET", path(socket(self.scratch.path()))),
            ("LAZARET_TEST_CLAMD_TCP", self.clamd.address.to_string()),
            ("LAZARET_TEST_CLAMD_DATABASE", path(database(self.scratch.path()))),
        ]
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("clamd.sock")
}

fn database(folder: &Path) -> PathBuf {
    folder.join("signatures")
}

fn ministack(program: &Path, address: SocketAddr, folder: &Path) -> Command {
    let mut command = child::command(program);
    command
        .current_dir(folder)
        .env("BIND_HOST", address.ip().to_string())
        .env("GATEWAY_PORT", address.port().to_string())
        .env("SERVICES", "s3,sqs")
        // Its MQTT listener is on by default, on one fixed port.
        .env("IOT_MTLS_ENABLED", "0")
        .env("LOG_LEVEL", "WARNING")
        .env("TMPDIR", folder)
        .env("S3_DATA_DIR", folder.join("s3"));
    // It would believe in the credentials of whoever runs the tests, and in no others.
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        command.env_remove(name);
    }
    command
}

/// Limits far above the stock ones, so that a test of large objects meets Lazaret's limits and not clamd's.
fn clamd(address: SocketAddr, folder: &Path) -> Result<Command> {
    let program = packages::find("clamd").context("clamd is gone again")?;
    let temporary = folder.join("clamd-temporary");
    fs::create_dir_all(&temporary)?;
    let mut settings = format!(
        "DatabaseDirectory {}\nLocalSocket {}\nLocalSocketMode 600\nFixStaleSocket yes\nTemporaryDirectory {}\n\
         TCPAddr {}\nTCPSocket {}\nForeground yes\nDisableCache yes\n\
         AlertExceedsMax yes\nAlertEncrypted yes\nMaxScanTime 120000\n\
         MaxFileSize 2000M\nMaxScanSize 2000M\nStreamMaxLength 2000M\n",
        database(folder).display(),
        socket(folder).display(),
        temporary.display(),
        address.ip(),
        address.port(),
    );
    if geteuid().is_root() {
        settings.push_str("User root\n");
    }
    let file = folder.join("clamd.conf");
    fs::write(&file, settings)?;
    let mut command = child::command(program);
    command.arg("--config-file").arg(file).current_dir(folder);
    Ok(command)
}

/// Starts a server on a free port and waits until it answers there.
fn start(
    name: &str,
    folder: &Path,
    command: impl Fn(SocketAddr) -> Result<Command>,
    answers: impl Fn(SocketAddr) -> bool,
) -> Result<Server> {
    let log = folder.join(format!("{name}.log"));
    for _ in 0..START_ATTEMPTS {
        let address = free_address()?;
        let output = File::create(&log)?;
        let mut command = command(address)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let mut process = Running::start(name, &mut command)?;
        let up = stop::poll(START_WITHIN, || {
            Ok(if process.ended()?.is_some() { Some(false) } else { answers(address).then_some(true) })
        })?;
        if up == Some(true) {
            return Ok(Server { address, _process: process });
        }
    }
    let said = fs::read_to_string(&log).unwrap_or_else(|error| format!("(no log: {error})"));
    bail!("{name} does not answer; it says:\n{}", said.trim())
}

fn ministack_answers(address: SocketAddr) -> bool {
    let request = "GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    connect(address).is_ok_and(|stream| says(stream, request, "HTTP/1.1 200"))
}

fn clamd_answers(address: SocketAddr, socket: &Path) -> bool {
    connect(address).is_ok_and(|stream| says(stream, "zPING\0", "PONG")) && UnixStream::connect(socket).is_ok()
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    Ok(stream)
}

fn says(mut stream: TcpStream, question: &str, answer: &str) -> bool {
    let mut reply = vec![0; answer.len()];
    stream.write_all(question.as_bytes()).is_ok() && stream.read_exact(&mut reply).is_ok() && reply == answer.as_bytes()
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on loopback")?;
    Ok(listener.local_addr()?)
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
