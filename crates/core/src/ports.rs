//! What the pipeline asks of the world. Each trait's documentation is its contract; `lazaret-testkit` holds one
//! conformance suite per port, which every adapter and every fake passes.

mod dead_letters;
mod event_sink;
mod list_store;
mod object_store;
mod program_jail;
mod queue;
mod scanner;
mod session_store;
mod transformer;

pub use dead_letters::{DeadLetter, DeadLetterQueue};
pub use event_sink::{EventSink, SinkError, VerdictEvent};
pub use list_store::ListStore;
pub use object_store::{
    ListFrom, Listed, ListedUpload, ObjectHead, ObjectStore, Page, PublishHeaders, PublishRequest, PublishSource,
    ReadBack, StoreError,
};
pub use program_jail::{JailedProgram, ProgramEnd, ProgramJail, ProgramJailError};
pub use queue::{Delivery, DeliveryTag, Queue, QueueError};
pub use scanner::{ScanError, Scanner};
pub use session_store::{
    AttemptRecord, AuditRecord, Begun, Decision, EarlierScan, Exhausted, History, OutboxItem, OutboxKind, Recheck,
    Revocation, SessionStore, SessionStoreError, Settled, Settlement,
};
pub use transformer::{
    Artefact, Dimensions, TransformError, TransformOutcome, TransformRequest, Transformed, Transformer, Treatment,
};
