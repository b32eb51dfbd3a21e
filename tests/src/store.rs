//! A bucket, seen with a client of our own.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Result, ensure};
use aws_sdk_s3::{Client, presigning::PresigningConfig};

use crate::objects::sha256;

const URL_VALID_FOR: Duration = Duration::from_mins(5);

/// One bucket.
#[derive(Debug, Clone)]
pub struct Store {
    /// The client.
    pub client: Client,
    /// The bucket.
    pub bucket: String,
}

/// An object as the server hands it out.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Every header, by its name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
    /// The body's digest.
    pub sha256: String,
}

impl Fetched {
    /// A header, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Store {
    /// The keys under a prefix.
    pub async fn keys(&self, prefix: &str) -> Result<BTreeSet<String>> {
        let mut keys = BTreeSet::new();
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
        while let Some(page) = pages.next().await {
            keys.extend(page?.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        }
        Ok(keys)
    }

    /// Every version and delete marker under a prefix, as key and version.
    pub async fn versions(&self, prefix: &str) -> Result<BTreeSet<(String, String)>> {
        let page = self.client.list_object_versions().bucket(&self.bucket).prefix(prefix).send().await?;
        ensure!(page.is_truncated() != Some(true), "more versions than one page holds");
        let objects = page.versions().iter().map(|version| (version.key(), version.version_id()));
        let markers = page.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Ok(objects.chain(markers).map(|(key, version)| (text(key), text(version))).collect())
    }

    /// What lies under `published/`.
    pub async fn published(&self) -> Result<BTreeSet<String>> {
        self.keys("published/").await
    }

    /// What lies under `quarantine/`.
    pub async fn quarantined(&self) -> Result<BTreeSet<String>> {
        self.keys("quarantine/").await
    }

    /// The answer to a GET, its body still to be read.
    pub async fn get(&self, key: &str) -> Result<reqwest::Response> {
        let presigning = PresigningConfig::expires_in(URL_VALID_FOR)?;
        let request = self.client.get_object().bucket(&self.bucket).key(key).presigned(presigning).await?;
        let answer = reqwest::Client::builder().no_proxy().build()?.get(request.uri()).send().await?;
        ensure!(answer.status().is_success(), "GET {key} answers {}", answer.status());
        Ok(answer)
    }

    /// An object with everything the server says of it.
    pub async fn fetch(&self, key: &str) -> Result<Fetched> {
        let answer = self.get(key).await?;
        let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = answer.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let body = answer.bytes().await?.to_vec();
        Ok(Fetched { headers, sha256: sha256(&body), body })
    }

    /// Writes an object with our own credentials.
    pub async fn put(&self, key: &str, content_type: &str, bytes: Vec<u8>) -> Result<()> {
        let request = self.client.put_object().bucket(&self.bucket).key(key).content_type(content_type);
        request.body(bytes.into()).send().await?;
        Ok(())
    }
}
