//! The scanner port: its conformance suite, a fake, and a clamd that says what it is told to.

mod conformance;
mod fake_clamd;
mod memory;

use std::{fs::File, io::Write};

use anyhow::Result;
use lazaret_core::{Sha256Digest, Spooled};
use rustix::fs::{MemfdFlags, memfd_create};
use sha2::{Digest, Sha256};

pub use conformance::{Fixtures, conforms};
pub use fake_clamd::{Answer, FakeClamd, Listen};
pub use memory::MemoryScanner;

/// The EICAR test file, which every engine finds and which does no harm. Put together here so that no scanner finds it
/// in this source (<https://www.eicar.org/download-anti-malware-testfile/>).
pub fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat().into_bytes()
}

/// An object with these bytes, outside any budget.
pub fn spooled(bytes: &[u8]) -> Result<Spooled> {
    let mut file = File::from(memfd_create("object", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    let sha256 = Sha256Digest::from_bytes(Sha256::digest(bytes).into());
    Ok(Spooled::new(file, bytes.len() as u64, sha256, ()))
}
