//! The states of an upload session and the only ways between them.
//!
//! `created → uploaded → finalized → published | rejected | held | expired`; `held → finalized | rejected` by an
//! operator; `published → revoked`. Everything else is an [`InvalidTransition`].

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    BucketName, HoldReason, MediaType, PublishedImage, PublishedKey, Reason, RejectReason, Sha256Digest,
    error::InvalidValue,
};

/// Where the safe copy lies and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: PublishedKey,
    /// Digest of the published bytes.
    pub sha256: Sha256Digest,
    /// Length of the published bytes.
    pub size: u64,
    /// Their detected type.
    pub content_type: MediaType,
    /// What can be seen, where they are an image that was encoded anew.
    pub image: Option<PublishedImage>,
}

impl PublishedObject {
    /// The keys of everything that was published, the object's own first.
    pub fn keys(&self) -> impl Iterator<Item = &PublishedKey> {
        let variants = self.image.iter().flat_map(|image| &image.variants);
        std::iter::once(&self.key).chain(variants.map(|variant| &variant.key))
    }
}

/// The state of a session, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    /// The upload URL was handed out.
    Created,
    /// An object arrived; somebody must finalize it.
    Uploaded,
    /// To be processed.
    Finalized,
    /// A safe copy is readable.
    Published(PublishedObject),
    /// Never to be published.
    Rejected(Reason),
    /// Could not be checked whole; waits for an operator.
    Held(HoldReason),
    /// Nothing came, or nobody finalized it.
    Expired,
    /// Was published, and is no longer.
    Revoked {
        /// What was published.
        object: PublishedObject,
        /// Why it is no longer. None where it was withdrawn by something else than a later look at its bytes.
        reason: Option<RejectReason>,
    },
}

/// The name of a state: what the database, the CLI and events call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each is documented on SessionState")]
pub enum StateName {
    Created,
    Uploaded,
    Finalized,
    Published,
    Rejected,
    Held,
    Expired,
    Revoked,
}

impl StateName {
    /// Every state there is.
    pub const ALL: [Self; 8] = [
        Self::Created,
        Self::Uploaded,
        Self::Finalized,
        Self::Published,
        Self::Rejected,
        Self::Held,
        Self::Expired,
        Self::Revoked,
    ];

    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Uploaded => "uploaded",
            Self::Finalized => "finalized",
            Self::Published => "published",
            Self::Rejected => "rejected",
            Self::Held => "held",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StateName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
            InvalidValue::new(
                "state",
                text,
                "created, uploaded, finalized, published, rejected, held, expired or revoked is expected",
            )
        })
    }
}

/// What can happen to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionEvent {
    /// The store holds an object under the session's key.
    ObjectArrived,
    /// The upload is complete and to be processed.
    Finalize,
    /// The safe copy was published and read back.
    Publish(PublishedObject),
    /// The bytes are not acceptable.
    Reject(RejectReason),
    /// The bytes could not be checked whole.
    Hold(HoldReason),
    /// Time ran out and no object is there to process.
    Expire,
    /// An operator sends a held object through the pipeline again.
    Release,
    /// An operator upholds a hold for good.
    RejectHeld,
    /// The published copy is withdrawn, for what was found in its bytes later.
    Revoke(RejectReason),
}

impl SessionEvent {
    /// The name that errors and the audit trail carry.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ObjectArrived => "object-arrived",
            Self::Finalize => "finalize",
            Self::Publish(_) => "publish",
            Self::Reject(_) => "reject",
            Self::Hold(_) => "hold",
            Self::Expire => "expire",
            Self::Release => "release",
            Self::RejectHeld => "reject-held",
            Self::Revoke(_) => "revoke",
        }
    }
}

/// An event that the present state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a session that is {from} does not allow {event}")]
pub struct InvalidTransition {
    /// The present state.
    pub from: StateName,
    /// The event.
    pub event: &'static str,
}

impl SessionState {
    /// The state's name.
    pub const fn name(&self) -> StateName {
        match self {
            Self::Created => StateName::Created,
            Self::Uploaded => StateName::Uploaded,
            Self::Finalized => StateName::Finalized,
            Self::Published(_) => StateName::Published,
            Self::Rejected(_) => StateName::Rejected,
            Self::Held(_) => StateName::Held,
            Self::Expired => StateName::Expired,
            Self::Revoked { .. } => StateName::Revoked,
        }
    }

    /// Whether the pipeline has nothing more to do with it. A held session is settled until an operator acts.
    pub const fn is_settled(&self) -> bool {
        match self {
            Self::Created | Self::Uploaded | Self::Finalized => false,
            Self::Published(_) | Self::Rejected(_) | Self::Held(_) | Self::Expired | Self::Revoked { .. } => true,
        }
    }

    /// The reason it carries, if any.
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Rejected(reason) => Some(*reason),
            Self::Revoked { reason: Some(reason), .. } => Some(Reason::Rejected(*reason)),
            Self::Held(reason) => Some(Reason::Held(*reason)),
            Self::Expired => Some(Reason::Abandoned),
            Self::Created
            | Self::Uploaded
            | Self::Finalized
            | Self::Published(_)
            | Self::Revoked { reason: None, .. } => None,
        }
    }

    /// The published copy, while it is readable.
    pub const fn published(&self) -> Option<&PublishedObject> {
        match self {
            Self::Published(object) => Some(object),
            Self::Created
            | Self::Uploaded
            | Self::Finalized
            | Self::Rejected(_)
            | Self::Held(_)
            | Self::Expired
            | Self::Revoked { .. } => None,
        }
    }

    /// The next state. It is computed, never assigned.
    pub fn apply(self, event: SessionEvent) -> Result<Self, InvalidTransition> {
        let invalid = InvalidTransition { from: self.name(), event: event.name() };
        match self {
            Self::Created => match event {
                SessionEvent::ObjectArrived => Ok(Self::Uploaded),
                SessionEvent::Finalize => Ok(Self::Finalized),
                SessionEvent::Expire => Ok(Self::Expired),
                SessionEvent::Publish(_)
                | SessionEvent::Reject(_)
                | SessionEvent::Hold(_)
                | SessionEvent::Release
                | SessionEvent::RejectHeld
                | SessionEvent::Revoke(_) => Err(invalid),
            },
            Self::Uploaded => match event {
                SessionEvent::Finalize => Ok(Self::Finalized),
                SessionEvent::Expire => Ok(Self::Expired),
                SessionEvent::ObjectArrived
                | SessionEvent::Publish(_)
                | SessionEvent::Reject(_)
                | SessionEvent::Hold(_)
                | SessionEvent::Release
                | SessionEvent::RejectHeld
                | SessionEvent::Revoke(_) => Err(invalid),
            },
            Self::Finalized => match event {
                SessionEvent::Publish(object) => Ok(Self::Published(object)),
                SessionEvent::Reject(reason) => Ok(Self::Rejected(Reason::Rejected(reason))),
                SessionEvent::Hold(reason) => Ok(Self::Held(reason)),
                SessionEvent::Expire => Ok(Self::Expired),
                SessionEvent::ObjectArrived
                | SessionEvent::Finalize
                | SessionEvent::Release
                | SessionEvent::RejectHeld
                | SessionEvent::Revoke(_) => Err(invalid),
            },
            Self::Held(reason) => match event {
                SessionEvent::Release => Ok(Self::Finalized),
                SessionEvent::RejectHeld => Ok(Self::Rejected(Reason::Held(reason))),
                SessionEvent::ObjectArrived
                | SessionEvent::Finalize
                | SessionEvent::Publish(_)
                | SessionEvent::Reject(_)
                | SessionEvent::Hold(_)
                | SessionEvent::Expire
                | SessionEvent::Revoke(_) => Err(invalid),
            },
            Self::Published(object) => match event {
                SessionEvent::Revoke(reason) => Ok(Self::Revoked { object, reason: Some(reason) }),
                SessionEvent::ObjectArrived
                | SessionEvent::Finalize
                | SessionEvent::Publish(_)
                | SessionEvent::Reject(_)
                | SessionEvent::Hold(_)
                | SessionEvent::Expire
                | SessionEvent::Release
                | SessionEvent::RejectHeld => Err(invalid),
            },
            Self::Rejected(_) | Self::Expired | Self::Revoked { .. } => Err(invalid),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn object() -> PublishedObject {
        PublishedObject {
            bucket: "uploads".parse().unwrap(),
            key: PublishedKey::from_key("published/x".parse().unwrap()),
            sha256: Sha256Digest::from_bytes([7; 32]),
            size: 1,
            content_type: "image/png".parse().unwrap(),
            image: None,
        }
    }

    fn any_event() -> impl Strategy<Value = SessionEvent> {
        prop_oneof![
            Just(SessionEvent::ObjectArrived),
            Just(SessionEvent::Finalize),
            Just(SessionEvent::Publish(object())),
            proptest::sample::select(RejectReason::ALL).prop_map(SessionEvent::Reject),
            proptest::sample::select(HoldReason::ALL).prop_map(SessionEvent::Hold),
            Just(SessionEvent::Expire),
            Just(SessionEvent::Release),
            Just(SessionEvent::RejectHeld),
            proptest::sample::select(RejectReason::ALL).prop_map(SessionEvent::Revoke),
        ]
    }

    /// The arrows of the design, written down a second time and by name only.
    const ARROWS: &[(StateName, StateName)] = &[
        (StateName::Created, StateName::Uploaded),
        (StateName::Created, StateName::Finalized),
        (StateName::Created, StateName::Expired),
        (StateName::Uploaded, StateName::Finalized),
        (StateName::Uploaded, StateName::Expired),
        (StateName::Finalized, StateName::Published),
        (StateName::Finalized, StateName::Rejected),
        (StateName::Finalized, StateName::Held),
        (StateName::Finalized, StateName::Expired),
        (StateName::Held, StateName::Finalized),
        (StateName::Held, StateName::Rejected),
        (StateName::Published, StateName::Revoked),
    ];

    proptest! {
        #[test]
        fn every_step_is_an_arrow_of_the_design(events in proptest::collection::vec(any_event(), 0..40)) {
            let mut state = SessionState::Created;
            for event in events {
                let before = state.clone();
                match state.apply(event) {
                    Ok(next) => {
                        prop_assert!(ARROWS.contains(&(before.name(), next.name())), "{:?} -> {:?}", before, next);
                        state = next;
                    }
                    Err(error) => {
                        prop_assert_eq!(error.from, before.name());
                        state = before;
                    }
                }
            }
        }

        #[test]
        fn no_sequence_leads_out_of_a_terminal_state(
            reason in proptest::sample::select(RejectReason::ALL),
            events in proptest::collection::vec(any_event(), 1..40),
        ) {
            for terminal in [
                SessionState::Rejected(Reason::Rejected(reason)),
                SessionState::Expired,
                SessionState::Revoked { object: object(), reason: Some(reason) },
            ] {
                for event in events.clone() {
                    prop_assert!(terminal.clone().apply(event).is_err());
                }
            }
            let mut state = SessionState::Published(object());
            for event in events {
                let revokes = matches!(event, SessionEvent::Revoke(_)) && state.name() == StateName::Published;
                match state.clone().apply(event) {
                    Ok(next) => {
                        prop_assert!(revokes);
                        prop_assert_eq!(next.name(), StateName::Revoked);
                        state = next;
                    }
                    Err(_) => prop_assert!(!revokes),
                }
            }
        }
    }

    #[test]
    fn every_arrow_of_the_design_can_be_walked() {
        use SessionEvent as E;

        let walk = |events: Vec<SessionEvent>| {
            events.into_iter().try_fold(SessionState::Created, SessionState::apply).map(|state| state.name())
        };
        let revoke = E::Revoke(RejectReason::Infected);
        assert_eq!(walk(vec![E::ObjectArrived, E::Finalize, E::Publish(object()), revoke]), Ok(StateName::Revoked));
        assert_eq!(walk(vec![E::Finalize, E::Hold(HoldReason::Encrypted), E::Release]), Ok(StateName::Finalized));
        assert_eq!(walk(vec![E::Finalize, E::Hold(HoldReason::Encrypted), E::RejectHeld]), Ok(StateName::Rejected));
        assert_eq!(walk(vec![E::Finalize, E::Reject(RejectReason::Infected)]), Ok(StateName::Rejected));
        assert_eq!(walk(vec![E::ObjectArrived, E::Expire]), Ok(StateName::Expired));
        assert_eq!(walk(vec![E::Finalize, E::Expire]), Ok(StateName::Expired));
    }
}
