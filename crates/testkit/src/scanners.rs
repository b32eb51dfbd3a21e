//! The scanner port: its conformance suite, a fake, and a clamd and an ICAP server that say what they are told to.

mod conformance;
mod fake_clamd;
mod fake_icap;
mod memory;

use std::{fs::File, io::Write};

use anyhow::Result;
use lazaret_core::{Sha256Digest, Spooled};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use sha2::{Digest, Sha256};

pub use conformance::{Fixtures, conforms};
pub use fake_clamd::{Answer, FakeClamd, Listen};
pub use fake_icap::{FakeIcap, IcapAnswer};
pub use memory::MemoryScanner;

/// The EICAR test file, which every engine finds and which does no harm. Put together here so that no scanner finds it
/// in this source (<https://www.eicar.org/download-anti-malware-testfile/>).
pub fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].concat().into_bytes()
}

/// An object with these bytes, sealed as a spooled one is, outside any budget.
pub fn spooled(bytes: &[u8]) -> Result<Spooled> {
    let mut file = File::from(memfd_create("object", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(bytes)?;
    fcntl_add_seals(&file, SealFlags::FUTURE_WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    let sha256 = Sha256Digest::from_bytes(Sha256::digest(bytes).into());
    Ok(Spooled::new(file, bytes.len() as u64, sha256, ()))
}
