//! Room on the disks: what runs out of it fails late, and says so of something else.

use std::path::Path;

use rustix::fs::statvfs;

/// Bytes.
const GIB: u64 = 1 << 30;

/// A warning where fewer GiB are free around `folder` than are needed, or where that cannot be seen.
pub(crate) fn lack(folder: &Path, needed: u64, what: &str) -> Option<String> {
    let there = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(folder);
    match statvfs(there) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize) / GIB;
            (free < needed).then(|| format!("{what} may need {needed} GiB in {}: {free} GiB are free", there.display()))
        }
        Err(error) => Some(format!("cannot see how full the disk of {} is: {error}", there.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_room_is_told() {
        let folder = std::env::temp_dir().join("not-there").join("yet");
        assert_eq!(lack(&folder, 0, "nothing"), None);
        let warning = lack(&folder, u64::MAX, "everything").expect("a warning");
        assert!(warning.starts_with("everything may need 18446744073709551615 GiB in /"), "{warning}");
        assert!(!warning.contains("not-there"), "{warning}");
        let unseen = lack(Path::new("nowhere"), 1, "nothing").expect("a warning");
        assert!(unseen.starts_with("cannot see how full the disk of nowhere is: "), "{unseen}");
    }
}
