//! What must never be published, and isn't.

use anyhow::Result;
use lazaret_tests::{
    cli::put,
    objects::{Upload, contains, eicar, fixture, sha256},
    station::Station,
};

use crate::SETTLED_WITHIN;

/// One worker for all of these; nothing may lie among the published objects at the end.
#[tokio::test]
async fn hostile_and_broken_uploads_are_settled_and_nothing_is_published() -> Result<()> {
    let station = Station::new().await?;
    let worker = station.worker("worker").await?;
    let mut cases = Vec::new();
    for (upload, outcome) in hostile()? {
        cases.push((station.submit(&upload).await?, upload, outcome));
    }
    for (created, upload, outcome) in &cases {
        let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
        assert_eq!(&shown.outcome(), outcome, "{}: {:?}", upload.file_name, shown.story.get("detail"));
        assert!(shown.published.is_none());
    }
    let metrics = station.metrics().await?;
    let stray = format!("quarantine/{}", "no-session/a b+c.txt");
    station.store.put(&stray, "text/plain", b"nobody asked for this".to_vec()).await?;
    station.queue.drained(SETTLED_WITHIN).await?;
    let before = metrics.objects("orphan", Some("no-session"))?;
    let after = station.metrics().await?.objects("orphan", Some("no-session"))?;
    assert!((after - before - 1.0).abs() < 0.5, "{before} orphans, then {after}");
    assert!(station.store.quarantined().await?.contains(&stray), "an orphan is the sweeper's");
    assert!(station.store.published().await?.is_empty());
    drop(worker);
    Ok(())
}

fn hostile() -> Result<Vec<(Upload, &'static str)>> {
    let text = Upload::text("wrong promises");
    let size = text.bytes.len() as u64;
    Ok(vec![
        (Upload::new("eicar.com.txt", "text/plain", eicar()), "rejected/infected"),
        (Upload::fixture("eicar.zip.b64", "application/zip")?, "rejected/infected"),
        (Upload::fixture("eicar-nested.zip.b64", "application/zip")?, "rejected/infected"),
        (
            Upload::fixture(
                "eicar.docx.b64",
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            )?,
            "rejected/infected",
        ),
        (Upload::fixture("encrypted.zip", "application/zip")?, "held/encrypted"),
        (Upload::fixture("program.png", "image/png")?, "rejected/type-mismatch"),
        (Upload::new("page.txt", "text/plain", fixture("page.html")?), "rejected/type-mismatch"),
        (Upload::new("drawing.png", "image/png", fixture("drawing.svg")?), "rejected/type-mismatch"),
        (Upload::new("script.txt", "text/plain", fixture("script.sh")?), "rejected/type-mismatch"),
        (Upload::new("photo.jpg", "image/jpeg", fixture("16-bit.png")?), "rejected/type-mismatch"),
        (Upload::new("photo.jpg", "image/png", fixture("16-bit.png")?), "rejected/extension-mismatch"),
        (Upload::fixture("page.html", "text/html")?, "rejected/type-not-allowed"),
        (Upload::fixture("truncated.jpg", "image/jpeg")?, "rejected/decode-failed"),
        (Upload::fixture("huge-50000x50000.png", "image/png")?, "rejected/pixel-limit"),
        (text.clone().of_size(size + 1), "rejected/size-mismatch"),
        (text.promising(sha256(b"something else")), "rejected/digest-mismatch"),
    ])
}

/// The payload behind the image is gone from what is published.
#[tokio::test]
async fn a_polyglot_leaves_its_payload_behind() -> Result<()> {
    let station = Station::new().await?;
    let worker = station.worker("worker").await?;
    let upload = Upload::fixture("polyglot.jpg", "image/jpeg")?;
    let payloads: [&[u8]; 3] = [b"payload.js", b"<script", b"PK\x05\x06"];
    assert!(payloads.iter().all(|payload| contains(&upload.bytes, payload)), "the fixture is no polyglot");
    let created = station.submit(&upload).await?;
    let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    assert_eq!(shown.outcome(), "published");
    let keys = station.store.published().await?;
    assert_eq!(keys.len(), 1, "{keys:?}");
    for key in keys {
        let body = station.store.fetch(&key).await?.body;
        for payload in payloads {
            assert!(!contains(&body, payload), "{:?} survived", String::from_utf8_lossy(payload));
        }
    }
    drop(worker);
    Ok(())
}

/// A client that hangs up in the middle of its body, and then sends all of it.
#[tokio::test]
async fn half_a_body_is_not_an_upload() -> Result<()> {
    let station = Station::new().await?;
    let worker = station.worker("worker").await?;
    let upload = Upload::fixture("photo-gps-rotated.jpg", "image/jpeg")?;
    let created = station.create(&upload)?;
    half_a_put(&created.put_url, &created.headers["Content-Type"], &upload.bytes)?;
    put(&created, upload.bytes[..upload.bytes.len() / 2].to_vec()).await?;
    let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    assert_eq!(shown.outcome(), "rejected/size-mismatch");
    assert!(station.store.published().await?.is_empty());
    drop(worker);
    Ok(())
}

/// Says how long the body is, sends half of it, and goes.
fn half_a_put(url: &str, content_type: &str, body: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let url = reqwest::Url::parse(url)?;
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(80));
    let mut stream = std::net::TcpStream::connect((host, port))?;
    let target = url.as_str().split_once(&format!("{host}:{port}")).map_or("/", |(_, target)| target);
    write!(
        stream,
        "PUT {target} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(&body[..body.len() / 2])?;
    Ok(())
}
