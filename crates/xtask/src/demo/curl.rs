//! An ordinary HTTP client: curl.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::station::Station;
use crate::child;

/// `-q`: the settings of whoever runs the demo stay out of it.
const OPTIONS: [&str; 8] = ["-q", "-sS", "--fail-with-body", "--globoff", "--noproxy", "*", "--max-time", "120"];

fn curl() -> Command {
    let mut command = child::command("curl");
    command.args(OPTIONS);
    command
}

/// Sends a file to a pre-signed URL with the headers that were signed.
pub(super) fn upload(file: &Path, url: &str, headers: &BTreeMap<String, String>) -> Result<()> {
    let mut command = curl();
    for (name, value) in headers {
        command.arg("-H").arg(format!("{name}: {value}"));
    }
    child::capture("the upload (curl)", command.arg("-T").arg(file).arg(url)).map(drop)
}

/// An object as the store hands it out.
pub(super) struct Fetched {
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    pub(super) sha256: String,
}

pub(super) fn fetch(station: &Station, bucket: &str, key: &str) -> Result<Fetched> {
    let (head, body) = (station.scratch_file("fetched.head"), station.scratch_file("fetched.body"));
    let mut command = signed(station);
    command.arg("-D").arg(&head).arg("-o").arg(&body).arg(format!("{}/{bucket}/{key}", station.ready.endpoint));
    child::capture("the download (curl)", &mut command)?;
    let headers = fs::read_to_string(&head)?
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Fetched { headers, sha256: sha256(&body)?, body: fs::read(&body)? })
}

/// The keys under a prefix, at most a thousand. The query goes out as it is signed: curl 7.88 does not encode it.
pub(super) fn list(station: &Station, prefix: &str) -> Result<BTreeSet<String>> {
    let url = format!(
        "{}/{}?list-type=2&prefix={}",
        station.ready.endpoint,
        station.ready.bucket,
        prefix.replace('/', "%2F")
    );
    let xml = child::capture("the listing (curl)", signed(station).arg(url))?;
    let xml = String::from_utf8(xml).context("the listing is not UTF-8")?;
    let keys = xml.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
    Ok(keys.map(|(key, _)| key.to_owned()).collect())
}

/// S3 wants the payload's hash named, which curl 7.88 does not do by itself.
fn signed(station: &Station) -> Command {
    let ready = &station.ready;
    let mut command = curl();
    command.args(["--aws-sigv4", "aws:amz:us-east-1:s3", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--user"]);
    command.arg(format!("{}:{}", ready.access_key_id, ready.secret_access_key));
    command
}

/// In hexadecimal, by coreutils: a hash function of its own would be compiled before everything else.
pub(super) fn sha256(file: &Path) -> Result<String> {
    let printed = child::capture("sha256sum", child::command("sha256sum").arg(file))?;
    let printed = String::from_utf8(printed).context("sha256sum printed something else")?;
    let digest = printed.split_whitespace().next().context("sha256sum printed nothing")?;
    Ok(digest.trim_start_matches('\\').to_owned())
}
