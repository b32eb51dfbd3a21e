//! Several engines under one name: the first that works scans.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use lazaret_core::{
    Disposition, EngineVersion, ScanReport, ScannerName, Spooled,
    ports::{ScanError, Scanner},
};
use tokio::time::timeout;
use tracing::warn;

/// How long an engine that was out of reach is asked last.
const SET_ASIDE: Duration = Duration::from_secs(15);

/// Engines of one kind at several addresses, in the order of preference. One that is out of reach, or whose signatures
/// are not to be believed, is set aside for a while; an object goes to the next. An answer about the object, whichever
/// it is, and trouble after it was handed over are final: they may be the object's doing, and no engine after the other
/// is to meet it. An engine that did not answer in time is set aside all the same, for the objects that come next.
pub struct Failover {
    name: ScannerName,
    members: Vec<Member>,
}

struct Member {
    scanner: Arc<dyn Scanner>,
    /// When it was last out of reach, or late.
    failed_at: Mutex<Option<Instant>>,
}

impl Member {
    fn is_set_aside(&self) -> bool {
        self.failed_at.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < SET_ASIDE)
    }

    /// Remembers how it is; true where that is news.
    fn note(&self, failed: bool) -> bool {
        let mut failed_at = self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        let was = failed_at.is_some();
        *failed_at = failed.then(Instant::now);
        was != failed
    }
}

impl Failover {
    /// Over engines that all go by `name`, the preferred one first.
    pub fn new(name: ScannerName, members: Vec<Arc<dyn Scanner>>) -> Self {
        let members = members.into_iter().map(|scanner| Member { scanner, failed_at: Mutex::default() }).collect();
        Self { name, members }
    }

    /// Those that work first, each part in the order of preference.
    fn in_order(&self) -> Vec<&Member> {
        let (aside, usable): (Vec<_>, Vec<_>) = self.members.iter().partition(|member| member.is_set_aside());
        usable.into_iter().chain(aside).collect()
    }

    async fn first<'a, T, F>(&'a self, ask: impl Fn(&'a dyn Scanner) -> F) -> Result<T, ScanError>
    where
        F: Future<Output = Result<T, ScanError>> + Send + 'a,
    {
        let mut last = None;
        for member in self.in_order() {
            match ask(&*member.scanner).await {
                Err(error) if error.disposition() == Disposition::Unavailable => {
                    self.set_aside(member, &error);
                    last = Some(error);
                }
                Err(error @ ScanError::DeadlineExceeded { .. }) => {
                    self.set_aside(member, &error);
                    return Err(error);
                }
                answer => {
                    member.note(false);
                    return answer;
                }
            }
        }
        Err(last.unwrap_or_else(|| self.without_address()))
    }

    fn set_aside(&self, member: &Member, error: &ScanError) {
        if member.note(true) {
            warn!(scanner = %self.name, error = error as &dyn std::error::Error, "an engine is set aside");
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
        let asked = self.first(|scanner| async move {
            let left = until.saturating_duration_since(Instant::now());
            match timeout(left, scanner.scan(object, left)).await {
                Ok(Err(ScanError::DeadlineExceeded { .. })) | Err(_) => Err(exceeded()),
                Ok(answer) => answer,
            }
        });
        asked.await
    }

    /// One that works is enough.
    async fn check(&self) -> Result<EngineVersion, ScanError> {
        let mut last = None;
        for member in self.in_order() {
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
