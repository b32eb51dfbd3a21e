//! No credential, signature or token in a log, a metric or a record, whatever the log level.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use lazaret_tests::{
    cli::{Cli, Created},
    dev::Dev,
    objects::{Upload, contains, eicar},
    program::{Ended, Running},
    station::Station,
};

use crate::SETTLED_WITHIN;

const SESSION_TOKEN: &str = "lazaret+tests/token0that1is2never3seen4";
const SECRET_ACCESS_KEY: &str = "lazaret+tests/secret0access1key2never3seen";

/// ministack asks for the right key in pre-signed URLs only, so the worker may have one that can be searched for.
#[tokio::test]
async fn a_worker_at_trace_level_tells_no_secret() -> Result<()> {
    let mut station = Station::new().await?;
    let clients = Cli::clone(&station);
    station.set("storage.access_key_id", "AKIALAZARETTESTS0001");
    station.set("storage.secret_access_key", SECRET_ACCESS_KEY);
    let folder = station.folder.path();
    let worker = Running::start(station.command().arg("worker").env("RUST_LOG", "trace"), folder, "worker")?;
    let created = pass_all_ways(&clients).await?;
    let metrics = station.metrics().await?;
    let secrets = secrets(SECRET_ACCESS_KEY, &created)?;
    assert!(worker.stderr()?.contains("\"level\":\"DEBUG\""), "the log is not at trace level");
    assert_silent("/metrics", metrics.text().as_bytes(), &secrets);
    assert_folder_silent(folder, &secrets, &["lazaret.toml"])
}

/// Credentials of the default chain come with a token.
#[tokio::test]
async fn a_worker_at_trace_level_tells_no_session_token() -> Result<()> {
    let station = Station::new().await?;
    let folder = station.folder.path();
    let settings = fs::read_to_string(&station.config)?;
    let without = settings.lines().filter(|line| !line.contains("access_key")).collect::<Vec<_>>().join("\n");
    let config = folder.join("without-credentials.toml");
    fs::write(&config, without)?;
    let mut command = Cli::new(config).command();
    command.arg("worker").env("RUST_LOG", "trace").env("AWS_ACCESS_KEY_ID", "ASIALAZARETTESTS0001");
    command.env("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY).env("AWS_SESSION_TOKEN", SESSION_TOKEN);
    let worker = Running::start(&mut command, folder, "worker")?;
    let created = pass_all_ways(&station).await?;
    let mut secrets = secrets(SECRET_ACCESS_KEY, &created)?;
    secrets.push(SESSION_TOKEN.to_owned());
    assert!(worker.stderr()?.contains("\"level\":\"DEBUG\""), "the log is not at trace level");
    assert_silent("/metrics", station.metrics().await?.text().as_bytes(), &secrets);
    assert_folder_silent(folder, &secrets, &["lazaret.toml"])
}

/// Its standard output stream is where the URL is told, and the only place.
#[tokio::test]
async fn session_create_at_trace_level_tells_the_url_once() -> Result<()> {
    let mut station = Station::new().await?;
    station.set("storage.secret_access_key", SECRET_ACCESS_KEY);
    let arguments = ["session", "create", "--output", "json", "--tenant", "acme", "--file-name", "a.txt"];
    let mut command = station.command();
    command.args(arguments).args(["--content-type", "text/plain", "--size", "1"]).env("RUST_LOG", "trace");
    let ended = Ended::run(&mut command)?;
    let created: Created = ended.json()?;
    let secrets = secrets(SECRET_ACCESS_KEY, &[created])?;
    assert_silent("stderr", ended.stderr.as_bytes(), &secrets);
    assert_silent("stdout", ended.stdout.as_bytes(), &secrets[..1]);
    let shown = station.succeed(&["session", "list", "--output", "json"])?;
    assert_silent("session list", shown.stdout.as_bytes(), &secrets);
    assert_folder_silent(station.folder.path(), &secrets, &["lazaret.toml"])
}

#[tokio::test]
async fn lazaret_dev_at_trace_level_tells_no_secret() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let dev = Dev::start_with(folder.path(), &[], |command| {
        command.env("RUST_LOG", "trace");
    })
    .await?;
    let created = pass_all_ways(&dev).await?;
    let metrics = reqwest::get(format!("{}/metrics", dev.ready.telemetry)).await?.text().await?;
    let secrets = secrets(&dev.ready.secret_access_key, &created)?;
    assert_silent("/metrics", metrics.as_bytes(), &secrets);
    assert!(dev.process.stderr()?.contains("DEBUG"), "the log is not at trace level");
    let told = dev.process.stdout()?;
    let (_, later) = told.split_once('\n').context("no first line")?;
    assert_silent("stdout", later.as_bytes(), &secrets);
    // Its own settings, and the first line for whoever started it, are how the credentials are told.
    assert_folder_silent(folder.path(), &secrets, &["lazaret.toml", "credentials", "dev.out"])
}

/// Published by both ways, and rejected.
async fn pass_all_ways(cli: &Cli) -> Result<Vec<Created>> {
    let mut all = Vec::new();
    for upload in [
        Upload::fixture("photo-gps-rotated.jpg", "image/jpeg")?,
        Upload::fixture("page.pdf", "application/pdf")?,
        Upload::new("eicar.txt", "text/plain", eicar()),
    ] {
        all.push(cli.submit(&upload).await?);
    }
    for created in &all {
        cli.settled(&created.upload_id, SETTLED_WITHIN).await?;
    }
    Ok(all)
}

/// The key itself, every signature, and whatever else of the URLs lets somebody in.
fn secrets(secret_access_key: &str, created: &[Created]) -> Result<Vec<String>> {
    let mut secrets = vec![secret_access_key.to_owned(), "X-Amz-Signature=".to_owned(), "Signature=".to_owned()];
    for created in created {
        let url = reqwest::Url::parse(&created.put_url)?;
        let signature = url.query_pairs().find(|(name, _)| name == "X-Amz-Signature").context("an unsigned URL")?;
        secrets.push(signature.1.into_owned());
    }
    Ok(secrets)
}

fn assert_silent(what: &str, bytes: &[u8], secrets: &[String]) {
    for secret in secrets {
        // What was masked may say so.
        let text = String::from_utf8_lossy(bytes).replace("Signature=[redacted]", "");
        let at = text.lines().find(|line| contains(line.as_bytes(), secret.as_bytes()));
        assert!(at.is_none(), "{what} tells {secret:?}: {}", at.unwrap_or_default());
    }
}

fn assert_folder_silent(folder: &Path, secrets: &[String], except: &[&str]) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            assert_folder_silent(&entry.path(), secrets, except)?;
        } else if entry.file_type()?.is_file() && !except.contains(&name.as_str()) {
            assert_silent(&entry.path().display().to_string(), &fs::read(entry.path())?, secrets);
        }
    }
    Ok(())
}

#[test]
#[should_panic(expected = "a log tells")]
fn a_secret_that_is_told_is_found() {
    assert_silent("a log", b"GET /?X-Amz-Signature=[redacted]\nthe token is abc123\n", &["abc123".to_owned()]);
}
