//! Zip archives whose members cannot be looked into are held, whatever a scanner's settings make it say of them.

use lazaret_core::{HoldReason, MediaType, Spooled};

use crate::detect::PositionedReader;

/// Why an archive cannot be checked whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opaque {
    pub(crate) reason: HoldReason,
    pub(crate) detail: String,
}

/// Walks the central directory of a zip. Blocking. Other types have nothing to say here.
pub(crate) fn opaque_members(object: &Spooled, media_type: &MediaType) -> Option<Opaque> {
    if !is_zip(media_type) {
        return None;
    }
    let unreadable = |error: &dyn std::error::Error| Opaque {
        reason: HoldReason::ScanLimits,
        detail: format!("the archive's directory is not readable, so no scanner can look into all of it: {error}"),
    };
    let mut archive = match zip::ZipArchive::new(std::io::BufReader::new(PositionedReader::new(object))) {
        Ok(archive) => archive,
        Err(error) => return Some(unreadable(&error)),
    };
    for index in 0..archive.len() {
        match archive.by_index_raw(index) {
            Ok(member) if member.encrypted() => {
                let detail = "the archive has an encrypted member".to_owned();
                return Some(Opaque { reason: HoldReason::Encrypted, detail });
            }
            Ok(_) => {}
            Err(error) => return Some(unreadable(&error)),
        }
    }
    None
}

fn is_zip(media_type: &MediaType) -> bool {
    let name = media_type.as_str();
    name == "application/zip"
        || name == "application/epub+zip"
        || name.starts_with("application/vnd.openxmlformats-officedocument.")
        || name.starts_with("application/vnd.oasis.opendocument.")
}
