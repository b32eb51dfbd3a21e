//! Published copies that came after the decision: of a worker that was paused in the middle of its publish for longer than
//! its lease and died then, or of a request that the store carried out when nobody waited for it any more.
//!
//! Not everything published is listed for them. Only a session with an attempt that did not commit can have one, and only
//! for as long as a publish may take.

use std::time::Duration;

use lazaret_core::Session;

use super::{BATCH, LONGEST_PUBLISH, Pass, SweepError, SweptWhat};
use crate::passage::{stray_copies, withdraw_copy};

/// For how long after its decision a session is looked at: a publish that goes on, and a day in which a sweep comes by.
pub(super) const LATE: Duration = LONGEST_PUBLISH.saturating_add(Duration::from_hours(24));

impl Pass<'_> {
    pub(super) async fn late_copies(&mut self) -> Result<(), SweepError> {
        let mut after = None;
        loop {
            let contested = self.station.sessions.contested(LATE, after.as_ref(), BATCH).await?;
            for session in &contested {
                if let Err(error) = self.late_copies_of(session).await {
                    self.go_on(session.key.as_key(), error)?;
                }
            }
            if contested.len() < BATCH as usize {
                return Ok(());
            }
            after = contested.into_iter().next_back();
        }
    }

    async fn late_copies_of(&mut self, session: &Session) -> Result<(), SweepError> {
        let bucket = &self.station.settings.published_bucket;
        for copy in stray_copies(self.station, session).await? {
            if !self.dry_run && !withdraw_copy(self.station, session, &copy).await? {
                return Ok(());
            }
            self.record(SweptWhat::LateCopy, bucket, &copy, Some(session.upload_id));
        }
        Ok(())
    }
}
