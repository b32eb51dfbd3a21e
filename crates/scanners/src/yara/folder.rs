//! The folder of rule files: what is in it, whether that changed, and its text.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::YaraError;

/// Folders within folders. More is a link that leads in a circle.
const MAX_DEPTH: usize = 16;
/// Everything that is looked at for rules, rule files or not.
const MAX_ENTRIES: usize = 100_000;
const EXTENSIONS: [&str; 2] = ["yar", "yara"];

/// How much a folder may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) files: usize,
    pub(super) bytes: u64,
}

/// A rule file as it lay there. Equal to an earlier look at it only if nobody wrote to it or replaced it meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RuleFile {
    /// Its path below the folder.
    pub(super) namespace: String,
    path: PathBuf,
    identity: (u64, u64),
    len: u64,
    modified: SystemTime,
    /// Changes with every write and rename, and cannot be set back.
    changed: (i64, i64),
}

/// The text of a rule file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) namespace: String,
    pub(super) text: Vec<u8>,
    pub(super) modified: SystemTime,
}

/// All rule files below `folder`, in the order of their namespaces. Links are followed; names that begin with a dot are
/// left out, for they belong to editors, to git, and to Kubernetes, whose visible links lead there.
pub(super) fn list(folder: &Path, limits: Limits) -> Result<Vec<RuleFile>, YaraError> {
    let mut files = Vec::new();
    let mut seen = 0;
    let mut ahead = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((dir, prefix, depth)) = ahead.pop() {
        if depth > MAX_DEPTH {
            return Err(too_much(folder, format!("{} is more than {MAX_DEPTH} folders deep", dir.display())));
        }
        for entry in fs::read_dir(&dir).map_err(unreadable(&dir))? {
            let path = entry.map_err(unreadable(&dir))?.path();
            seen += 1;
            if seen > MAX_ENTRIES {
                return Err(too_much(folder, format!("it holds more than {MAX_ENTRIES} files and folders")));
            }
            let Some(name) = visible_name(&path)? else { continue };
            let namespace = format!("{prefix}{name}");
            let found = fs::metadata(&path);
            if found.as_ref().is_ok_and(Metadata::is_dir) {
                ahead.push((path, format!("{namespace}/"), depth + 1));
            } else if has_rules(&path) {
                files.push(rule_file(namespace, path, found)?);
            }
        }
        if files.len() > limits.files {
            return Err(too_much(folder, format!("it holds more than {} rule files", limits.files)));
        }
    }
    let bytes: u64 = files.iter().map(|file| file.len).sum();
    if bytes > limits.bytes {
        return Err(too_much(folder, format!("its rules have {bytes} bytes, {} is the limit", limits.bytes)));
    }
    files.sort_by(|a, b| a.namespace.cmp(&b.namespace));
    Ok(files)
}

/// The text of all `files`, which were listed within the limits.
pub(super) fn read(files: &[RuleFile]) -> Result<Vec<Source>, YaraError> {
    let read_one = |file: &RuleFile| {
        let mut text = Vec::new();
        // One that grew since is seen as changed by the next look.
        File::open(&file.path)
            .and_then(|opened| opened.take(file.len).read_to_end(&mut text))
            .map_err(unreadable(&file.path))?;
        Ok(Source { namespace: file.namespace.clone(), text, modified: file.modified })
    };
    files.iter().map(read_one).collect()
}

/// None for what is hidden. What may hold rules is never passed over because of its name.
fn visible_name(path: &Path) -> Result<Option<&str>, YaraError> {
    let name = path.file_name().unwrap_or_default();
    if name.as_encoded_bytes().starts_with(b".") {
        return Ok(None);
    }
    let not_text = || io::Error::new(io::ErrorKind::InvalidFilename, "its name is not UTF-8");
    name.to_str().map(Some).ok_or_else(not_text).map_err(unreadable(path))
}

fn has_rules(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn rule_file(namespace: String, path: PathBuf, found: io::Result<Metadata>) -> Result<RuleFile, YaraError> {
    let stamped = found.and_then(|found| {
        if !found.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        let modified = found.modified()?;
        Ok((found, modified))
    });
    let (found, modified) = stamped.map_err(unreadable(&path))?;
    let identity = (found.dev(), found.ino());
    let changed = (found.ctime(), found.ctime_nsec());
    Ok(RuleFile { namespace, path, identity, len: found.len(), modified, changed })
}

fn too_much(folder: &Path, detail: String) -> YaraError {
    YaraError::TooMuch { folder: folder.to_owned(), detail }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> YaraError {
    let path = path.to_owned();
    move |source| YaraError::Unreadable { path, source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const AMPLE: Limits = Limits { files: 100, bytes: 10_000 };

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        folder
    }

    fn namespaces(folder: &Path) -> Vec<String> {
        list(folder, AMPLE).unwrap().into_iter().map(|file| file.namespace).collect()
    }

    #[test]
    fn rule_files_are_found_at_any_depth_and_in_order() {
        let folder = folder(&["b.yar", "a/z.YARA", "a.yara", "a/b/c.yar", "README.md", ".hidden.yar", ".git/x.yar"]);
        assert_eq!(namespaces(folder.path()), ["a.yara", "a/b/c.yar", "a/z.YARA", "b.yar"]);
        let sources = read(&list(folder.path(), AMPLE).unwrap()).unwrap();
        assert_eq!(sources[1].text, b"a/b/c.yar");
    }

    #[test]
    fn the_links_of_a_mounted_config_map_lead_to_rules() {
        let folder = folder(&["..2026_11_22/a.yar"]);
        symlink("..2026_11_22", folder.path().join("..data")).unwrap();
        symlink("..data/a.yar", folder.path().join("a.yar")).unwrap();
        assert_eq!(namespaces(folder.path()), ["a.yar"]);
    }

    #[test]
    fn what_cannot_be_read_is_never_passed_over() {
        for link in ["nowhere", "."] {
            let folder = folder(&["a.yar"]);
            symlink(link, folder.path().join("b.yar")).unwrap();
            let error = list(folder.path(), AMPLE).unwrap_err();
            let told = match error {
                YaraError::Unreadable { path, .. } => path == folder.path().join("b.yar"),
                YaraError::TooMuch { detail, .. } => link == "." && detail.contains("deep"),
                other => panic!("{other:?}"),
            };
            assert!(told, "{link}");
        }
        assert!(matches!(list(Path::new("/nonexistent"), AMPLE), Err(YaraError::Unreadable { .. })));
    }

    #[test]
    fn limits_are_limits() {
        let folder = folder(&["a.yar", "b.yar"]);
        for limits in [Limits { files: 1, ..AMPLE }, Limits { bytes: 9, ..AMPLE }] {
            assert!(matches!(list(folder.path(), limits), Err(YaraError::TooMuch { .. })), "{limits:?}");
        }
        assert_eq!(list(folder.path(), Limits { files: 2, bytes: 10 }).unwrap().len(), 2);
    }

    #[test]
    fn an_edit_that_keeps_size_and_date_is_seen() {
        let folder = folder(&["a.yar"]);
        let before = list(folder.path(), AMPLE).unwrap();
        assert_eq!(before, list(folder.path(), AMPLE).unwrap());
        let other = folder.path().join("other");
        fs::write(&other, "A.YAR").unwrap();
        File::options().write(true).open(&other).unwrap().set_modified(before[0].modified).unwrap();
        fs::rename(other, folder.path().join("a.yar")).unwrap();
        let after = list(folder.path(), AMPLE).unwrap();
        assert_eq!(after[0].modified, before[0].modified);
        assert_ne!(after, before);
    }
}
