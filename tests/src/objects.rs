//! What is uploaded.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

/// In two halves, so that no scanner on a developer's machine takes this file for the thing itself.
const EICAR: [&str; 2] = [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];

/// The path of a file under `fixtures/files`.
pub fn fixture_path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "fixtures", "files", name].iter().collect()
}

/// The bytes of a file under `fixtures/files`; of a `.b64` file, what it encodes.
pub fn fixture(name: &str) -> Result<Vec<u8>> {
    let bytes = fs::read(fixture_path(name)).with_context(|| format!("fixture {name}"))?;
    if name.strip_suffix(".b64").is_none() {
        return Ok(bytes);
    }
    let text: String = String::from_utf8(bytes)?.split_whitespace().collect();
    Ok(BASE64_STANDARD.decode(text)?)
}

/// The antivirus test file, which exists at run time only.
pub fn eicar() -> Vec<u8> {
    EICAR.concat().into_bytes()
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Whether `needle` lies anywhere in `bytes`.
pub fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// One upload: the bytes, and what the client promises of them.
#[derive(Debug, Clone)]
pub struct Upload {
    /// What the client calls the file.
    pub file_name: String,
    /// What it says it is.
    pub content_type: String,
    /// What it sends.
    pub bytes: Vec<u8>,
    /// How long it says that is.
    pub declared_size: u64,
    /// What it says the digest is.
    pub declared_sha256: Option<String>,
}

impl Upload {
    /// An upload that is what it says.
    pub fn new(file_name: impl Into<String>, content_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self {
            file_name: file_name.into(),
            content_type: content_type.to_owned(),
            declared_size: bytes.len() as u64,
            declared_sha256: None,
            bytes,
        }
    }

    /// A fixture under its own name.
    pub fn fixture(name: &str, content_type: &str) -> Result<Self> {
        let file_name = name.trim_end_matches(".b64");
        Ok(Self::new(file_name, content_type, fixture(name)?))
    }

    /// Text that no other upload has.
    pub fn text(label: &str) -> Self {
        Self::new("note.txt", "text/plain", format!("Lazaret test text: {label}\n"))
    }

    /// With a promise about the digest.
    #[must_use]
    pub fn promising(mut self, sha256: impl Into<String>) -> Self {
        self.declared_sha256 = Some(sha256.into());
        self
    }

    /// With a wrong promise about the length.
    #[must_use]
    pub const fn of_size(mut self, declared_size: u64) -> Self {
        self.declared_size = declared_size;
        self
    }
}
