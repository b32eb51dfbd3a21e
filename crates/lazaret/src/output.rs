//! What commands print: tables for people, JSON for programs.

use std::{
    fmt::Display,
    io::{self, Write},
};

use anyhow::{Context as _, Result};
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle, Width, presets};
use lazaret_core::StateName;
use serde::Serialize;

/// A line below the headings, and nothing else that is no content.
const ONE_LINE: TableStyle = presets::NOTHING.header_separator(LineStyle::none().fill('─').junction('─'));

/// Columns of free text, which may be broken into lines. Everything else is there to be copied, so a table is rather
/// wider than the terminal.
const FREE_TEXT: [&str; 2] = ["detail", "error"];
/// Free text is not squeezed into less than this many characters.
const LEAST_TEXT: u16 = 24;

/// Prints one line, or several that are one thing. A reader that went away is no error: it has what it wanted.
pub(crate) fn line(text: impl Display) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("the standard output stream cannot be written to")
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints one JSON document.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// An empty table with these headings.
pub(crate) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(ONE_LINE).set_header(headings.iter().map(Cell::new));
    // A terminal that says it has no columns does not know how many it has.
    if table.width() != Some(0) {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_constraints(headings.iter().map(|heading| {
        if FREE_TEXT.contains(heading) {
            ColumnConstraint::LowerBoundary(Width::Fixed(LEAST_TEXT))
        } else {
            ColumnConstraint::ContentWidth
        }
    }));
    table
}

/// A table of names and values, without headings. No value is broken into lines.
pub(crate) fn pairs<'a>(rows: impl IntoIterator<Item = (&'a str, String)>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
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

/// Text from outside, safe for a terminal and at most `max` characters long: what would steer it, or turn the direction
/// of what follows, is replaced.
pub(crate) fn plain(text: &str, max: usize) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut rest = text.chars();
    let mut plain: String =
        rest.by_ref().take(max).map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect();
    if rest.next().is_some() {
        plain.push('…');
    }
    plain
}

/// Prints a table; comfy-table colours it on a terminal only.
pub(crate) fn show(table: &Table) -> Result<()> {
    line(table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01a20098-42d7-7625-a0b2-1c9d917beb28";
    const AT: &str = "2026-11-22T00:53:40Z";

    fn shown(width: u16) -> String {
        let mut table = table(&["upload", "file", "state", "changed", "detail"]);
        table.set_width(width);
        table.add_row([ID, "holiday pictures.zip", "held", AT, "the archive is encrypted and its content unknown"]);
        table.trim_fmt()
    }

    #[test]
    fn what_is_to_be_copied_stays_on_its_line() {
        for width in [10, 40, 80, 120] {
            let text = shown(width);
            for whole in [ID, AT, "holiday pictures.zip"] {
                assert!(text.contains(whole), "{width}: {text}");
            }
        }
    }

    #[test]
    fn free_text_takes_the_room_there_is() {
        insta::assert_snapshot!(shown(80), @r"
         upload                                 file                   state   changed                detail
        ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
         01a20098-42d7-7625-a0b2-1c9d917beb28   holiday pictures.zip   held    2026-11-22T00:53:40Z   the archive is
                                                                                                      encrypted and its
                                                                                                      content unknown
        ");
        assert_eq!(shown(150).lines().count(), 3);
    }

    #[test]
    fn text_from_outside_is_cut_and_steers_nothing() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{202e}d", 100), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d");
        assert_eq!(plain("abc", 3), "abc");
        assert_eq!(plain("äöüß", 3), "äöü…");
    }

    #[test]
    fn pairs_are_never_broken() {
        let url = "http://127.0.0.1:9000/uploads?".to_owned() + &"x".repeat(500);
        let mut table = pairs([("put_url", url.clone()), ("state", "created".to_owned())]);
        table.set_width(80);
        assert_eq!(table.trim_fmt(), format!(" put_url  {url}\n state    created"));
    }
}
