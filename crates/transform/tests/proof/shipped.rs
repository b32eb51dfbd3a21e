//! Images that the crates of this build bring along for tests of their own.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

const LARGEST_BYTES: u64 = 100_000;
const MOST_OF_A_CRATE: usize = 40;

/// Their crate, media type and path, in a fixed order.
pub(crate) fn shipped() -> Vec<(String, &'static str, PathBuf)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut images = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        if package["source"].is_null() {
            continue;
        }
        let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
        let mut found = BTreeSet::new();
        walk(folder, &mut found);
        let name = package["name"].as_str().unwrap();
        images.extend(found.into_iter().take(MOST_OF_A_CRATE).map(|(path, kind)| (name.to_owned(), kind, path)));
    }
    images
}

fn walk(folder: &Path, found: &mut BTreeSet<(PathBuf, &'static str)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else if let Some(kind) = media_type(&path)
            && entry.metadata().is_ok_and(|file| file.len() <= LARGEST_BYTES)
        {
            found.insert((path, kind));
        }
    }
}

fn media_type(path: &Path) -> Option<&'static str> {
    Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "bmp" => "image/bmp",
        "tif" | "tiff" => "image/tiff",
        "ico" => "image/x-icon",
        "avif" => "image/avif",
        _ => return None,
    })
}
