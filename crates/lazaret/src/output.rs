//! What commands print: tables for people, JSON for programs.

use std::fmt::Display;

use anyhow::Result;
use comfy_table::{Cell, Color, ContentArrangement, LineStyle, Table, TableStyle, presets};
use lazaret_core::StateName;
use serde::Serialize;

/// A line below the headings, and nothing else that is no content.
const ONE_LINE: TableStyle = presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));

/// Prints one JSON document.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    anstream::println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

/// An empty table with these headings.
pub(crate) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(ONE_LINE)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(headings.iter().map(Cell::new));
    table
}

/// A table of names and values, without headings.
pub(crate) fn pairs<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    for (name, value) in rows {
        table.add_row([Cell::new(name).fg(Color::DarkGrey), Cell::new(value)]);
    }
    table
}

/// A state in its colour.
pub(crate) fn state(state: StateName) -> Cell {
    let colour = match state {
        StateName::Published => Color::Green,
        StateName::Rejected | StateName::Revoked => Color::Red,
        StateName::Held => Color::Yellow,
        StateName::Created | StateName::Uploaded | StateName::Finalized => Color::Cyan,
        StateName::Expired => Color::DarkGrey,
    };
    Cell::new(state).fg(colour)
}

/// The value, or a dash where there is none.
pub(crate) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

/// Prints a table; comfy-table colours it on a terminal only.
pub(crate) fn print(table: &Table) {
    anstream::println!("{table}");
}
