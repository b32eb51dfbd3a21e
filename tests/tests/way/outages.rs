//! clamd, then the database, then the store, then the broker is away with two hundred messages waiting: consumption
//! pauses, and goes on by itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use lazaret_core::{StateName, ports::SessionStore};
use lazaret_testkit::proxy::Proxy;
use lazaret_tests::{
    direct,
    objects::Upload,
    oracle::{self, Expected, Fate},
    program::Running,
    proxies::Proxies,
    station::{Bus, Database, Station},
    wait::until_true,
};
use tokio::time::sleep;

use crate::SETTLED_WITHIN;

const WAITING: usize = 200;
/// Sent before them, so that an outage meets work that is under way.
const UNDER_WAY: usize = 20;
const OUTAGE: Duration = Duration::from_secs(30);
/// Two looks at a dependency are a quarter of a minute apart at most, a message's tries a minute.
const RECOVERED_WITHIN: Duration = Duration::from_mins(2);

#[tokio::test]
async fn heavy_outages_of_every_dependency_burn_no_attempt() -> Result<()> {
    let mut station = Station::on(Database::Postgres, Bus::Amqp).await?;
    station.set("worker.lease", "5s");
    // One attempt is what there is: a single burnt one would be seen as a held object.
    station.set("worker.max_attempts", "1");
    let proxies = Proxies::between(&mut station)?;
    let sessions = station.sessions().await?;
    let mut worker = station.worker("worker").await?;
    let database = proxies.database.as_ref().context("no proxy of the database")?;
    let mut expected = Vec::new();
    for (name, proxy) in
        [("clamd", &proxies.clamd), ("database", database), ("store", &proxies.store), ("broker", &proxies.queue)]
    {
        let sent = outage(&station, &sessions, &mut worker, proxy).await.with_context(|| format!("without the {name}"));
        let (sent, recovery) = sent?;
        println!("without the {name}: all {} settled {:.1} s after it was back", sent.len(), recovery.as_secs_f64());
        expected.extend(sent);
    }
    worker.kill()?;
    // An original that could not be deleted while the store was away is the sweeper's.
    station.succeed(&["sweep"])?;
    oracle::holds(&station, &expected).await
}

async fn outage(
    station: &Station,
    sessions: &Arc<dyn SessionStore>,
    worker: &mut Running,
    proxy: &Proxy,
) -> Result<(Vec<Expected>, Duration)> {
    let mut expected = Vec::new();
    for index in 0..UNDER_WAY + WAITING {
        if index == UNDER_WAY {
            proxy.down()?;
        }
        let upload = Upload::text(&format!("{index} at {}", proxy.address()));
        let created = direct::create(station, &**sessions, &upload).await?;
        direct::upload(station, &created, &upload).await?;
        expected.push(Expected { created, upload, fate: Fate::AsIs });
    }
    until_true("the worker says that it is not ready", SETTLED_WITHIN, async || {
        worker.ensure_up()?;
        Ok(station.get("/readyz").await.is_ok_and(|(status, _)| status == 503))
    })
    .await?;
    // The outage itself is what is waited for.
    sleep(OUTAGE).await;
    let before = unsettled(&**sessions, &expected).await?;
    ensure!(before >= WAITING, "{before} objects waited, the others were settled without a dependency");
    proxy.up()?;
    let back = Instant::now();
    until_true("all of them are settled", RECOVERED_WITHIN, async || {
        worker.ensure_up()?;
        Ok(unsettled(&**sessions, &expected).await? == 0)
    })
    .await?;
    let recovery = back.elapsed();
    for one in &expected {
        let session = sessions.get(one.created.upload_id.parse()?).await?.context("a session is gone")?;
        ensure!(session.attempts <= 1, "{} took {} attempts", session.upload_id, session.attempts);
    }
    ensure!(station.dead_letters.left().await? == (0, 0), "messages were dead-lettered");
    until_true("the worker is ready again", SETTLED_WITHIN, async || {
        Ok(station.get("/readyz").await.is_ok_and(|(status, _)| status == 200))
    })
    .await?;
    Ok((expected, recovery))
}

async fn unsettled(sessions: &dyn SessionStore, expected: &[Expected]) -> Result<usize> {
    let mut count = 0;
    for one in expected {
        let session = sessions.get(one.created.upload_id.parse()?).await?.context("a session is gone")?;
        count += usize::from(matches!(
            session.state.name(),
            StateName::Created | StateName::Uploaded | StateName::Finalized
        ));
    }
    Ok(count)
}
