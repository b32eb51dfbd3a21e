//! The servers that the tests talk to, on loopback, each with a folder of its own.

mod clamd;
mod http;
mod icap;
mod postgres;
mod rabbitmq;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::packages::{self, C_ICAP, C_ICAP_VIRUS_SCAN, CLAMAV, FAKETIME, POSTGRESQL, PYTHON_VENV, RABBITMQ};
use crate::scratch::Scratch;
use crate::tools::{MINISTACK, MOTO, PYTHON};
use crate::workspace::Workspace;
use crate::{say, stop};
use server::{Server, Starting};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Installs what the servers are made of, where it is missing.
pub(crate) fn ensure_installed(workspace: &Workspace) -> Result<()> {
    packages::ensure(&[C_ICAP, C_ICAP_VIRUS_SCAN, CLAMAV, FAKETIME, POSTGRESQL, RABBITMQ, PYTHON_VENV])?;
    MINISTACK.ensure(workspace)?;
    MOTO.ensure(workspace)?;
    PYTHON.ensure(workspace)
}

/// `cargo xtask servers`: all of them, until Ctrl-C.
pub(crate) fn run() -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    ensure_installed(&workspace)?;
    say::step("servers");
    let mut servers = Begun::begin(&workspace)?.ready()?;
    for (name, value) in servers.environment() {
        println!("export {name}={value}");
    }
    say::step("up until Ctrl-C");
    while !stop::requested() {
        servers.ensure_up()?;
        stop::pause(LOOK_EVERY);
    }
    Ok(ExitCode::SUCCESS)
}

/// Servers on their way up: the slow ones start while something else is done. Processes are dropped before the folders
/// they work in.
pub(crate) struct Begun {
    ministack: Starting,
    moto: Starting,
    clamd: Starting,
    postgres: Starting,
    rabbitmq: Starting,
    epmd: Server,
    python: PathBuf,
    folders: Folders,
}

struct Folders {
    mine: Scratch,
    /// PostgreSQL refuses root, and its user cannot look into ours.
    postgres: Scratch,
}

impl Begun {
    pub(crate) fn begin(workspace: &Workspace) -> Result<Self> {
        let folders = Folders { mine: Scratch::new("test")?, postgres: Scratch::new("postgres")? };
        let mine = folders.mine.path();
        let epmd = Starting::begin(rabbitmq::epmd(), mine)?.ready()?;
        let rabbitmq = Starting::begin(rabbitmq::recipe(mine, epmd.address)?, mine)?;
        let postgres = Starting::begin(postgres::recipe(folders.postgres.path())?, mine)?;
        let ministack = Starting::begin(http::ministack(MINISTACK.program(workspace), mine), mine)?;
        let moto = Starting::begin(http::moto(MOTO.program(workspace), mine), mine)?;
        let clamd = Starting::begin(clamd::recipe(&workspace.fixture("clamav"), mine)?, mine)?;
        let python = PYTHON.program(workspace);
        Ok(Self { ministack, moto, clamd, postgres, rabbitmq, epmd, python, folders })
    }

    /// Returns once every one of them answers.
    pub(crate) fn ready(self) -> Result<Servers> {
        let mine = self.folders.mine.path();
        let clamd = self.clamd.ready()?;
        let icap = Starting::begin(icap::recipe(&clamd::socket(mine), mine)?, mine)?;
        Ok(Servers {
            ministack: self.ministack.ready()?,
            moto: self.moto.ready()?,
            icap: icap.ready()?,
            clamd,
            postgres: self.postgres.ready()?,
            rabbitmq: self.rabbitmq.ready()?,
            epmd: self.epmd,
            python: self.python,
            folders: self.folders,
        })
    }
}

/// All servers, until dropped: processes before folders.
pub(crate) struct Servers {
    ministack: Server,
    moto: Server,
    icap: Server,
    clamd: Server,
    postgres: Server,
    rabbitmq: Server,
    epmd: Server,
    python: PathBuf,
    folders: Folders,
}

impl Servers {
    /// What the tests find in their environment (README).
    pub(crate) fn environment(&self) -> [(&'static str, String); 10] {
        let aws = format!("http://{}", self.ministack.address);
        let mine = self.folders.mine.path();
        [
            ("LAZARET_TEST_S3_ENDPOINT", aws.clone()),
            ("LAZARET_TEST_SQS_ENDPOINT", aws),
            ("LAZARET_TEST_DISHONEST_S3_ENDPOINT", format!("http://{}", self.moto.address)),
            ("LAZARET_TEST_CLAMD_SOCKET", clamd::socket(mine).display().to_string()),
            ("LAZARET_TEST_CLAMD_TCP", self.clamd.address.to_string()),
            ("LAZARET_TEST_CLAMD_DATABASE", clamd::database(mine).display().to_string()),
            ("LAZARET_TEST_ICAP", icap::url(self.icap.address)),
            ("LAZARET_TEST_POSTGRES_URL", postgres::url(self.postgres.address)),
            ("LAZARET_TEST_AMQP_URL", format!("amqp://guest:guest@{}", self.rabbitmq.address)),
            ("LAZARET_TEST_PYTHON", self.python.display().to_string()),
        ]
    }

    fn ensure_up(&mut self) -> Result<()> {
        let all = [
            &mut self.ministack,
            &mut self.moto,
            &mut self.icap,
            &mut self.clamd,
            &mut self.postgres,
            &mut self.rabbitmq,
            &mut self.epmd,
        ];
        for server in all {
            if let Some(status) = server.ended()? {
                bail!("{} ended by itself ({status})", server.name);
            }
        }
        Ok(())
    }
}

fn text(path: &std::path::Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no UTF-8", path.display()))
}
