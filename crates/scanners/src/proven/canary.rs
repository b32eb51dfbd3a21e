use std::{
    fmt,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::Path,
};

use lazaret_core::{Sha256Digest, Spooled};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use serde::Serialize;

use crate::{container::Container, nested};

macro_rules! canary {
    ($marker:literal, $kind:literal) => {
        include_bytes!(concat!("../../canaries/", $marker, ".", $kind))
    };
}

/// EICAR's test file in each container that there is a canary for. Lazaret's own marker would not do: it is found anywhere,
/// so an engine that does not unpack would find it in what a packer left as it was.
pub(super) const CONTAINERS: &[(Container, &[u8])] = &[
    (Container::Zip, canary!("eicar", "zip")),
    (Container::Tar, canary!("eicar", "tar")),
    (Container::Gzip, canary!("eicar", "gz")),
    (Container::Bzip2, canary!("eicar", "bz2")),
    (Container::Xz, canary!("eicar", "xz")),
    (Container::Zstd, canary!("eicar", "zst")),
    (Container::SevenZip, canary!("eicar", "7z")),
    (Container::Rar, canary!("eicar", "rar")),
];

/// A text that an engine has a signature for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Marker {
    /// Lazaret's own, found anywhere in a file: `config/clamav/lazaret-canary.ndb`.
    Own,
    /// EICAR's test file (<https://www.eicar.org/download-anti-malware-testfile/>), which engines know without being
    /// told, and which they need not find unless it is the whole file.
    Eicar,
}

impl Marker {
    pub(super) const fn plain(self) -> &'static [u8] {
        match self {
            Self::Own => canary!("own", "plain"),
            Self::Eicar => canary!("eicar", "plain"),
        }
    }

    /// What an operator does about an engine that misses it.
    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::Own => "put config/clamav/lazaret-canary.ndb into its signature database and reload it",
            Self::Eicar => "its signatures are not loaded, or not those it had",
        }
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "Lazaret's canary",
            Self::Eicar => "the EICAR test file",
        })
    }
}

/// EICAR's test file, `depth` archives deep.
pub(super) fn nested(depth: u32) -> Vec<u8> {
    nested::nested(Marker::Eicar.plain(), depth)
}

/// These bytes as an object.
pub(super) fn object(bytes: &[u8]) -> io::Result<Spooled> {
    let mut file = File::from(memfd_create("lazaret-canary", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    file.write_all(bytes)?;
    // As a spooled object is; a program that scans is handed no other.
    fcntl_add_seals(&file, SealFlags::FUTURE_WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(spooled(file, bytes.len() as u64))
}

/// An object of `len` bytes with the marker behind a hole. Blocking.
pub(super) fn at_the_end(dir: &Path, len: u64) -> io::Result<Spooled> {
    let marker = Marker::Own.plain();
    let file = tempfile::tempfile_in(dir)?;
    file.write_all_at(marker, len.saturating_sub(marker.len() as u64))?;
    Ok(spooled(file, len.max(marker.len() as u64)))
}

/// No record of a canary is kept, so its digest is nobody's.
fn spooled(file: File, len: u64) -> Spooled {
    Spooled::new(file, len, Sha256Digest::from_bytes([0; 32]), ())
}
