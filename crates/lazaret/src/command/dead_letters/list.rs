//! `lazaret dead-letters list`.

use std::process::ExitCode;

use anyhow::{Result, bail};

use super::{Desk, INTERRUPTED, Received, view::Shown};
use crate::{cli::Output, output};

pub(super) async fn run(desk: &mut Desk<'_>, limit: usize, form: Output) -> Result<ExitCode> {
    let read = read(desk, limit).await;
    desk.give_back().await;
    let mut shown = read?;
    let more = shown.len() > limit;
    shown.truncate(limit);
    match form {
        Output::Json => output::json(&shown)?,
        Output::Table if shown.is_empty() => output::line("there are no dead letters")?,
        Output::Table => {
            let mut table = output::table(&["message", "object", "bytes", "detail"]);
            for letter in &shown {
                table.add_row(letter.cells());
            }
            output::show(&table)?;
        }
    }
    if more {
        anstream::eprintln!("there are more than {limit} dead letters: raise --limit to see them");
    }
    Ok(ExitCode::SUCCESS)
}

/// Up to `limit` letters, and one more if there are more. All stay kept meanwhile, so that none is seen twice.
async fn read(desk: &mut Desk<'_>, limit: usize) -> Result<Vec<Shown>> {
    let mut shown = Vec::new();
    while shown.len() <= limit {
        let letters = match desk.receive(limit + 1 - shown.len()).await? {
            Received::Letters(letters) => letters,
            Received::End => break,
            Received::Interrupted => bail!(INTERRUPTED),
        };
        for letter in &letters {
            if desk.keep(letter) {
                shown.push(Shown::of(letter));
            }
        }
    }
    Ok(shown)
}
