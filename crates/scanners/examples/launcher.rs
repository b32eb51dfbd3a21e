//! The program that builds the jail and becomes a scanner in it, for the tests of the scanner kind `exec`. It transforms
//! nothing.

use lazaret_sandbox::{Refusal, RefusalCode};

fn main() {
    lazaret_sandbox::jail::run(|_, _| Err(Refusal::new(RefusalCode::DecodeFailed, "nothing is transformed here")))
}
