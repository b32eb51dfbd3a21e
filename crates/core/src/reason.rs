//! Why an upload was not published: the stable codes of every record, event, log and table.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::InvalidValue;

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $code:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every reason of this kind.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidValue;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|reason| reason.code() == text)
                    .ok_or_else(|| InvalidValue::new("reason", &text, "a reason code of this kind is expected"))
            }
        }

        impl From<$name> for String {
            fn from(reason: $name) -> Self {
                reason.code().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.code())
            }
        }
    };
}

reasons!(
    /// Why an upload was rejected: a finding about its bytes, which no operator can override.
    RejectReason {
        /// A scanner named a signature.
        Infected = "infected",
        /// The magic bytes say another type than the session declared.
        TypeMismatch = "type-mismatch",
        /// No policy allows the detected type.
        TypeNotAllowed = "type-not-allowed",
        /// The file name's extension says another type than the magic bytes.
        ExtensionMismatch = "extension-mismatch",
        /// The object is not as long as the session declared.
        SizeMismatch = "size-mismatch",
        /// The object is longer than a limit allows.
        TooLarge = "too-large",
        /// The object has no bytes.
        Empty = "empty",
        /// The SHA-256 is not the one the session declared.
        DigestMismatch = "digest-mismatch",
        /// The image does not decode.
        DecodeFailed = "decode-failed",
        /// The image has more pixels than allowed.
        PixelLimit = "pixel-limit",
        /// The animation has more frames than allowed.
        FrameLimit = "frame-limit",
        /// The re-encoded image is larger than allowed.
        OutputLimit = "output-limit",
        /// Its digest, that of what was made of it, or a signature found in it is on the block list.
        Blocked = "blocked",
    }
);

reasons!(
    /// Why an upload is held: it could not be checked whole, which is no verdict. An operator may release or reject it.
    HoldReason {
        /// Encrypted content cannot be looked into.
        Encrypted = "encrypted",
        /// A scanner met one of its limits.
        ScanLimits = "scan-limits",
        /// The transform ran out of time.
        TransformTimeout = "transform-timeout",
        /// The transform was killed by a limit or the policy of its jail.
        TransformKilled = "transform-killed",
        /// Every allowed attempt failed.
        AttemptsExhausted = "attempts-exhausted",
        /// A scanner could not answer, again and again.
        ScannerError = "scanner-error",
        /// It has several pages, of which only the first would be published.
        MultiPage = "multi-page",
        /// It could not be parsed whole, so that what is active in it could not be taken out.
        Unparsable = "unparsable",
        /// A scanner's rule asks for a person to look at it.
        Flagged = "flagged",
    }
);

/// Any reason a record can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reason {
    /// Rejected for what its bytes are.
    Rejected(RejectReason),
    /// Held because it could not be checked, or rejected by an operator who upheld that.
    Held(HoldReason),
    /// The upload was never made or never finalized.
    Abandoned,
    /// An object that no session asked for.
    NoSession,
}

impl Reason {
    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Rejected(reason) => reason.code(),
            Self::Held(reason) => reason.code(),
            Self::Abandoned => "abandoned",
            Self::NoSession => "no-session",
        }
    }

    /// Every reason there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let rejected = RejectReason::ALL.iter().copied().map(Self::Rejected);
        let held = HoldReason::ALL.iter().copied().map(Self::Held);
        rejected.chain(held).chain([Self::Abandoned, Self::NoSession])
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Reason {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::all()
            .find(|reason| reason.code() == text)
            .ok_or_else(|| InvalidValue::new("reason", text, "one of the documented reason codes is expected"))
    }
}

impl TryFrom<String> for Reason {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.code().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_round_trip() {
        let codes: std::collections::BTreeSet<_> = Reason::all().map(Reason::code).collect();
        assert_eq!(codes.len(), Reason::all().count());
        for reason in Reason::all() {
            assert_eq!(reason.code().parse::<Reason>().unwrap(), reason);
        }
    }
}
