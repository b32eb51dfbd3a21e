#![doc = include_str!("../README.md")]

pub mod digest;
pub mod error;
pub mod event;
pub mod id;
pub mod image;
pub mod key;
pub mod list;
pub mod media;
pub mod policy;
pub mod ports;
pub mod reason;
pub mod session;
pub mod spooled;
pub mod state;
pub mod verdict;

pub use digest::Sha256Digest;
pub use error::{Disposition, InvalidValue};
pub use event::{IgnoredRecord, ObjectEvent};
pub use id::{Fence, ObjectId, TenantId, UploadId, WorkerId};
pub use image::{
    Animation, Colour, ImageLimits, ImageOutput, MAX_VARIANTS, MultiPage, OutputFormat, PublishedImage,
    PublishedVariant, VariantName, VariantSize,
};
pub use key::{BucketName, ETag, ObjectKey, Prefix, PublishedKey, QuarantineKey, VersionId};
pub use list::{ListEntry, ListEntryId, ListKind, NewListEntry, Removal, Subject};
pub use media::MediaType;
pub use policy::{Action, Policy, PolicySet, TypePattern};
pub use reason::{HoldReason, Reason, RejectReason};
pub use session::{FileName, NewSession, Session, SourceObject};
pub use spooled::Spooled;
pub use state::{InvalidTransition, PublishedObject, SessionEvent, SessionState, StateName};
pub use verdict::{EngineVersion, Finding, RuleMatch, ScanReport, ScannerName, Severity};

/// A point in time, always UTC. Where replicas must agree it comes from the session store's clock.
pub use jiff::Timestamp;
