//! What an error asks of the delivery that met it.

use thiserror::Error;

/// What to do with the delivery whose work met an error. Every port's error answers one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// A dependency is down or refuses everybody: pause consumption, give the attempt back, try again later.
    Unavailable,
    /// This piece of work failed and may succeed next time: the attempt counts.
    Retry,
    /// The input can never succeed.
    Reject,
    /// The message can never be understood: dead-letter it with the reason.
    DeadLetter,
}

/// A value from outside that breaks the rule of its type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} {value:?} is not valid: {rule}")]
pub struct InvalidValue {
    /// The kind of value, for example `tenant`.
    pub what: &'static str,
    /// The value, cut to 80 characters.
    pub value: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

impl InvalidValue {
    pub(crate) fn new(what: &'static str, value: &str, rule: &'static str) -> Self {
        Self { what, value: value.chars().take(80).collect(), rule }
    }
}

/// A cause from inside an adapter, kept as the source of a port's error without naming its vendor.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// An error and its causes on one line. Some errors repeat their cause in their own words; it is said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes
        .map(ToString::to_string)
        .fold(error.to_string(), |text, cause| if text.ends_with(&cause) { text } else { format!("{text}: {cause}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Error)]
    #[error("outer")]
    struct Outer(#[source] Repeating);

    #[derive(Debug, Error)]
    #[error("middle: inner")]
    struct Repeating(#[source] Inner);

    #[derive(Debug, Error)]
    #[error("inner")]
    struct Inner;

    #[test]
    fn each_cause_is_said_once() {
        assert_eq!(chain(&Outer(Repeating(Inner))), "outer: middle: inner");
        assert_eq!(chain(&Inner), "inner");
    }
}
