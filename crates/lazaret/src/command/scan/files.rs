//! Which files are meant.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use lazaret_core::{FileName, InvalidValue};

/// A file to look at.
pub(super) struct Found {
    /// Where it lies.
    pub(super) path: PathBuf,
    /// Its length in bytes when it was found.
    pub(super) size: u64,
}

/// The files, and all files below the folders, each folder in the order of its names. Links inside folders are not
/// followed, and what is no regular file is passed over there.
pub(super) fn collect(paths: &[PathBuf]) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for path in paths {
        let metadata = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
        if metadata.is_dir() {
            below(path, &mut found)?;
        } else {
            found.push(Found { path: path.clone(), size: metadata.len() });
        }
    }
    Ok(found)
}

fn below(folder: &Path, found: &mut Vec<Found>) -> Result<()> {
    let unreadable = || format!("{} cannot be read", folder.display());
    let mut entries =
        fs::read_dir(folder).with_context(unreadable)?.collect::<Result<Vec<_>, _>>().with_context(unreadable)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let metadata = entry.metadata().with_context(|| format!("{} cannot be read", entry.path().display()))?;
        if metadata.is_dir() {
            below(&entry.path(), found)?;
        } else if metadata.is_file() {
            found.push(Found { path: entry.path(), size: metadata.len() });
        }
    }
    Ok(())
}

/// The name that a client would give.
pub(super) fn name(path: &Path) -> Result<FileName, InvalidValue> {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_walked_in_order_and_links_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir(root.join("b")).unwrap();
        for name in ["c.txt", "a.txt", "b/d.txt"] {
            fs::write(root.join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("/", root.join("link")).unwrap();
        let found = collect(&[root.to_owned(), root.join("c.txt")]).unwrap();
        let names: Vec<_> = found.iter().map(|file| file.path.strip_prefix(root).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.txt", "b/d.txt", "c.txt", "c.txt"]);
        assert!(collect(&[root.join("absent")]).is_err());
    }
}
