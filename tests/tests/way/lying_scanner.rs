//! A clamd that answers with what is no verdict: nothing is published, nothing is called infected.

use std::time::Duration;

use anyhow::{Result, ensure};
use lazaret_testkit::scanners::{Answer, FakeClamd, Listen};
use lazaret_tests::{
    objects::{Upload, eicar},
    station::Station,
    wait::until_true,
};

use crate::SETTLED_WITHIN;

/// How often it must have lied before what came of it is looked at.
const LIES: usize = 3;

#[tokio::test]
async fn an_empty_reply_is_no_verdict() -> Result<()> {
    lie(Answer::Say(Vec::new())).await
}

#[tokio::test]
async fn half_a_reply_is_no_verdict() -> Result<()> {
    lie(Answer::Say(b"stream: O".to_vec())).await
}

#[tokio::test]
async fn the_size_error_is_no_verdict() -> Result<()> {
    lie(Answer::line("INSTREAM size limit exceeded. ERROR")).await
}

#[tokio::test]
async fn the_text_of_a_time_out_is_no_verdict() -> Result<()> {
    lie(Answer::line("COMMAND READ TIMED OUT")).await
}

#[tokio::test]
async fn a_virus_without_a_name_is_no_verdict() -> Result<()> {
    lie(Answer::line("stream: (null) FOUND")).await
}

/// The same lie about a clean and an infected object, until both are held or it was told often enough; then the truth.
async fn lie(answer: Answer) -> Result<()> {
    let clamd = FakeClamd::start(Listen::Tcp).await?;
    let truth = || Answer::line("stream: OK");
    clamd.answers([truth()]);
    let mut station = Station::new().await?;
    station.set("worker.max_attempts", "2");
    station.set("worker.lease", "1s");
    station.set("scanner.0.address", clamd.address());
    // It tries its scanners before it says that it is ready.
    let mut worker = station.worker("worker").await?;
    clamd.answers([answer]);
    let before = clamd.streams();
    let uploads = [Upload::text("clean"), Upload::new("eicar.txt", "text/plain", eicar())];
    let mut sessions = Vec::new();
    for upload in &uploads {
        sessions.push(station.submit(upload).await?);
    }
    until_true("the lie is told, or believed to be none", SETTLED_WITHIN, async || {
        worker.ensure_up()?;
        let mut settled = true;
        for created in &sessions {
            settled &= station.show(&created.upload_id)?.is_settled();
        }
        Ok(settled || clamd.streams() >= before + LIES * sessions.len())
    })
    .await?;
    let mut told = Vec::new();
    for created in &sessions {
        let shown = station.show(&created.upload_id)?;
        ensure!(shown.state == "held" || !shown.is_settled(), "{}: {:?}", shown.outcome(), shown.story);
        let verdicts = format!("{:?}", shown.records("verdicts")).to_lowercase();
        ensure!(!verdicts.contains("infected") && !verdicts.contains("clean"), "{verdicts}");
        told.push(shown.outcome());
    }
    println!("after {} lies: {told:?}", clamd.streams() - before);
    assert!(station.store.published().await?.is_empty());

    // The test would see a copy: the truth makes one.
    clamd.answers([truth()]);
    let created = station.submit(&Upload::text("the truth")).await?;
    let shown = station.settled(&created.upload_id, SETTLED_WITHIN + Duration::from_secs(15)).await?;
    assert_eq!(shown.outcome(), "published");
    drop(worker);
    Ok(())
}
