//! The contract of [`ListStore`], rule by rule. Every adapter runs [`conforms`] and, if several processes can share its
//! database, [`conforms_shared`].

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use lazaret_core::{ListEntry, ListEntryId, ListKind, NewListEntry, Sha256Digest, Subject, ports::ListStore};

use crate::sessions::until;

const LONG: Duration = Duration::from_hours(1);
const SHORT: Duration = Duration::from_millis(200);

/// Runs every rule, each on a store of its own.
pub async fn conforms(make: impl AsyncFn() -> Result<Arc<dyn ListStore>>) -> Result<()> {
    keeps_what_it_was_given(&*make().await?).await.context("keeps_what_it_was_given")?;
    matches_exactly(&*make().await?).await.context("matches_exactly")?;
    removed_entries_count_no_more(&*make().await?).await.context("removed_entries_count_no_more")?;
    expired_entries_count_no_more(&*make().await?).await.context("expired_entries_count_no_more")?;
    lists_in_pages(&*make().await?).await.context("lists_in_pages")
}

/// Runs the rules about two stores on one database.
pub async fn conforms_shared(make: impl AsyncFn() -> Result<(Arc<dyn ListStore>, Arc<dyn ListStore>)>) -> Result<()> {
    let (one, other) = make().await?;
    let entry = one.add(&digest(ListKind::Block, 1)).await?;
    ensure!(other.matching(&[bytes(1)], &[]).await? == [entry.clone()], "an entry counts at once, everywhere");
    let (mine, yours) = tokio::join!(one.remove(entry.id, "alice"), other.remove(entry.id, "bob"));
    ensure!(mine? == yours?, "it is removed once");
    ensure!(one.matching(&[bytes(1)], &[]).await?.is_empty() && other.matching(&[bytes(1)], &[]).await?.is_empty());
    Ok(())
}

fn bytes(number: u8) -> Sha256Digest {
    Sha256Digest::from_bytes([number; 32])
}

/// An entry about bytes, by alice.
pub fn digest(kind: ListKind, number: u8) -> NewListEntry {
    entry(kind, Subject::Sha256(bytes(number)))
}

/// An entry about a signature, by alice.
pub fn signature(kind: ListKind, name: &str) -> NewListEntry {
    entry(kind, Subject::Signature(name.to_owned()))
}

fn entry(kind: ListKind, subject: Subject) -> NewListEntry {
    let (added_by, why) = ("alice".to_owned(), "looked at, ticket 7".to_owned());
    NewListEntry { kind, subject, added_by, why, expires_in: None }
}

async fn keeps_what_it_was_given(store: &dyn ListStore) -> Result<()> {
    let mut last = ListEntryId(0);
    for kind in [ListKind::Allow, ListKind::Block] {
        for new in [digest(kind, 1), signature(kind, "Win.Test.Eicar-1' or 1=1 --"), signature(kind, "nul\0und größe")]
        {
            for expires_in in [None, Some(LONG)] {
                let new = NewListEntry { expires_in, ..new.clone() };
                let made = store.add(&new).await?;
                ensure!(made.id > last && made.kind == new.kind && made.removed.is_none(), "{made:?}");
                ensure!((&made.added_by, &made.why) == (&new.added_by, &new.why), "{made:?}");
                ensure!(made.expires_at == expires_in.map(|time| made.added_at + time), "{made:?}");
                ensure!(store.entries(true, Some(last), 10).await? == std::slice::from_ref(&made));
                match (&made.subject, &new.subject) {
                    (Subject::Signature(kept), Subject::Signature(given)) => {
                        ensure!(*kept == given.replace('\0', "\u{fffd}"), "{made:?}");
                        let asked = store.matching(&[], std::slice::from_ref(given)).await?;
                        ensure!(asked.contains(&made), "what is kept is what is asked for");
                    }
                    (kept, given) => ensure!(kept == given, "{made:?}"),
                }
                last = made.id;
            }
        }
    }
    Ok(())
}

async fn matches_exactly(store: &dyn ListStore) -> Result<()> {
    let first = store.add(&digest(ListKind::Allow, 1)).await?;
    let second = store.add(&signature(ListKind::Block, "Eicar")).await?;
    let third = store.add(&digest(ListKind::Block, 1)).await?;
    let name = |text: &str| text.to_owned();
    ensure!(store.matching(&[], &[]).await?.is_empty());
    ensure!(store.matching(&[bytes(2)], &[name("eicar"), name("Eicar.UNOFFICIAL"), name("")]).await?.is_empty());
    ensure!(store.matching(&[bytes(2), bytes(1)], &[]).await? == [first.clone(), third.clone()]);
    ensure!(store.matching(&[], &[name("x"), name("Eicar")]).await? == std::slice::from_ref(&second));
    ensure!(store.matching(&[bytes(1)], &[name("Eicar")]).await? == [first, second, third]);
    // As many names as a scan may bring.
    let many: Vec<_> = (0..500).map(|number| number.to_string()).chain([name("Eicar")]).collect();
    ensure!(store.matching(&[bytes(3)], &many).await?.len() == 1);
    Ok(())
}

async fn removed_entries_count_no_more(store: &dyn ListStore) -> Result<()> {
    let entry = store.add(&digest(ListKind::Allow, 1)).await?;
    let twin = store.add(&digest(ListKind::Allow, 1)).await?;
    let removed = store.remove(entry.id, "bob").await?.context("it is there")?;
    let removal = removed.removed.clone().context("a removal")?;
    ensure!(removal.by == "bob" && removal.at >= entry.added_at, "{removal:?}");
    ensure!(ListEntry { removed: None, ..removed.clone() } == entry, "nothing else changed: {removed:?}");
    ensure!(store.remove(entry.id, "carol").await?.as_ref() == Some(&removed), "it is removed once");
    ensure!(store.matching(&[bytes(1)], &[]).await? == std::slice::from_ref(&twin));
    ensure!(store.entries(false, None, 10).await? == std::slice::from_ref(&twin));
    ensure!(store.entries(true, None, 10).await? == [removed, twin]);
    ensure!(store.remove(ListEntryId(4711), "bob").await?.is_none());
    Ok(())
}

async fn expired_entries_count_no_more(store: &dyn ListStore) -> Result<()> {
    let short = NewListEntry { expires_in: Some(SHORT), ..signature(ListKind::Allow, "Eicar") };
    let long = NewListEntry { expires_in: Some(LONG), ..signature(ListKind::Allow, "Eicar") };
    let (short, long) = (store.add(&short).await?, store.add(&long).await?);
    let name = ["Eicar".to_owned()];
    until("it expires", async || Ok((store.matching(&[], &name).await? == std::slice::from_ref(&long)).then_some(())))
        .await?;
    ensure!(store.entries(false, None, 10).await? == std::slice::from_ref(&long));
    ensure!(store.entries(true, None, 10).await? == [short, long]);
    Ok(())
}

async fn lists_in_pages(store: &dyn ListStore) -> Result<()> {
    let mut expected = Vec::new();
    for number in 0..5 {
        expected.push(store.add(&digest(ListKind::Block, number)).await?);
    }
    let mut seen: Vec<ListEntry> = Vec::new();
    loop {
        let page = store.entries(false, seen.last().map(|entry| entry.id), 2).await?;
        ensure!(page.len() <= 2 && seen.len() <= expected.len());
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    ensure!(seen == expected, "{seen:?}");
    Ok(())
}
