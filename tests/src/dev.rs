//! `lazaret dev` in a folder of one test's own.

use std::{
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::{
    cli::Cli,
    program::{Running, lazaret},
    servers::{Servers, s3_client},
    store::Store,
    wait::until,
};

const READY_WITHIN: Duration = Duration::from_secs(60);

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
    /// Starts it over `folder`/data with the shared clamd and these settings in its environment, and waits until it
    /// is ready.
    pub async fn start(folder: &Path, environment: &[(&str, &str)]) -> Result<Self> {
        let servers = Servers::from_environment()?;
        let mut command = lazaret();
        command.args(["dev", "--listen", "127.0.0.1:0", "--output", "json", "--data-dir"]).arg(folder.join("data"));
        command.env("LAZARET__SCANNER__0__ADDRESS", format!("unix:{}", servers.clamd_socket.display()));
        command.envs(environment.iter().copied());
        let mut process = Running::start(&mut command, folder, "dev")?;
        let line = until("lazaret dev is ready", READY_WITHIN, async || {
            process.ensure_up()?;
            Ok(process.stdout()?.split_once('\n').map(|(line, _)| line.to_owned()))
        })
        .await?;
        let ready: Ready = serde_json::from_str(&line).with_context(|| format!("it says first: {line}"))?;
        let client = s3_client(&ready.endpoint, &ready.access_key_id, &ready.secret_access_key);
        let store = Store { client, bucket: ready.bucket.clone() };
        let cli = Cli::new(ready.config.clone());
        Ok(Self { ready, store, process, cli })
    }
}
