//! The store did it and its answer is lost, or it says 200 and did not, or its body is cut short: the object is published
//! once, as it was scanned.

use anyhow::{Result, ensure};
use lazaret_testkit::proxy::{Fault, Request};
use lazaret_tests::{
    objects::Upload,
    oracle::{self, Expected, Fate},
    proxies::Proxies,
    station::Station,
};

use crate::SETTLED_WITHIN;

/// What S3 sends when a copy or a completion fails after the status line has left
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>, "Response and special errors").
fn two_hundred_with_an_error() -> Vec<u8> {
    let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InternalError</Code>\
                <Message>We encountered an internal error. Please try again.</Message></Error>";
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A request to the store of this method with this in its target.
fn to_store(method: &'static str, part: &'static str) -> impl Fn(&Request) -> bool + Send + 'static {
    move |request| request.proxy == "store" && request.what.starts_with(method) && request.what.contains(part)
}

fn photo() -> Result<(Upload, Fate)> {
    Ok((Upload::fixture("16-bit.png", "image/png")?, Fate::ReEncoded))
}

fn text() -> (Upload, Fate) {
    (Upload::text("its answer is lost"), Fate::AsIs)
}

#[tokio::test]
async fn the_answer_to_a_publishing_put_is_lost() -> Result<()> {
    for (upload, fate) in [text(), photo()?] {
        through(&mut Station::new().await?, &upload, fate, to_store("PUT", "/published/"), || Fault::CutAfter).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_answer_to_a_publishing_copy_is_lost() -> Result<()> {
    let (mut station, (upload, fate)) = (Station::new().await?, text());
    station.with_versions().await?;
    through(&mut station, &upload, fate, to_store("PUT", "CopyObject"), || Fault::CutAfter).await
}

#[tokio::test]
async fn a_copy_says_200_with_an_error_inside() -> Result<()> {
    for effect in [false, true] {
        let (mut station, (upload, fate)) = (Station::new().await?, text());
        station.with_versions().await?;
        let fault = move || {
            let answer = two_hundred_with_an_error();
            if effect { Fault::AnswerAfter(answer) } else { Fault::Answer(answer) }
        };
        through(&mut station, &upload, fate, to_store("PUT", "CopyObject"), fault).await?;
    }
    Ok(())
}

/// Large enough to be uploaded in parts.
#[tokio::test]
async fn heavy_a_multipart_completion_says_200_with_an_error_inside() -> Result<()> {
    let line = "A line of a text that is too long for one request to publish it.\n";
    let upload = Upload::new("long.txt", "text/plain", line.repeat(65 * 1024 * 1024 / line.len()));
    let fault = || Fault::Answer(two_hundred_with_an_error());
    through(&mut Station::new().await?, &upload, Fate::AsIs, to_store("POST", "uploadId="), fault).await
}

#[tokio::test]
async fn the_body_of_an_upload_is_cut_short() -> Result<()> {
    for (upload, fate) in [text(), photo()?] {
        through(&mut Station::new().await?, &upload, fate, to_store("GET", "/quarantine/"), || Fault::Truncate).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_body_that_is_read_back_is_cut_short() -> Result<()> {
    let (upload, fate) = photo()?;
    through(&mut Station::new().await?, &upload, fate, to_store("GET", "/published/"), || Fault::Truncate).await
}

/// One object, whose first request of this kind meets the fault.
async fn through(
    station: &mut Station,
    upload: &Upload,
    fate: Fate,
    matches: impl Fn(&Request) -> bool + Send + 'static,
    fault: impl Fn() -> Fault,
) -> Result<()> {
    station.set("worker.lease", "2s");
    station.set("queue.sqs.visibility_timeout", "3s");
    let proxies = Proxies::between(station)?;
    let mut worker = station.worker("worker").await?;
    proxies.faults.restart();
    proxies.faults.on(1, matches, fault());
    let created = station.submit(upload).await?;
    let shown = station.settled(&created.upload_id, SETTLED_WITHIN).await?;
    let seen = || proxies.faults.seen().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    ensure!(proxies.faults.pending() == 0, "no request met the fault:\n{}", seen());
    assert_eq!(shown.outcome(), "published", "{:?}\n{}", shown.story, seen());
    station.queue.drained(SETTLED_WITHIN).await?;
    worker.kill()?;
    oracle::holds(station, &[Expected { created, upload: upload.clone(), fate }]).await
}
