//! `lazaret session`: create, read and steer upload sessions.

mod create;
mod show;
mod view;

use anyhow::{Context as _, Result, bail};
use lazaret_core::{
    InvalidTransition, StateName, UploadId,
    ports::{ObjectStore, SessionStore, SessionStoreError},
};

use crate::{
    cli::{Output, Session, Steer},
    output,
    settings::Settings,
    wiring,
};

use view::Summary;

/// How many sessions are asked for at a time.
const PAGE: u32 = 500;

/// Runs one of the session commands.
pub(super) async fn run(settings: &Settings, command: &Session, form: Output) -> Result<()> {
    match command {
        Session::Create(arguments) => create::run(settings, arguments, form).await,
        Session::Show { id } => show::run(settings, *id, form).await,
        Session::List { state, limit } => list(settings, *state, *limit, form).await,
        Session::Finalize(steer) => finalize(settings, steer, form).await,
        Session::Release(steer) => {
            let sessions = wiring::sessions(settings).await?;
            let session = sessions.release(steer.id, &steer.actor).await.context("not released")?;
            print(&Summary::of(&session), form)
        }
        Session::Reject(steer) => {
            let sessions = wiring::sessions(settings).await?;
            let rejected = sessions.reject_held(steer.id, &steer.actor).await.map_err(as_asked);
            let session = rejected.context("not rejected")?;
            print(&Summary::of(&session), form)
        }
    }
}

async fn list(settings: &Settings, state: Option<StateName>, limit: usize, form: Output) -> Result<()> {
    let sessions = wiring::sessions(settings).await?;
    let mut found: Vec<Summary> = Vec::new();
    let mut after: Option<UploadId> = None;
    // One more than asked for tells whether there are more.
    while found.len() <= limit {
        let page = sessions.list(state, after, PAGE).await.context("sessions cannot be listed")?;
        let Some(last) = page.last() else { break };
        after = Some(last.upload_id);
        found.extend(page.iter().map(Summary::of));
    }
    let more = found.len() > limit;
    found.truncate(limit);
    match form {
        Output::Json => output::json(&found)?,
        Output::Table => {
            let mut table = output::table(&["upload", "tenant", "file", "bytes", "state", "reason", "changed"]);
            for summary in &found {
                table.add_row(summary.cells());
            }
            output::show(&table)?;
        }
    }
    if more {
        anstream::eprintln!("there are more than {limit} sessions: raise --limit to see them");
    }
    Ok(())
}

async fn finalize(settings: &Settings, steer: &Steer, form: Output) -> Result<()> {
    let sessions = wiring::sessions(settings).await?;
    let session = sessions.get(steer.id).await?.with_context(|| unknown(steer.id))?;
    if matches!(session.state.name(), StateName::Created | StateName::Uploaded) {
        let store = wiring::client(settings).await?;
        let head = store.head(&session.bucket, session.key.as_key(), None).await.context("not finalized")?;
        if head.is_none() {
            bail!("not finalized: nothing lies at {}/{} yet; upload to its put_url first", session.bucket, session.key);
        }
    }
    let session = sessions.finalize(steer.id, &steer.actor).await.context("not finalized")?;
    print(&Summary::of(&session), form)
}

/// The event that upholds a hold, named as the command that asks for it.
fn as_asked(error: SessionStoreError) -> SessionStoreError {
    match error {
        SessionStoreError::Transition(refused) => InvalidTransition { event: "reject", ..refused }.into(),
        other => other,
    }
}

fn unknown(id: UploadId) -> String {
    format!("there is no session {id}; `lazaret session list` shows all")
}

fn print(summary: &Summary, form: Output) -> Result<()> {
    match form {
        Output::Json => output::json(summary),
        Output::Table => output::line(format_args!("{} is now {}", summary.upload_id, summary.state)),
    }
}
