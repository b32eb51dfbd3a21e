//! The command line over one settings file.

use std::{collections::BTreeMap, path::PathBuf, process::Command, time::Duration};

use anyhow::{Result, ensure};
use lazaret_core::PublishedImage;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    objects::Upload,
    program::{Ended, lazaret},
    wait::until,
};

/// `lazaret --config FILE`, with settings in the environment over the file.
#[derive(Debug, Clone)]
pub struct Cli {
    /// The settings file.
    pub config: PathBuf,
    environment: BTreeMap<String, String>,
}

/// The variable that sets a setting: `worker.lease` is `LAZARET__WORKER__LEASE`.
pub fn variable(key: &str) -> String {
    format!("LAZARET__{}", key.to_uppercase().replace('.', "__"))
}

/// What `session create` prints.
#[derive(Debug, Clone, Deserialize)]
pub struct Created {
    /// The session's id.
    pub upload_id: String,
    /// The id of the object it may become.
    pub object_id: String,
    /// Where to upload to.
    pub bucket: String,
    /// Under which key.
    pub key: String,
    /// The pre-signed URL.
    pub put_url: String,
    /// The headers that were signed with it.
    pub headers: BTreeMap<String, String>,
}

/// What `session show` prints.
#[derive(Debug, Clone, Deserialize)]
pub struct Shown {
    /// The state.
    pub state: String,
    /// The reason code.
    pub reason: Option<String>,
    /// Where the published copy is.
    pub published: Option<Published>,
    /// The whole story as it was printed.
    #[serde(flatten)]
    pub story: BTreeMap<String, Value>,
}

/// A published copy as its session records it.
#[derive(Debug, Clone, Deserialize)]
pub struct Published {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Its type.
    pub content_type: String,
    /// Its length.
    pub size: u64,
    /// Its digest.
    pub sha256: String,
    /// What can be seen of it, with its variants.
    pub image: Option<PublishedImage>,
}

impl Shown {
    /// State and reason on one line: `published`, `rejected/infected`.
    pub fn outcome(&self) -> String {
        self.reason.as_ref().map_or_else(|| self.state.clone(), |reason| format!("{}/{reason}", self.state))
    }

    /// Whether the pipeline has nothing more to do with it.
    pub fn is_settled(&self) -> bool {
        !matches!(self.state.as_str(), "created" | "uploaded" | "finalized")
    }

    /// The records of one part of the story: `audit`, `attempts`, `verdicts`.
    pub fn records(&self, part: &str) -> &[Value] {
        self.story.get(part).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// How often the audit trail says that this state was reached.
    pub fn times_reached(&self, state: &str) -> usize {
        self.records("audit").iter().filter(|record| record["to"] == state && record["from"] != state).count()
    }
}

impl Cli {
    /// Over the settings in this file.
    pub const fn new(config: PathBuf) -> Self {
        Self { config, environment: BTreeMap::new() }
    }

    /// Sets one setting over the file: `("worker.lease", "3s")`.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.environment.insert(variable(key), value.into());
    }

    /// The command, to which a subcommand is to be added.
    pub fn command(&self) -> Command {
        let mut command = lazaret();
        command.arg("--config").arg(&self.config).envs(&self.environment);
        command
    }

    /// Runs a subcommand to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Ended> {
        Ended::run(self.command().args(arguments))
    }

    /// Runs a subcommand that has to succeed.
    pub fn succeed(&self, arguments: &[&str]) -> Result<Ended> {
        let ended = self.run(arguments)?;
        ensure!(ended.code == Some(0), "{arguments:?}: {ended:?}");
        Ok(ended)
    }

    /// `session create` for an upload.
    pub fn create(&self, upload: &Upload) -> Result<Created> {
        self.create_with(upload, &[])
    }

    /// `session create` with more options.
    pub fn create_with(&self, upload: &Upload, options: &[&str]) -> Result<Created> {
        let size = upload.declared_size.to_string();
        let mut arguments = vec!["session", "create", "--output", "json", "--tenant", "acme"];
        arguments.extend(["--file-name", &upload.file_name, "--content-type", &upload.content_type, "--size", &size]);
        if let Some(sha256) = &upload.declared_sha256 {
            arguments.extend(["--sha256", sha256]);
        }
        arguments.extend(options);
        self.run(&arguments)?.json()
    }

    /// `session create`, and the upload as an ordinary client makes it.
    pub async fn submit(&self, upload: &Upload) -> Result<Created> {
        let created = self.create(upload)?;
        put(&created, upload.bytes.clone()).await?;
        Ok(created)
    }

    /// `session show`.
    pub fn show(&self, upload_id: &str) -> Result<Shown> {
        self.run(&["session", "show", "--output", "json", upload_id])?.json()
    }

    /// The session once it is settled.
    pub async fn settled(&self, upload_id: &str, within: Duration) -> Result<Shown> {
        until(&format!("session {upload_id} is settled"), within, async || {
            let shown = self.show(upload_id)?;
            Ok(shown.is_settled().then_some(shown))
        })
        .await
    }
}

/// Sends `body` to a session's URL with the headers that were signed.
pub async fn put(created: &Created, body: impl Into<reqwest::Body>) -> Result<()> {
    let mut request = reqwest::Client::builder().no_proxy().build()?.put(&created.put_url).body(body);
    for (name, value) in &created.headers {
        request = request.header(name, value);
    }
    let answer = request.send().await?;
    let status = answer.status();
    ensure!(status.is_success(), "PUT answers {status}: {}", answer.text().await?);
    Ok(())
}
