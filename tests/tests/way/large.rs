//! A gigabyte through a small worker.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lazaret_tests::{
    cli::put,
    dev::Dev,
    objects::Upload,
    station::{Station, notification},
    store::Store,
};
use sha2::{Digest, Sha256};

const LINE: &[u8] = b"A quarantine station passes large objects too, line after line.\n";
const LINES_IN_A_BLOCK: usize = 16 * 1024;
/// 1 GiB.
const BLOCKS: usize = 1024;
const MOST_RESIDENT_BYTES: u64 = 150 * 1000 * 1000;
const PUBLISHED_WITHIN: Duration = Duration::from_mins(3);

/// The store is the endpoint of `lazaret dev`, which keeps objects on disk: ministack keeps them in memory, and answers
/// nobody else, the other tests included, while it hands out a gigabyte. The worker is a process of its own, fed over
/// SQS, so that its memory is its own.
#[tokio::test]
async fn heavy_a_gigabyte_passes_through_150_megabytes() -> Result<()> {
    let mut station = Station::new().await?;
    let dev = Dev::start(station.folder.path(), &[]).await?;
    for (key, value) in [
        ("storage.bucket", dev.ready.bucket.as_str()),
        ("storage.endpoint", &dev.ready.endpoint),
        ("storage.access_key_id", &dev.ready.access_key_id),
        ("storage.secret_access_key", &dev.ready.secret_access_key),
        // Out of sight of the worker inside `lazaret dev`.
        ("storage.quarantine_prefix", "inbox/"),
    ] {
        station.set(key, value);
    }
    let worker = station.worker("worker").await?;
    let file = station.folder.path().join("large.txt");
    let sha256 = write_large(&file)?;
    let size = fs::metadata(&file)?.len();
    let upload = Upload::new("large.txt", "text/plain", []).of_size(size).promising(&sha256);
    let mut created = station.create(&upload)?;
    created.headers.insert("Content-Length".to_owned(), size.to_string());

    let began = Instant::now();
    put(&created, tokio::fs::File::open(&file).await?).await?;
    eprintln!("uploaded in {:?}", began.elapsed());
    // The store has it, the spool and the published copy are to come.
    fs::remove_file(&file)?;
    station.queue.send(&notification(&created.bucket, &created.key)).await?;
    let shown = station.settled(&created.upload_id, PUBLISHED_WITHIN).await?;
    let peak = worker.peak_resident_bytes()?;
    eprintln!("published after {:?}, at most {} MB resident", began.elapsed(), peak / 1_000_000);

    assert_eq!(shown.outcome(), "published", "{:?}", shown.story);
    let published = shown.published.context("no published copy")?;
    assert_eq!((&published.sha256, published.size), (&sha256, size));
    assert_eq!(downloaded(&dev.store, &published.key).await?, sha256);
    ensure!(peak < MOST_RESIDENT_BYTES, "{peak} bytes were resident at most");
    assert_eq!(fs::read_dir(station.folder.path().join("spool"))?.count(), 0, "the spool has no names");
    Ok(())
}

/// The digest of what was written.
fn write_large(path: &Path) -> Result<String> {
    let (mut file, mut hasher) = (File::create(path)?, Sha256::new());
    let block = LINE.repeat(LINES_IN_A_BLOCK);
    for _ in 0..BLOCKS {
        hasher.update(&block);
        file.write_all(&block)?;
    }
    Ok(hex::encode(hasher.finalize()))
}

async fn downloaded(store: &Store, key: &str) -> Result<String> {
    let (mut answer, mut hasher) = (store.get(key).await?, Sha256::new());
    while let Some(chunk) = answer.chunk().await? {
        hasher.update(&chunk);
    }
    Ok(hex::encode(hasher.finalize()))
}
