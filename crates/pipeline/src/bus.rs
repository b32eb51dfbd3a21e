//! The queue and the language spoken on it.

use std::{collections::BTreeMap, fmt, sync::Arc};

use lazaret_core::{BucketName, IgnoredRecord, ObjectEvent, ObjectKey, VersionId, ports::Queue};
use tracing::Span;

/// A message, as far as it is understood.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// Every object that was created, in the message's order.
    pub created: Vec<ObjectEvent>,
    /// Records that are none of our business.
    pub ignored: Vec<IgnoredRecord>,
    /// Why other records are not understood, in plain words. They do not keep those above.
    pub bad: Vec<String>,
}

/// Reads a message: its body, and the attributes that came with it. The error says in plain words why it is not understood.
pub type Decode = Arc<dyn Fn(&[u8], &BTreeMap<String, String>) -> Result<Message, String> + Send + Sync>;

/// Writes a message that [`Decode`] reads: work that Lazaret gives itself.
pub type Encode = Arc<dyn Fn(&BucketName, &ObjectKey, Option<&VersionId>) -> String + Send + Sync>;

/// Gives a delivery's span the parent that the message's attributes name.
pub type SpanParent = Arc<dyn Fn(&Span, &BTreeMap<String, String>) + Send + Sync>;

/// The queue and the language spoken on it.
#[derive(Clone)]
pub struct Bus {
    /// The queue.
    pub queue: Arc<dyn Queue>,
    /// Reads messages.
    pub decode: Decode,
    /// Writes messages.
    pub encode: Encode,
    /// Links traces.
    pub span_parent: SpanParent,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").finish_non_exhaustive()
    }
}
