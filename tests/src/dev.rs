//! `lazaret dev` in a folder of one test's own.

use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{
    cli::{Cli, variable},
    program::{Running, lazaret},
    servers::{Servers, s3_client},
    store::Store,
    wait::until,
};

const READY_WITHIN: Duration = Duration::from_mins(1);

/// What `lazaret dev --output json` says first.
#[derive(Debug, Clone, Deserialize)]
pub struct Ready {
    /// The S3 endpoint.
    pub endpoint: String,
    /// The settings file that the other commands read.
    pub config: PathBuf,
    /// Credentials for the endpoint.
    pub access_key_id: String,
    /// Their secret.
    pub secret_access_key: String,
    /// The bucket.
    pub bucket: String,
    /// Where `/metrics` and its relatives answer.
    pub telemetry: String,
}

/// A running `lazaret dev`. Dereferences to the command line over its settings.
#[derive(Debug)]
pub struct Dev {
    /// What it said first.
    pub ready: Ready,
    /// Its bucket.
    pub store: Store,
    /// The process.
    pub process: Running,
    cli: Cli,
}

impl Deref for Dev {
    type Target = Cli;

    fn deref(&self) -> &Cli {
        &self.cli
    }
}

impl DerefMut for Dev {
    fn deref_mut(&mut self) -> &mut Cli {
        &mut self.cli
    }
}

impl Dev {
    /// Starts it over `folder`/data with the shared clamd and these settings in the environment, and waits until it is
    /// ready. The command line gets the same settings.
    pub async fn start(folder: &Path, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(folder, settings, |_| {}).await
    }

    /// [`Dev::start`] with something changed about the command.
    pub async fn start_with(
        folder: &Path,
        settings: &[(&str, &str)],
        change: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let servers = Servers::from_environment()?;
        let mut command = lazaret();
        command.args(["dev", "--listen", "127.0.0.1:0", "--output", "json", "--data-dir"]).arg(folder.join("data"));
        command.arg("--clamd").arg(format!("unix:{}", servers.clamd_socket.display()));
        command.envs(settings.iter().map(|(key, value)| (variable(key), *value)));
        change(&mut command);
        let mut process = Running::start(&mut command, folder, "dev")?;
        let line = until("lazaret dev is ready", READY_WITHIN, async || {
            process.ensure_up()?;
            Ok(process.stdout()?.split_once('\n').map(|(line, _)| line.to_owned()))
        })
        .await?;
        let ready: Ready = serde_json::from_str(&line).with_context(|| format!("it says first: {line}"))?;
        let client = s3_client(&ready.endpoint, &ready.access_key_id, &ready.secret_access_key);
        let store = Store { client, bucket: ready.bucket.clone() };
        let mut cli = Cli::new(ready.config.clone());
        for (key, value) in settings {
            cli.set(key, *value);
        }
        Ok(Self { ready, store, process, cli })
    }
}
