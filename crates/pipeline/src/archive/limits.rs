//! How much of an archive is looked at.

/// What an archive may hold, over all archives within it. More than that is held as `scan-limits`, never skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// How many archives may lie in each other; the object itself is the first. A `.tar.gz` is two.
    pub max_depth: u32,
    /// How many members there may be, at all depths together.
    pub max_entries: u64,
    /// How many bytes the members may unpack to, at all depths together: each layer counts again, as it does for an
    /// engine.
    pub max_total_size: u64,
    /// How many times as long as its packed bytes a member may be, and all of them as the object.
    pub max_ratio: u64,
    /// How many bytes of memory one examination may hold: copies of archives that are packed in others, and
    /// dictionaries.
    pub max_memory: u64,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            // Half of what clamd goes down with stock settings (`MaxRecursion` 17, which also counts what it finds within
            // documents).
            max_depth: 8,
            // clamd's own `MaxFiles`.
            max_entries: 10_000,
            // Two to three seconds of inflating; more than the 100 to 400 MiB of clamd's `MaxScanSize`, which it tells of.
            max_total_size: 1024 * MIB,
            // Deflate goes up to 1032. Logs and spreadsheets stay below 100.
            max_ratio: 200,
            // The dictionary of `xz -9` is 64 MiB, of which an xz may take three quarters.
            max_memory: 96 * MIB,
        }
    }
}
