//! Where the settings file lies.

use std::path::{Path, PathBuf};

use super::SettingsError;

/// Looked for in this order where no file is named. The second is what `lazaret dev` writes into its default folder.
const USUAL: [&str; 2] = ["lazaret.toml", "lazaret-data/lazaret.toml"];

/// The settings file: the named one, or the first of the usual ones under `folder`.
pub(super) fn find(named: Option<&Path>, folder: &Path) -> Result<PathBuf, SettingsError> {
    match named {
        Some(path) => Ok(path.to_owned()),
        None => USUAL.iter().map(|name| folder.join(name)).find(|path| path.is_file()).ok_or(SettingsError::Missing),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_here_comes_before_the_one_of_dev() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(find(None, folder.path()), Err(SettingsError::Missing)));
        fs::create_dir(folder.path().join("lazaret-data")).unwrap();
        fs::write(folder.path().join("lazaret-data/lazaret.toml"), "").unwrap();
        assert_eq!(find(None, folder.path()).unwrap(), folder.path().join("lazaret-data/lazaret.toml"));
        fs::write(folder.path().join("lazaret.toml"), "").unwrap();
        assert_eq!(find(None, folder.path()).unwrap(), folder.path().join("lazaret.toml"));
        assert_eq!(find(Some(Path::new("/x.toml")), folder.path()).unwrap(), Path::new("/x.toml"));
    }
}
