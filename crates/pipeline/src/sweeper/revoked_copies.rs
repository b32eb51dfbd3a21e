//! Copies of what is published no more: left by a revocation that was cut off behind its commit, or come late.
//!
//! A request to publish may be carried out when nobody waits for it any more. While the object was published it landed on
//! itself; behind the revocation it is a copy of what must not be read. So every revoked session is looked at for as long as
//! a publish may take, those of the first fence included.

use lazaret_core::Session;

use super::{BATCH, Pass, SweepError, SweptWhat, late_copies::LATE};
use crate::{passage::delete_all_versions, revoke};

impl Pass<'_> {
    pub(super) async fn revoked_copies(&mut self) -> Result<(), SweepError> {
        let mut after = None;
        loop {
            let revoked = self.station.sessions.withdrawable(LATE, after.as_ref(), BATCH).await?;
            for session in &revoked {
                if let Err(error) = self.copies_of(session).await {
                    self.go_on(session.key.as_key(), error)?;
                }
            }
            if revoked.len() < BATCH as usize {
                return Ok(());
            }
            after = revoked.into_iter().next_back();
        }
    }

    async fn copies_of(&mut self, session: &Session) -> Result<(), SweepError> {
        let is_late = session.published_deleted_at.is_some();
        let copies = revoke::copies(self.station, session).await?;
        if !self.dry_run {
            if !is_late {
                revoke::withdraw(self.station, session).await?;
            }
            for (bucket, key) in copies.iter().filter(|_| is_late) {
                delete_all_versions(self.station, bucket, key).await?;
            }
        }
        let what = if is_late { SweptWhat::LateCopy } else { SweptWhat::RevokedCopy };
        for (bucket, key) in &copies {
            self.record(what, bucket, key, Some(session.upload_id));
        }
        Ok(())
    }
}
