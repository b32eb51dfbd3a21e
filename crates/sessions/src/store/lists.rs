//! The allow and block lists.

use lazaret_core::{ListEntry, ListEntryId, NewListEntry, Removal, Sha256Digest, Subject, ports::SessionStoreError};
use sqlx::{AssertSqlSafe, any::AnyRow};

use super::{
    record::{at, get, parsed, text, time, time_if},
    write::Write,
};
use crate::{call::Call, error::corrupt};

/// The columns that an entry is read from.
const COLUMNS: &str = "entry.id, entry.kind, entry.sha256, entry.signature, entry.added_by, entry.why, \
     entry.added_at_ms, entry.expires_at_ms, removal.removed_by, removal.removed_at_ms";
const TABLES: &str = "list_entries entry left join list_removals removal on removal.entry_id = entry.id";

pub(super) async fn add(mut write: Write, new: &NewListEntry) -> Result<ListEntry, SessionStoreError> {
    let (sha256, signature) = match &new.subject {
        Subject::Sha256(sha256) => (Some(sha256.to_string()), None),
        Subject::Signature(signature) => (None, Some(text(signature))),
    };
    let expires_at_ms = new.expires_in.map(|time| write.after(time));
    let insert = sqlx::query(
        "insert into list_entries (kind, sha256, signature, added_by, why, added_at_ms, expires_at_ms) \
         values ($1, $2, $3, $4, $5, $6, $7) returning id",
    )
    .bind(new.kind.as_str())
    .bind(sha256)
    .bind(signature)
    .bind(text(&new.added_by))
    .bind(text(&new.why))
    .bind(write.now_ms())
    .bind(expires_at_ms);
    let row = write.call().row(insert).await?.ok_or_else(|| corrupt("an entry without an id"))?;
    let id = ListEntryId(get(&row, "id")?);
    let entry = one(&mut write, id).await?.ok_or_else(|| corrupt(format!("list entry {id} is gone")))?;
    write.commit().await?;
    Ok(entry)
}

/// The first removal is the one that is remembered.
pub(super) async fn remove(
    mut write: Write,
    id: ListEntryId,
    by: &str,
) -> Result<Option<ListEntry>, SessionStoreError> {
    let insert = sqlx::query(
        "insert into list_removals (entry_id, removed_by, removed_at_ms) select id, $2, $3 from list_entries \
         where id = $1 and not exists (select 1 from list_removals where entry_id = $1) on conflict do nothing",
    )
    .bind(id.0)
    .bind(text(by))
    .bind(write.now_ms());
    write.execute(insert).await?;
    let entry = one(&mut write, id).await?;
    write.commit().await?;
    Ok(entry)
}

async fn one(write: &mut Write, id: ListEntryId) -> Result<Option<ListEntry>, SessionStoreError> {
    let select = format!("select {COLUMNS} from {TABLES} where entry.id = $1");
    let row = write.call().row(sqlx::query(AssertSqlSafe(select)).bind(id.0)).await?;
    row.map(|row| entry(&row)).transpose()
}

pub(super) async fn entries(
    mut call: Call,
    all: bool,
    after: Option<ListEntryId>,
    limit: u32,
) -> Result<Vec<ListEntry>, SessionStoreError> {
    let counts = if all { "true".to_owned() } else { counts(&call) };
    let select = format!("select {COLUMNS} from {TABLES} where entry.id > $1 and {counts} order by entry.id limit $2");
    let select = sqlx::query(AssertSqlSafe(select)).bind(after.map_or(i64::MIN, |id| id.0)).bind(i64::from(limit));
    call.rows(select).await?.iter().map(entry).collect()
}

pub(super) async fn matching(
    mut call: Call,
    digests: &[Sha256Digest],
    signatures: &[String],
) -> Result<Vec<ListEntry>, SessionStoreError> {
    let mut subjects = Vec::new();
    if !digests.is_empty() {
        subjects.push(format!("entry.sha256 in ({})", places(1, digests.len())));
    }
    if !signatures.is_empty() {
        subjects.push(format!("entry.signature in ({})", places(1 + digests.len(), signatures.len())));
    }
    if subjects.is_empty() {
        return Ok(Vec::new());
    }
    let select = format!(
        "select {COLUMNS} from {TABLES} where ({}) and {} order by entry.id",
        subjects.join(" or "),
        counts(&call)
    );
    // One digest is asked about for every object; how many names a scan brings is another number each time.
    let mut select = sqlx::query(AssertSqlSafe(select)).persistent(signatures.is_empty());
    for digest in digests {
        select = select.bind(digest.to_string());
    }
    for signature in signatures {
        select = select.bind(text(signature));
    }
    call.rows(select).await?.iter().map(entry).collect()
}

/// Neither taken back nor expired, when the database is asked.
fn counts(call: &Call) -> String {
    let clock = call.dialect().clock();
    format!("removal.entry_id is null and (entry.expires_at_ms is null or entry.expires_at_ms > {clock})")
}

fn places(first: usize, count: usize) -> String {
    (first..first + count).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}

fn entry(row: &AnyRow) -> Result<ListEntry, SessionStoreError> {
    let subject = match (get::<Option<String>>(row, "sha256")?, get(row, "signature")?) {
        (Some(_), None) => Subject::Sha256(parsed(row, "sha256")?),
        (None, Some(signature)) => Subject::Signature(signature),
        (Some(_), Some(_)) | (None, None) => return Err(corrupt("a list entry is about one thing")),
    };
    let removed = match (get(row, "removed_by")?, get::<Option<i64>>(row, "removed_at_ms")?) {
        (Some(by), Some(ms)) => Some(Removal { at: at(ms)?, by }),
        (_, _) => None,
    };
    Ok(ListEntry {
        id: ListEntryId(get(row, "id")?),
        kind: parsed(row, "kind")?,
        subject,
        added_by: get(row, "added_by")?,
        why: get(row, "why")?,
        added_at: time(row, "added_at_ms")?,
        expires_at: time_if(row, "expires_at_ms")?,
        removed,
    })
}
