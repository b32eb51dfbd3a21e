//! `cargo xtask demo`: real files through a real `lazaret dev`, as a user would send them.

mod cases;
mod copy;
mod curl;
mod report;
mod station;
mod trial;

use std::process::ExitCode;

use anyhow::Result;

use crate::packages::{self, C_BUILD, CLAMAV, CURL};
use crate::workspace::Workspace;
use crate::{build, say, stop};
use station::Station;
use trial::Row;

pub(crate) fn run(keep: bool) -> Result<ExitCode> {
    packages::ensure(&C_BUILD)?;
    packages::ensure(&[CLAMAV, CURL])?;
    let workspace = Workspace::find()?;
    build::programs(&workspace, false, &["--bins"])?;
    say::step("lazaret dev");
    let mut station = Station::start(&workspace)?;
    say::step("uploads");
    let tried = try_all(&workspace, &mut station);
    let rows = tried.map_err(|error| if stop::requested() { error } else { station.with_log(&error) })?;
    report::print(&rows)?;
    report::signatures(&station)?;
    let same = rows.iter().all(|row| row.differences.is_empty());
    if !same {
        report::differences(&rows, &station);
    }
    if keep {
        report::what_next(&station)?;
        station.stay_up()?;
    }
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn try_all(workspace: &Workspace, station: &mut Station) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for case in cases::all() {
        match trial::run(workspace, station, &case) {
            Ok(row) => rows.push(row),
            Err(error) if stop::requested() => return Err(error),
            Err(error) => {
                station.still_up()?;
                rows.push(Row::failed(case.label, &error));
            }
        }
    }
    let published = rows.iter().flat_map(|row| row.copies.clone()).collect();
    if let (Some(row), Some(difference)) = (rows.last_mut(), copy::nothing_else(station, &published)?) {
        row.differences.push(difference);
    }
    Ok(rows)
}
