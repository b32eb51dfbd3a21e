//! What a person reads: plain text, with colours on a terminal only.

use std::env;
use std::io::{self, IsTerminal};

fn painted(text: &str, code: &str, terminal: bool) -> String {
    if terminal && env::var_os("NO_COLOR").is_none() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// A heading before the output of another program. On stderr, where cargo writes as well.
pub(crate) fn step(text: &str) {
    eprintln!("{}", painted(&format!("==> {text}"), "1;34", io::stderr().is_terminal()));
}

/// A line that nobody should miss and that is no failure.
pub(crate) fn loud(text: &str) {
    eprintln!("{}", painted(&format!("!!! {text}"), "1;33", io::stderr().is_terminal()));
}

pub(crate) fn failure(text: &str) {
    eprintln!("{}", painted(&format!("xtask: {text}"), "1;31", io::stderr().is_terminal()));
}

/// Whether tables on stdout may carry colours.
pub(crate) fn colours() -> bool {
    io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none()
}
