//! Everything that one object meets on its way, behind ports.

use std::{fmt, sync::Arc, time::Duration};

use lazaret_core::{
    BucketName, ObjectKey, PolicySet, Prefix, ScannerName, WorkerId,
    ports::{ListStore, ObjectStore, Scanner, SessionStore, Transformer},
};

use crate::archive::ArchiveLimits;

/// A scanner with what one scan may take.
#[derive(Clone)]
pub struct ScannerSlot {
    /// The scanner.
    pub scanner: Arc<dyn Scanner>,
    /// How long one scan may take.
    pub timeout: Duration,
    /// The longest object that the engine looks at whole, in bytes. A longer one is held, never skipped.
    pub max_size: u64,
}

/// The parts that the pipeline works with.
#[derive(Clone)]
pub struct Station {
    /// Upload sessions.
    pub sessions: Arc<dyn SessionStore>,
    /// The allow and block lists.
    pub lists: Arc<dyn ListStore>,
    /// The store with the quarantine and the published prefix.
    pub store: Arc<dyn ObjectStore>,
    /// Every scanner that a policy may name.
    pub scanners: Vec<ScannerSlot>,
    /// Re-encodes images in the jail.
    pub transformer: Arc<dyn Transformer>,
    /// What the operator set.
    pub settings: StationSettings,
}

/// What the operator set.
#[derive(Debug, Clone)]
pub struct StationSettings {
    /// This process, and no other: not the one before it either. An attempt under this name without an end is its own.
    pub worker_id: WorkerId,
    /// Where clients upload to.
    pub bucket: BucketName,
    /// Under which prefix.
    pub quarantine_prefix: Prefix,
    /// Where checked objects are readable.
    pub published_bucket: BucketName,
    /// Under which prefix.
    pub published_prefix: Prefix,
    /// What to do with which type.
    pub policies: PolicySet,
    /// The longest object that is read at all, in bytes.
    pub max_object_size: u64,
    /// How much of an archive is looked at.
    pub archive: ArchiveLimits,
    /// Whether somebody must finalize a session before it is processed.
    pub require_finalize: bool,
    /// How long an attempt keeps others away without being renewed.
    pub lease: Duration,
    /// After how many attempts an object is held.
    pub max_attempts: u32,
    /// How long the original of a rejected upload is kept.
    pub retain_rejected: Duration,
}

impl Station {
    /// Whether this is a place that clients upload to. Nothing else is read or deleted, whatever a session names.
    pub(crate) fn quarantines(&self, bucket: &BucketName, key: &ObjectKey) -> bool {
        *bucket == self.settings.bucket && self.settings.quarantine_prefix.contains(key)
    }

    /// The scanner of this name.
    pub fn scanner(&self, name: &ScannerName) -> Option<&ScannerSlot> {
        self.scanners.iter().find(|slot| slot.scanner.name() == name)
    }
}

impl fmt::Debug for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Station").field("settings", &self.settings).finish_non_exhaustive()
    }
}
