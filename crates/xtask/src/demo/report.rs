//! What the demo prints.

use std::io::{self, Write};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

use super::station::Station;
use super::trial::Row;
use crate::say;

/// The table: one line per upload.
pub(super) fn print(rows: &[Row]) -> io::Result<()> {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    if !say::colours() {
        table.force_no_tty();
    }
    table.set_header(["uploaded", "file", "outcome", "reason", "settled in", "published copy", "as expected"]);
    for row in rows {
        let (verdict, colour) =
            if row.differences.is_empty() { ("ok", Color::Green) } else { ("DIFFERENT", Color::Red) };
        table.add_row([
            Cell::new(row.label),
            Cell::new(&row.file_name),
            Cell::new(&row.state),
            Cell::new(row.reason.as_deref().unwrap_or("-")),
            Cell::new(format!("{:.2} s", row.took.as_secs_f64())),
            Cell::new(match row.copies.as_slice() {
                [] => "-".to_owned(),
                [copy] => copy.clone(),
                [copy, variants @ ..] => format!("{copy} + {}", variants.len()),
            }),
            Cell::new(verdict).fg(colour).add_attribute(Attribute::Bold),
        ]);
    }
    writeln!(io::stdout(), "{table}")
}

/// Which signatures the verdicts rest on; loud unless they are real ones.
pub(super) fn signatures(station: &Station) -> io::Result<()> {
    let clamd = &station.ready.clamd;
    if clamd.signatures == "built-in-test" {
        say::loud("SMALL TEST SIGNATURES: this clamd knows EICAR and nothing else. Run freshclam for a real database.");
    } else {
        writeln!(io::stdout(), "clamd at {} with {} signatures", clamd.address, clamd.signatures)?;
    }
    if let Some(warning) = &clamd.signature_warning {
        say::loud(warning);
    }
    Ok(())
}

pub(super) fn differences(rows: &[Row], station: &Station) {
    for row in rows {
        for difference in &row.differences {
            say::failure(&format!("{}: {difference}", row.label));
        }
    }
    eprintln!("the end of the log of lazaret dev:\n{}", station.log_tail());
}

/// For `--keep`.
pub(super) fn what_next(station: &Station) -> io::Result<()> {
    let (lazaret, ready) = (station.invocation(), &station.ready);
    writeln!(
        io::stdout(),
        "
lazaret dev stays up at {endpoint}, bucket {bucket}, until Ctrl-C. Next:

  {lazaret} session create --tenant me --file-name cat.jpg --content-type image/jpeg --size $(stat -c %s cat.jpg)
  curl -T cat.jpg -H 'NAME: VALUE' … \"$put_url\"        # put_url and headers as printed
  {lazaret} session show UPLOAD_ID
  {lazaret} session list
  curl --aws-sigv4 aws:amz:us-east-1:s3 -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' \\
    --user {key}:{secret} -D - -o copy {endpoint}/{bucket}/KEY
",
        endpoint = ready.endpoint,
        bucket = ready.bucket,
        key = ready.access_key_id,
        secret = ready.secret_access_key,
    )
}
