use std::{
    io::ErrorKind,
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    pin::pin,
    time::Duration,
};

use bytes::Bytes;
use rustix::fs::{CWD, Mode, SealFlags, fcntl_get_seals, mkfifoat};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

const KIB: u64 = 1024;

/// Objects up to 64 KiB stay in memory, and all of them may hold 8 MiB.
fn spool() -> (Spool, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        SpoolSettings { dir: dir.path().join("spool"), budget_bytes: 8 * KIB * KIB, memory_limit_bytes: 64 * KIB };
    (Spool::new(settings).unwrap(), dir)
}

async fn fill(spool: &Spool, bytes: &[u8]) -> Result<Spooled, SpoolError> {
    let reservation = spool.reserve(bytes.len() as u64).await?;
    spool.fill(reservation, bytes.len() as u64, bytes).await
}

fn pattern(len: u64) -> Vec<u8> {
    (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

fn entries(spool: &Spool) -> usize {
    std::fs::read_dir(spool.dir()).unwrap().count()
}

#[tokio::test]
async fn bytes_and_digest_are_those_that_came() {
    let (spool, _dir) = spool();
    for len in [0, 1, 64 * KIB, 64 * KIB + 1, 5 * KIB * KIB + 3] {
        let bytes = pattern(len);
        let spooled = fill(&spool, &bytes).await.unwrap();
        assert_eq!(spooled.len(), len);
        assert_eq!(spooled.sha256().as_bytes()[..], Sha256::digest(&bytes)[..]);
        let mut read = vec![0; bytes.len()];
        spooled.file().read_exact_at(&mut read, 0).unwrap();
        assert!(read == bytes, "{len}");
        assert_eq!(spooled.file().metadata().unwrap().len(), len);
    }
}

#[tokio::test]
async fn no_name_leads_to_an_object_on_disk() {
    let (spool, _dir) = spool();
    let reservation = spool.reserve(KIB * KIB).await.unwrap();
    let mut writer = spool.begin(reservation, KIB * KIB).await.unwrap();
    writer.write(vec![1; 512 * 1024].into()).await.unwrap();
    assert_eq!(entries(&spool), 0);
    writer.write(vec![1; 512 * 1024].into()).await.unwrap();
    let spooled = writer.finish().await.unwrap();
    assert_eq!(entries(&spool), 0);
    assert_eq!(spooled.file().metadata().unwrap().nlink(), 0);
}

#[tokio::test]
async fn a_small_object_is_sealed() {
    let (spool, _dir) = spool();
    let spooled = fill(&spool, b"scanned").await.unwrap();
    let all = SealFlags::FUTURE_WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    assert!(fcntl_get_seals(spooled.file()).unwrap().contains(all));
    assert_eq!(spooled.file().write_at(b"X", 0).unwrap_err().kind(), ErrorKind::PermissionDenied);
    for len in [0, 100] {
        assert_eq!(spooled.file().set_len(len).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
}

#[tokio::test]
async fn a_large_object_cannot_be_written_through_its_descriptor() {
    let (spool, _dir) = spool();
    let spooled = fill(&spool, &pattern(100 * KIB)).await.unwrap();
    assert!(spooled.file().write_at(b"X", 0).is_err());
    assert!(spooled.file().set_len(0).is_err());
}

#[tokio::test]
async fn more_or_fewer_bytes_than_expected_are_an_error() {
    let (spool, _dir) = spool();
    for (expected, came) in [(10, 9), (10, 11), (0, 1), (1, 0), (100 * KIB, 99 * KIB), (100 * KIB, 101 * KIB)] {
        let reservation = spool.reserve(expected).await.unwrap();
        let error = spool.fill(reservation, expected, &pattern(came)[..]).await.unwrap_err();
        assert!(matches!(error, SpoolError::Body { .. }), "{expected} {came}: {error}");
        assert!(matches!(error.about("b/k"), StoreError::Body { .. }));
    }
    assert_eq!(spool.used_bytes(), 0);
}

#[tokio::test]
async fn the_budget_makes_others_wait_and_is_given_back_with_the_last_clone() {
    let (spool, _dir) = spool();
    let first = fill(&spool, &pattern(6 * KIB * KIB)).await.unwrap();
    let clone = first.clone();
    assert_eq!(spool.used_bytes(), 6 * KIB * KIB);
    let mut large = pin!(spool.reserve(3 * KIB * KIB));
    assert!(timeout(Duration::from_millis(50), &mut large).await.is_err(), "more than the budget is in use");
    // It would fit, but the larger one was first.
    let mut small = pin!(spool.reserve(KIB));
    assert!(timeout(Duration::from_millis(50), &mut small).await.is_err(), "the large one may starve");
    drop(first);
    assert!(timeout(Duration::from_millis(50), &mut large).await.is_err(), "a clone still holds its bytes");
    drop(clone);
    let large = timeout(Duration::from_secs(5), large).await.expect("the space is free").unwrap();
    let small = timeout(Duration::from_secs(5), small).await.expect("there is room for both").unwrap();
    assert_eq!(spool.used_bytes(), large.bytes() + small.bytes());
    drop((large, small));
    assert_eq!(spool.used_bytes(), 0);
}

#[tokio::test]
async fn what_can_never_fit_is_an_error_at_once() {
    let (spool, _dir) = spool();
    let error = spool.reserve(8 * KIB * KIB + 1).await.unwrap_err();
    assert_eq!(error.to_string(), "8388609 bytes do not fit into worker.spool_budget of 8388608 bytes");
    assert!(matches!(error.about("b/k"), StoreError::SpoolBudget { size: 8_388_609, .. }));
    drop(spool.reserve(8 * KIB * KIB).await.unwrap());
}

/// Counts the descriptors of this process that lead to the spool's memory or folder.
fn descriptors(spool: &Spool) -> usize {
    let links =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links.filter(|link| link.starts_with(spool.dir())).count()
}

#[tokio::test]
async fn a_writer_dropped_midway_frees_everything() {
    let (spool, _dir) = spool();
    for round in 0..20 {
        let reservation = spool.reserve(4 * KIB * KIB).await.unwrap();
        let mut writer = spool.begin(reservation, 4 * KIB * KIB).await.unwrap();
        assert_eq!(descriptors(&spool), 1);
        // The second chunk is still being written when the writer goes.
        for _ in 0..3 {
            writer.write(Bytes::from(vec![1; 1024 * 1024])).await.unwrap();
        }
        drop(writer);
        let freed = async {
            while spool.used_bytes() > 0 || descriptors(&spool) > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(5), freed).await.unwrap_or_else(|_| panic!("round {round}: not freed"));
    }
    drop(spool.reserve(8 * KIB * KIB).await.unwrap());
}

#[tokio::test]
async fn descriptors_do_not_pile_up() {
    let (spool, _dir) = spool();
    for _ in 0..50 {
        drop(fill(&spool, &pattern(200 * KIB)).await.unwrap());
    }
    assert_eq!(descriptors(&spool), 0);
    let held = fill(&spool, &pattern(200 * KIB)).await.unwrap();
    assert_eq!(descriptors(&spool), 1);
    drop(held);
    assert_eq!(descriptors(&spool), 0);
}

#[tokio::test]
async fn a_file_with_a_name_is_spooled_whole() {
    let (spool, dir) = spool();
    let path = dir.path().join("upload.bin");
    std::fs::write(&path, pattern(300 * KIB)).unwrap();
    let spooled = spool.fill_from_file(&path).await.unwrap();
    assert_eq!(spooled.sha256().as_bytes()[..], Sha256::digest(pattern(300 * KIB))[..]);
    let pipe = dir.path().join("pipe");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    for bad in [dir.path(), Path::new("/no/such/file"), &pipe] {
        let refused = timeout(Duration::from_secs(5), spool.fill_from_file(bad)).await;
        let error = refused.expect("a pipe without a writer is not waited for").unwrap_err();
        assert!(error.to_string().contains(bad.to_str().unwrap()), "{error}");
    }
}

#[test]
fn the_folder_is_made_for_us_alone_and_a_bad_one_is_named() {
    let (spool, dir) = spool();
    assert_eq!(std::fs::metadata(spool.dir()).unwrap().permissions().mode() & 0o777, 0o700);
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let settings = SpoolSettings { dir: file.clone(), budget_bytes: 1, memory_limit_bytes: 1 };
    let error = Spool::new(settings).unwrap_err();
    assert!(matches!(error, SpoolError::System { .. }) && error.to_string().contains("file"), "{error}");
}

#[tokio::test]
async fn a_disk_without_room_is_an_error_that_names_the_folder() {
    // A tmpfs refuses more than it is large without filling it up.
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let shm = rustix::fs::statvfs(dir.path()).unwrap();
    let len = shm.f_blocks * shm.f_frsize + 1;
    let settings = SpoolSettings { dir: dir.path().to_owned(), budget_bytes: len, memory_limit_bytes: 0 };
    let spool = Spool::new(settings).unwrap();
    let reservation = spool.reserve(len).await.unwrap();
    let error = spool.begin(reservation, len).await.unwrap_err().about("b/k");
    let StoreError::Spool { dir: named, source } = &error else { panic!("{error:?}") };
    assert_eq!((named.as_str(), source.kind()), (dir.path().to_str().unwrap(), ErrorKind::StorageFull));
    assert_eq!(spool.used_bytes(), 0);
}
