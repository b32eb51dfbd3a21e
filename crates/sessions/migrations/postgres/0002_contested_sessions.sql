-- Settled sessions that may have an attempt without a commit, whose copy may come late. What was published under the
-- first fence was committed by it.
create index sessions_contested on sessions (updated_at_ms, upload_id)
    where fence > 0 and state <> 'finalized' and (fence > 1 or state not in ('published', 'revoked'));
