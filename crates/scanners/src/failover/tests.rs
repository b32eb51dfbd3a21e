use lazaret_core::Finding;
use lazaret_testkit::scanners::{Answer, FakeClamd, Listen, spooled};

use super::*;
use crate::{ClamdScanner, ClamdSettings};

const SOON: Duration = Duration::from_secs(10);

fn clamd(address: &str) -> Arc<dyn Scanner> {
    #[expect(clippy::disallowed_methods, reason = "the clock of the scanner")]
    let settings = ClamdSettings::new("clamd".parse().unwrap(), address.parse().unwrap(), lazaret_core::Timestamp::now);
    Arc::new(ClamdScanner::new(ClamdSettings { require_alerts: false, ..settings }))
}

fn over(addresses: [&str; 2]) -> Failover {
    let members = addresses.map(|address| (address.to_owned(), clamd(address)));
    Failover::new("clamd".parse().unwrap(), members.into())
}

async fn clean(listen: Listen) -> anyhow::Result<FakeClamd> {
    let fake = FakeClamd::start(listen).await?;
    fake.answers([match listen {
        Listen::Unix => Answer::line("fd[0]: OK"),
        Listen::Tcp => Answer::line("stream: OK"),
    }]);
    Ok(fake)
}

#[tokio::test]
async fn an_engine_that_is_gone_is_replaced_by_the_next() -> anyhow::Result<()> {
    let (first, second) = (clean(Listen::Tcp).await?, clean(Listen::Tcp).await?);
    let scanner = over([first.address(), second.address()]);
    let object = spooled(b"text")?;
    assert_eq!(scanner.scan(&object, SOON).await?.finding, Finding::Clean);
    assert_eq!((first.streams(), second.streams()), (1, 0));
    drop(first);
    // The version that was known a moment ago may let one object begin at the engine that is gone.
    for _ in 0..3 {
        assert_eq!(scanner.scan(&object, SOON).await?.finding, Finding::Clean);
    }
    assert_eq!(second.streams(), 3);
    scanner.check().await?;
    Ok(())
}

#[tokio::test]
async fn trouble_with_an_object_is_taken_to_no_other_engine() -> anyhow::Result<()> {
    let (first, second) = (clean(Listen::Tcp).await?, clean(Listen::Tcp).await?);
    first.answers([Answer::Say(Vec::new())]);
    let scanner = over([first.address(), second.address()]);
    let answer = scanner.scan(&spooled(b"text")?, SOON).await;
    assert!(matches!(answer, Err(ScanError::NoVerdict { .. })), "{answer:?}");
    assert_eq!(second.streams(), 0);
    Ok(())
}

/// The object may be what keeps it, so that one goes to no other.
#[tokio::test]
async fn an_engine_that_hangs_keeps_one_object_and_not_the_next() -> anyhow::Result<()> {
    let (first, second) = (clean(Listen::Tcp).await?, clean(Listen::Tcp).await?);
    let scanner = over([first.address(), second.address()]);
    let (object, other) = (spooled(b"text")?, spooled(b"other text")?);
    scanner.check().await?;
    first.answers([Answer::Stall, Answer::Stall]);
    let deadline = Duration::from_secs(2);
    let answer = scanner.scan(&object, deadline).await;
    assert!(
        matches!(answer, Err(ScanError::DeadlineExceeded { deadline: said, .. }) if said == deadline),
        "{answer:?}"
    );
    assert_eq!((first.streams(), second.streams()), (1, 0));
    assert_eq!(scanner.scan(&other, SOON).await?.finding, Finding::Clean);
    assert_eq!((first.streams(), second.streams()), (1, 1));
    let again = scanner.scan(&object, deadline).await;
    assert!(matches!(again, Err(ScanError::DeadlineExceeded { .. })), "{again:?}");
    assert_eq!((first.streams(), second.streams()), (2, 1));
    Ok(())
}

#[tokio::test]
async fn without_any_engine_it_is_unavailable() -> anyhow::Result<()> {
    let scanner = over(["unix:/nowhere/a", "unix:/nowhere/b"]);
    assert!(matches!(scanner.check().await, Err(ScanError::Unavailable { .. })));
    let answer = scanner.scan(&spooled(b"text")?, SOON).await;
    assert!(matches!(answer, Err(ScanError::Unavailable { .. })), "{answer:?}");
    Ok(())
}
