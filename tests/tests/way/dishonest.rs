//! A store that ignores conditions and checksums: a key is overwritten at the worst moments, with bytes of the same
//! length and with bytes of the same MD5. Bytes that nobody scanned are never published.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use lazaret_testkit::proxy::{Fault, Faults, Protocol, Proxy, Then};
use lazaret_tests::{
    cli::{Created, put},
    gate::Gate,
    objects::{Upload, sha256},
    program::Ended,
    proxies::server_of,
    servers::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, dishonest_s3, s3_client},
    station::{Station, notification},
    store::Store,
    wait::until_true,
};

use crate::SETTLED_WITHIN;

/// What all of them begin with, and the gate holds.
const MARKER: &str = "TEXTCOLLBY";
/// Two texts of one MD5, by Marc Stevens (<https://x.com/realhashbreaker/status/1770161965006008570>). With anything
/// before or after them they have two.
const COLLIDING: [&str; 2] = [
    "TEXTCOLLBYfGiJUETHQ4hAcKSMd5zYpgqf1YRDhkmxHkhPWptrkoyz28wnI9V0aHeAuaKnak",
    "TEXTCOLLBYfGiJUETHQ4hEcKSMd5zYpgqf1YRDhkmxHkhPWptrkoyz28wnI9V0aHeAuaKnak",
];
const SAME_LENGTH: [&str; 2] = ["TEXTCOLLBY nobody: it came first.", "TEXTCOLLBY nobody: it came later."];

/// When the key is overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The object was looked at and is about to be read.
    BeforeRead,
    /// clamd has the first bytes.
    InScan,
    /// The copy is about to be written.
    BeforeCopy,
}

const MOMENTS: [Moment; 3] = [Moment::BeforeRead, Moment::InScan, Moment::BeforeCopy];

/// One object that is overwritten.
struct Case {
    what: String,
    moment: Moment,
    created: Created,
    first: &'static str,
    later: &'static str,
}

/// Without this the others would show nothing.
#[tokio::test]
async fn the_store_is_dishonest() -> Result<()> {
    let mut station = Station::new().await?;
    use_dishonest_store(&mut station).await?;
    let (client, bucket) = (&station.store.client, &station.store.bucket);
    let wrong = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    let put = client.put_object().bucket(bucket).key("one").checksum_sha256(wrong).body(b"not empty".to_vec().into());
    put.send().await.context("it compares checksums")?;
    let copy = client.copy_object().bucket(bucket).key("two").copy_source(format!("{bucket}/one"));
    copy.copy_source_if_match("\"00000000000000000000000000000000\"").send().await.context("it compares ETags")?;
    assert_eq!(station.store.fetch("two").await?.body, b"not empty");
    let mut etags = Vec::new();
    for text in COLLIDING {
        station.store.put("text", "text/plain", text.into()).await?;
        etags.push(station.store.fetch("text").await?.header("etag").to_owned());
    }
    assert_eq!(etags[0], etags[1], "the texts do not collide");
    Ok(())
}

#[tokio::test]
async fn what_is_overwritten_in_a_dishonest_store_is_not_published_unscanned() -> Result<()> {
    overwritten(false).await
}

#[tokio::test]
async fn what_is_overwritten_in_a_dishonest_store_with_versions_is_not_published_unscanned() -> Result<()> {
    overwritten(true).await
}

async fn overwritten(versions: bool) -> Result<()> {
    let mut station = Station::new().await?;
    use_dishonest_store(&mut station).await?;
    if versions {
        station.with_versions().await?;
    }
    let gate = Gate::shut(station.servers.clamd_tcp, MARKER)?;
    station.set_for_workers("scanner.0.address", format!("tcp:{}", gate.address));
    let faults = Faults::new();
    let server = server_of(&dishonest_s3()?)?;
    let proxy = Proxy::start("store", Protocol::Http, server, &faults)?;
    station.set_for_workers("storage.endpoint", format!("http://{}", proxy.address()));
    station.set("worker.concurrency", "6");
    let worker = station.worker("worker").await?;
    let overwritten = Arc::<AtomicUsize>::default();
    let cases = upload(&station, &faults, &overwritten).await?;
    until_true("the scans wait", SETTLED_WITHIN, async || Ok(gate.waiting() >= cases.len())).await?;
    for case in cases.iter().filter(|case| case.moment == Moment::InScan) {
        put(&case.created, case.later).await?;
        overwritten.fetch_add(1, Ordering::Relaxed);
    }
    gate.open();
    for case in &cases {
        let shown = station.settled(&case.created.upload_id, SETTLED_WITHIN).await?;
        let published = shown.published.as_ref().with_context(|| format!("{}: {}", case.what, shown.outcome()))?;
        let fetched = station.store.fetch(&published.key).await?;
        // What is read is what is scanned; afterwards it is too late for other bytes.
        let scanned = if case.moment == Moment::BeforeRead && !versions { case.later } else { case.first };
        assert_eq!(String::from_utf8(fetched.body)?, scanned, "{}", case.what);
        assert_eq!(published.sha256, sha256(scanned.as_bytes()), "{}", case.what);
        assert_eq!(fetched.headers["x-amz-meta-lazaret-source-sha256"], published.sha256, "{}", case.what);
        assert_eq!(shown.times_reached("published"), 1, "{:?}", shown.records("audit"));
        let keys = station.store.keys(&format!("published/{}/", case.created.object_id)).await?;
        assert_eq!(keys.len(), 1, "{}: {keys:?}", case.what);
    }
    assert_eq!(overwritten.load(Ordering::Relaxed), cases.len(), "an overwrite did not happen: {:?}", faults.seen());
    station.queue.drained(SETTLED_WITHIN).await?;
    drop(worker);
    Ok(())
}

/// Every moment with both kinds of overwriting.
async fn upload(station: &Station, faults: &Faults, overwritten: &Arc<AtomicUsize>) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for moment in MOMENTS {
        for (kind, [first, later]) in [("same length", SAME_LENGTH), ("same MD5", COLLIDING)] {
            let what = format!("{moment:?}, {kind}");
            ensure!(first.len() == later.len() && first != later, "no overwrite that a length would not tell");
            let created = station.create(&Upload::new("note.txt", "text/plain", first))?;
            let overwrite = overwriting(&created, later, overwritten);
            let matching = match moment {
                Moment::BeforeRead => Some(("GET", format!("/{}", created.key))),
                Moment::BeforeCopy => Some(("PUT", format!("/published/{}/", created.object_id))),
                Moment::InScan => None,
            };
            if let Some((method, path)) = matching {
                let matches = move |request: &lazaret_testkit::proxy::Request| {
                    request.what.starts_with(method) && request.what.contains(&path)
                };
                faults.on(1, matches, Fault::before(overwrite));
            }
            put(&created, first).await?;
            station.queue.send(&notification(&created.bucket, &created.key)).await?;
            cases.push(Case { what, moment, created, first, later });
        }
    }
    Ok(cases)
}

/// The client writes again with the URL it was given, and that is counted.
fn overwriting(created: &Created, later: &str, count: &Arc<AtomicUsize>) -> impl FnOnce() -> Then + Send + 'static {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--request", "PUT", "--data-binary", later]);
    for (name, value) in &created.headers {
        curl.arg("--header").arg(format!("{name}: {value}"));
    }
    curl.arg(&created.put_url);
    let count = Arc::clone(count);
    move || match Ended::run(&mut curl) {
        Ok(Ended { code: Some(0), .. }) => {
            count.fetch_add(1, Ordering::Relaxed);
            Then::GoOn
        }
        failed => {
            eprintln!("the client cannot overwrite: {failed:?}");
            Then::Cut
        }
    }
}

async fn use_dishonest_store(station: &mut Station) -> Result<()> {
    let endpoint = dishonest_s3()?;
    let client = s3_client(&endpoint, ACCESS_KEY_ID, SECRET_ACCESS_KEY);
    station.store = Store { client, bucket: station.store.bucket.clone() };
    station.store.client.create_bucket().bucket(&station.store.bucket).send().await?;
    station.set("storage.endpoint", endpoint);
    Ok(())
}
