//! Lengths of time as people write them.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Nothing here lasts longer, and every clock can still tell when it is over.
const MAX: Duration = Duration::from_hours(36_500 * 24);

/// A length of time, written `30s`, `5m`, `1h 30m` or `7days`; at most 36500 days.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(Duration);

impl Period {
    /// This many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As a standard duration.
    pub const fn get(self) -> Duration {
        self.0
    }

    /// Whether it lasts no time at all.
    pub const fn is_zero(self) -> bool {
        self.0.is_zero()
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let period = humantime::parse_duration(text)
            .map_err(|_| format!("{text:?} is not a length of time, such as \"30s\", \"5m\" or \"7days\""))?;
        if period > MAX {
            return Err(format!("{text:?} is longer than any time can be here: at most 36500days"));
        }
        Ok(Self(period))
    }
}

impl TryFrom<String> for Period {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A length of time: \"30s\", \"5m\", \"1h 30m\", \"7days\"; at most 36500 days.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("1h 30m", 5400), ("7days", 604_800)] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.get().as_secs(), seconds, "{text}");
            assert_eq!(period.to_string().parse::<Period>().unwrap(), period);
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused() {
        for text in ["30", "", "fast", "-3s"] {
            assert!(text.parse::<Period>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_time_beyond_every_clock_is_refused() {
        for text in ["36501days", "9223372036854775807s", "500000000000y"] {
            let error = text.parse::<Period>().unwrap_err();
            assert!(error.contains(text), "{error}");
        }
        let longest: Period = "36500days".parse().unwrap();
        assert!(std::time::Instant::now().checked_add(longest.get()).is_some());
    }
}
