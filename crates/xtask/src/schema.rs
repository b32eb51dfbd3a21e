//! `config/schema.json`: what `lazaret config schema` prints, for editors and for review.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::child;
use crate::workspace::Workspace;

const FILE: &str = "config/schema.json";

pub(crate) fn write() -> Result<()> {
    let workspace = Workspace::find()?;
    child::run("cargo build", workspace.cargo("build").args(["--workspace", "--bins"]))?;
    let schema = printed(&workspace)?;
    fs::write(workspace.root.join(FILE), schema).with_context(|| format!("cannot write {FILE}"))
}

/// An error when the committed schema is not the program's.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    let committed = fs::read(workspace.root.join(FILE)).with_context(|| format!("cannot read {FILE}"))?;
    if committed != printed(workspace)? {
        bail!("{FILE} is not what the program prints any more: run `cargo xtask schema` and commit the result");
    }
    Ok(())
}

fn printed(workspace: &Workspace) -> Result<Vec<u8>> {
    let mut command = child::command(workspace.program("lazaret"));
    child::capture("lazaret config schema", command.args(["config", "schema"]).current_dir(&workspace.root))
}
