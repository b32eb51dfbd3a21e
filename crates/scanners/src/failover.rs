//! Several engines under one name: the first that works scans.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lazaret_core::{
    Disposition, EngineVersion, ScanReport, ScannerName, Sha256Digest, Spooled,
    ports::{ScanError, Scanner},
};
use tokio::time::timeout;
use tracing::warn;

/// How long an engine that was out of reach is asked last.
const SET_ASIDE: Duration = Duration::from_secs(15);

/// Engines of one kind at several addresses, in the order of preference. One that is out of reach, or whose signatures
/// are not to be believed, is set aside for a while; an object goes to the next. An answer about the object, whichever
/// it is, and trouble after it was handed over are final: they may be the object's doing, and no engine after the other
/// is to meet it. An engine that did not answer in time is set aside all the same, for other objects: the one that kept
/// it stays with it.
pub struct Failover {
    name: ScannerName,
    members: Vec<Member>,
}

struct Member {
    /// For people.
    address: String,
    scanner: Arc<dyn Scanner>,
    trouble: Mutex<Option<Trouble>>,
}

/// When an engine was last out of reach, or late.
struct Trouble {
    at: Instant,
    /// The object that it was late with.
    with: Option<Sha256Digest>,
}

impl Member {
    /// Whether another one is to be asked before it about this object.
    fn is_set_aside(&self, object: Option<&Sha256Digest>) -> bool {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.as_ref().is_some_and(|trouble| {
            trouble.at.elapsed() < SET_ASIDE && (object.is_none() || trouble.with.as_ref() != object)
        })
    }

    /// Remembers how it is; true where that is news.
    fn note(&self, trouble: Option<Trouble>) -> bool {
        let is_trouble = trouble.is_some();
        let before = std::mem::replace(&mut *self.trouble.lock().unwrap_or_else(PoisonError::into_inner), trouble);
        before.is_some() != is_trouble
    }
}

impl Failover {
    /// Over engines that all go by `name`, with what people know each one by, the preferred one first.
    pub fn new(name: ScannerName, members: Vec<(String, Arc<dyn Scanner>)>) -> Self {
        let member = |(address, scanner)| Member { address, scanner, trouble: Mutex::default() };
        Self { name, members: members.into_iter().map(member).collect() }
    }

    /// Those that work first, each part in the order of preference.
    fn in_order(&self, object: Option<&Sha256Digest>) -> Vec<&Member> {
        let (aside, usable): (Vec<_>, Vec<_>) = self.members.iter().partition(|member| member.is_set_aside(object));
        usable.into_iter().chain(aside).collect()
    }

    fn set_aside(&self, member: &Member, with: Option<Sha256Digest>, error: &ScanError) {
        if member.note(Some(Trouble { at: Instant::now(), with })) {
            let (address, error) = (&member.address, error as &dyn std::error::Error);
            warn!(scanner = %self.name, address, error, "an engine is set aside");
        }
    }

    fn without_address(&self) -> ScanError {
        ScanError::Unproven { scanner: self.name.clone(), detail: "it has no address".to_owned() }
    }
}

#[async_trait]
impl Scanner for Failover {
    fn name(&self) -> &ScannerName {
        &self.name
    }

    async fn scan(&self, object: &Spooled, deadline: Duration) -> Result<ScanReport, ScanError> {
        let until = Instant::now() + deadline;
        let exceeded = || ScanError::DeadlineExceeded { scanner: self.name.clone(), deadline };
        let mut last = None;
        for member in self.in_order(Some(object.sha256())) {
            let left = until.saturating_duration_since(Instant::now());
            // Without time an engine would pass for late that is not.
            if left.is_zero() {
                return Err(last.unwrap_or_else(exceeded));
            }
            match timeout(left, member.scanner.scan(object, left)).await {
                Ok(Err(error)) if error.disposition() == Disposition::Unavailable => {
                    self.set_aside(member, None, &error);
                    last = Some(error);
                }
                Ok(Err(ScanError::DeadlineExceeded { .. })) | Err(_) => {
                    // Neither has one shown that it is late that had the rest of the time only.
                    if last.is_none() {
                        self.set_aside(member, Some(*object.sha256()), &exceeded());
                    }
                    return Err(exceeded());
                }
                Ok(answer) => {
                    member.note(None);
                    return answer;
                }
            }
        }
        Err(last.unwrap_or_else(|| self.without_address()))
    }

    /// One that works is enough.
    async fn check(&self) -> Result<EngineVersion, ScanError> {
        let mut last = None;
        for member in self.in_order(None) {
            match member.scanner.check().await {
                Ok(engine) => return Ok(engine),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| self.without_address()))
    }
}

impl fmt::Debug for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failover").field("name", &self.name).field("members", &self.members.len()).finish()
    }
}

#[cfg(test)]
mod tests;
