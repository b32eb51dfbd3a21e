//! Files that real packers wrote: `fixtures/make_archives.py`.

use std::path::{Path, PathBuf};

use super::*;
use crate::detect::detect;

const ZIP: &str = "application/zip";
const GZIP: &str = "application/gzip";
const TAR: &str = "application/x-tar";
const SEVEN_ZIP: &str = "application/x-7z-compressed";
const RAR: &str = "application/vnd.rar";

pub(super) const CLEAN: &[(&str, &str)] = &[
    ("plain.zip", ZIP),
    ("streamed.zip", ZIP),
    ("bzip2.zip", ZIP),
    ("deflate64.zip", ZIP),
    ("plain.tar.gz", GZIP),
    ("plain.tar.bz2", "application/x-bzip2"),
    ("plain.tar.xz", "application/x-xz"),
    ("v7.tar", TAR),
    ("ustar.tar", TAR),
    ("gnu.tar", TAR),
    ("pax.tar", TAR),
    ("plain.7z", SEVEN_ZIP),
    ("lzma.7z", SEVEN_ZIP),
    ("copy.7z", SEVEN_ZIP),
    ("bcj.7z", SEVEN_ZIP),
    ("delta.7z", SEVEN_ZIP),
    ("stored-4.rar", RAR),
    ("stored-5.rar", RAR),
];

pub(super) const ENCRYPTED: &[(&str, &str)] = &[
    ("encrypted-aes.zip", ZIP),
    ("encrypted-nested.tar.gz", GZIP),
    ("encrypted.7z", SEVEN_ZIP),
    ("encrypted-headers.7z", SEVEN_ZIP),
    ("encrypted-nested.7z", SEVEN_ZIP),
    ("encrypted-4.rar", RAR),
    ("encrypted-5.rar", RAR),
    ("encrypted-headers-4.rar", RAR),
    ("encrypted-headers-5.rar", RAR),
    ("encrypted-nested-4.rar", RAR),
    ("encrypted-nested-5.rar", RAR),
];

pub(super) const LIMITS: &[(&str, &str)] = &[
    ("deep.7z", SEVEN_ZIP),
    ("ppmd.7z", SEVEN_ZIP),
    ("bcj2.7z", SEVEN_ZIP),
    ("lzma.zip", ZIP),
    ("sparse-gnu.tar", TAR),
    ("sparse-pax.tar", TAR),
    ("plain.tar.zst", "application/zstd"),
];

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/archives").join(name)
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

#[test]
fn every_fixture_is_named_here_and_detected_as_what_it_is() {
    let mut named: Vec<&str> = [CLEAN, ENCRYPTED, self::LIMITS].concat().iter().map(|(name, _)| *name).collect();
    let files = std::fs::read_dir(fixture("")).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = files.collect();
    named.sort_unstable();
    files.sort_unstable();
    assert_eq!(named, files);
    for (name, media_type) in [CLEAN, ENCRYPTED, self::LIMITS].concat() {
        assert_eq!(detect(&spooled(&read(name))).unwrap().media_type.as_str(), media_type, "{name}");
    }
}

#[test]
fn what_packers_write_is_looked_into_whole() {
    for (name, media_type) in CLEAN {
        let (findings, spent) = examined(&read(name), media_type, &BOUNDS);
        assert_eq!(findings, [], "{name}");
        // Each has the same three files, and some one more or a layer around them.
        let stored = name.starts_with("stored");
        assert!(spent.entries >= if stored { 1 } else { 3 }, "{name}: {spent:?}");
        assert!(spent.unpacked >= if stored { 20 } else { 3000 }, "{name}: {spent:?}");
    }
}

#[test]
fn what_is_encrypted_is_held_as_that() {
    for (name, media_type) in ENCRYPTED {
        assert_eq!(reasons(&read(name), media_type), [Encrypted], "{name}");
    }
    let nested = |name, media_type: &str| found(&read(name), media_type).concat();
    assert_eq!(nested("encrypted-nested.7z", SEVEN_ZIP), r#"encrypted: member "inner.7z" > "noise.bin" is encrypted"#);
    assert_eq!(nested("encrypted-nested-4.rar", RAR), r#"encrypted: member "secret.zip" > "noise.bin" is encrypted"#);
    assert_eq!(nested("encrypted-headers.7z", SEVEN_ZIP), "encrypted: the archive is encrypted");
}

#[test]
fn what_is_not_looked_into_is_held_for_that() {
    for ((name, media_type), why) in self::LIMITS.iter().zip([
        "lies deeper than limits.archive_depth of 4",
        "is packed by PPMd, which is not looked into",
        "BCJ2",
        "is packed by method 14, which no scanner unpacks",
        "it has a sparse member, which no scanner unpacks",
        "it has a sparse member, which no scanner unpacks",
        "the archive is packed as zstd, which is not looked into",
    ]) {
        let found = found(&read(name), media_type);
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        assert!(found[0].starts_with("scan-limits: ") && found[0].contains(why), "{name}: {found:?}");
    }
}

/// Every one of them, cut anywhere, is held: nothing is passed because it was not understood.
#[test]
fn a_part_of_an_archive_is_never_passed() {
    for (name, media_type) in CLEAN {
        let bytes = read(name);
        // A tar may end without its empty blocks, and then where a member does.
        let is_tar = *media_type == TAR;
        for cut in (0..bytes.len()).step_by(7).filter(|cut| !is_tar || cut % 512 != 0) {
            let (findings, _) = examined(&bytes[..cut], media_type, &BOUNDS);
            assert!(
                !findings.is_empty() || is_tar && bytes[cut..].iter().all(|byte| *byte == 0),
                "{name} cut at {cut}"
            );
        }
    }
}

/// An archive packed in another as it is, or in a stream.
#[test]
fn all_kinds_are_found_within_all_kinds() {
    for (name, _) in ENCRYPTED.iter().filter(|(name, _)| !name.contains("nested")) {
        let bytes = read(name);
        for (outer, media_type) in [
            (zip_of(&[("inner", &bytes)]), ZIP),
            (zip_stored(&[("inner", &bytes)]), ZIP),
            (tar(&[("inner", &bytes)]), TAR),
            (gzip(&bytes), GZIP),
            (gzip(&tar(&[("inner", &bytes)])), GZIP),
        ] {
            assert_eq!(reasons(&outer, media_type), [Encrypted], "{name} in {media_type}");
        }
    }
}
