//! Which files are meant.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use lazaret_core::{FileName, InvalidValue};

/// A file to look at.
pub(super) struct Found {
    /// Where it lies.
    pub(super) path: PathBuf,
    /// Its length in bytes when it was found, or why it cannot be read.
    pub(super) size: Result<u64, String>,
}

impl Found {
    /// How many bytes there are to read.
    pub(super) fn bytes(&self) -> u64 {
        self.size.as_ref().copied().unwrap_or(0)
    }
}

/// The files, and all files below the folders, each folder in the order of its names. Links inside folders are not
/// followed, and what is no regular file is passed over there. What cannot be read is found, too: it could not be
/// checked, and the others can.
pub(super) fn collect(paths: &[PathBuf]) -> Vec<Found> {
    let mut found = Vec::new();
    for path in paths {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => below(path, &mut found),
            Ok(metadata) => found.push(Found { path: path.clone(), size: Ok(metadata.len()) }),
            Err(error) => found.push(unreadable(path.clone(), &error)),
        }
    }
    found
}

fn below(folder: &Path, found: &mut Vec<Found>) {
    let mut entries = match fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
        Ok(entries) => entries,
        Err(error) => return found.push(unreadable(folder.to_owned(), &error)),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => below(&entry.path(), found),
            Ok(metadata) if metadata.is_file() => found.push(Found { path: entry.path(), size: Ok(metadata.len()) }),
            Ok(_) => {}
            Err(error) => found.push(unreadable(entry.path(), &error)),
        }
    }
}

fn unreadable(path: PathBuf, error: &io::Error) -> Found {
    Found { path, size: Err(format!("cannot be read: {error}")) }
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
        let found = collect(&[root.to_owned(), root.join("c.txt")]);
        let names: Vec<_> = found.iter().map(|file| file.path.strip_prefix(root).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a.txt", "b/d.txt", "c.txt", "c.txt"]);
        assert!(found.iter().all(|file| file.size == Ok(1)));
    }

    #[test]
    fn what_is_absent_does_not_hide_the_others() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "x").unwrap();
        let found = collect(&[folder.path().join("absent"), folder.path().join("a.txt")]);
        let why = found[0].size.as_ref().unwrap_err();
        assert!(why.starts_with("cannot be read: No such file"), "{why}");
        assert_eq!(found[1].size, Ok(1));
    }
}
