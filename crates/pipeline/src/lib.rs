#![doc = include_str!("../README.md")]

mod archive;
mod bus;
mod detect;
mod inspect;
pub mod metrics;
mod pace;
mod passage;
mod publish;
mod reconcile;
mod relay;
mod rescan;
mod revoke;
mod scan;
mod station;
mod sweeper;
mod transform;
mod verify;
mod worker;
mod zip_directory;

pub use archive::ArchiveLimits;
pub use bus::{Bus, Decode, Encode, Message, SpanParent};
pub use detect::{DetectError, Detected, detect};
pub use inspect::{InspectError, Inspection, LocalFile, MadeAnew, MadeImage, MadeVariant, inspect};
pub use passage::{Passage, PassageError, Passed};
pub use publish::PublishError;
pub use reconcile::{Progress, ReconcileCounts, ReconcileError, ReconcileSettings, Reconciled, Reconciler};
pub use relay::Verdicts;
pub use rescan::{
    OnRescanned, RescanCounts, RescanEnd, RescanError, RescanProgress, RescanSettings, Rescanned, Rescanner,
};
pub use station::{ScannerSlot, Station, StationSettings};
pub use sweeper::{SweepError, SweepReport, Sweeper, Swept, SweptWhat};
pub use worker::{Availability, Worker, WorkerSettings};
