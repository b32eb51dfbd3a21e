//! Verdicts told to the world: CloudEvents on a queue, and signed to a webhook that is away at first.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    thread,
};

use anyhow::{Context, Result, ensure};
use lazaret_tests::{
    objects::{Upload, eicar, sha256},
    station::{Bus, Database, Station},
    wait::until,
};
use serde_json::Value;

use crate::SETTLED_WITHIN;

const SECRET: &str = "whsec_bGF6YXJldCB0ZXN0IHNlY3JldCBvZiAzMiBieXRlcw==";
/// How often the webhook says that it is not there.
const REFUSALS: usize = 2;

#[tokio::test]
async fn verdicts_arrive_on_a_queue_as_cloud_events() -> Result<()> {
    let mut station = Station::on(Database::Sqlite, Bus::Sqs).await?;
    let told = station.another_queue("verdicts").await?;
    let endpoint = station.servers.sqs.clone();
    for (key, value) in [
        ("events.kind", "sqs"),
        ("events.source", "urn:lazaret:test"),
        ("events.sqs.url", told.name()),
        ("events.sqs.endpoint", &endpoint),
    ] {
        station.set(key, value);
    }
    let _worker = station.worker("worker").await?;
    let text = Upload::text("told");
    let published = station.submit(&text).await?;
    let rejected = station.submit(&Upload::new("eicar.txt", "text/plain", eicar())).await?;
    let held = station.submit(&Upload::fixture("encrypted.zip", "application/zip")?).await?;
    ensure!(station.settled(&held.upload_id, SETTLED_WITHIN).await?.outcome() == "held/encrypted");
    station.succeed(&["session", "reject", &held.upload_id])?;

    let mut events: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    until("four verdicts are told", SETTLED_WITHIN, async || {
        for (body, _) in told.take().await? {
            let event: Value = serde_json::from_str(&body)?;
            let subject = event["subject"].as_str().context("an event without a subject")?.to_owned();
            events.entry(subject).or_default().push(event);
        }
        Ok((events.values().map(Vec::len).sum::<usize>() >= 4).then_some(()))
    })
    .await?;

    let kinds = |id: &str| -> Vec<&str> { events[id].iter().filter_map(|event| event["type"].as_str()).collect() };
    assert_eq!(kinds(&published.upload_id), ["lazaret.upload.published"]);
    assert_eq!(kinds(&rejected.upload_id), ["lazaret.upload.rejected"]);
    // FIFO is not asked of a standard queue; the relay tells the second only after the first was taken.
    let mut of_held = kinds(&held.upload_id);
    of_held.sort_unstable();
    assert_eq!(of_held, ["lazaret.upload.held", "lazaret.upload.rejected"]);

    let event = &events[&published.upload_id][0];
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["source"], "urn:lazaret:test");
    assert_eq!(event["datacontenttype"], "application/json");
    let data = &event["data"];
    assert_eq!(data["object_id"], published.object_id);
    assert_eq!(data["source"]["sha256"], sha256(&text.bytes));
    assert_eq!(data["published"]["sha256"], sha256(&text.bytes));
    assert_eq!(data["scanners"][0]["scanner"], "clamd", "{data}");
    let infected = &events[&rejected.upload_id][0]["data"];
    assert_eq!(infected["reason"], "infected");
    assert!(infected["published"].is_null(), "{infected}");
    Ok(())
}

#[tokio::test]
async fn a_webhook_that_is_away_is_told_again_with_the_same_id_and_a_signature() -> Result<()> {
    let mut station = Station::on(Database::Postgres, Bus::Amqp).await?;
    let (address, requests) = webhook()?;
    for (key, value) in [
        ("events.kind", "webhook"),
        ("events.webhook.url", format!("http://{address}/verdicts").as_str()),
        ("events.webhook.secret", SECRET),
    ] {
        station.set(key, value);
    }
    let worker = station.worker("worker").await?;
    let created = station.submit(&Upload::text("told until it is heard")).await?;
    let mut tries = Vec::new();
    until("the webhook takes the event", SETTLED_WITHIN, async || {
        tries.extend(requests.try_iter());
        Ok((tries.len() > REFUSALS).then_some(()))
    })
    .await?;

    let first = &tries[0];
    assert!(tries.iter().all(|request| request.id == first.id && request.body == first.body), "{tries:?}");
    assert!(tries.iter().all(|request| request.signature.starts_with("v1,")), "{tries:?}");
    let event: Value = serde_json::from_slice(&first.body)?;
    assert_eq!(event["id"], first.id);
    assert_eq!(event["type"], "lazaret.upload.published");
    assert_eq!(event["subject"], created.upload_id);
    let metrics = station.metrics().await?;
    assert!(metrics.sum("lazaret_verdict_events_total", &["result=\"unavailable\""])? >= 2.0, "{}", metrics.text());
    let log = worker.stderr()?;
    assert!(!log.contains(SECRET), "the secret is in the log");
    Ok(())
}

/// One request of the webhook.
#[derive(Debug)]
struct Request {
    id: String,
    signature: String,
    body: Vec<u8>,
}

/// Answers 503 at first, 204 from then on.
fn webhook() -> Result<(SocketAddr, Receiver<Request>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let (sender, requests) = channel();
    // Ends with the process: the test is one.
    thread::spawn(move || {
        let mut seen = 0;
        for stream in listener.incoming().flatten() {
            let answer = if seen < REFUSALS { "503 Service Unavailable" } else { "204 No Content" };
            if let Ok(request) = answer_one(&stream, answer) {
                seen += 1;
                if sender.send(request).is_err() {
                    return;
                }
            }
        }
    });
    Ok((address, requests))
}

fn answer_one(mut stream: &TcpStream, answer: &str) -> Result<Request> {
    let mut reader = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        if let Some((name, value)) = line.trim().split_once(": ") {
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        line.clear();
    }
    let header = |name: &str| headers.get(name).cloned().with_context(|| format!("no header {name}: {headers:?}"));
    let mut body = vec![0; header("content-length")?.parse()?];
    reader.read_exact(&mut body)?;
    write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(Request { id: header("webhook-id")?, signature: header("webhook-signature")?, body })
}
