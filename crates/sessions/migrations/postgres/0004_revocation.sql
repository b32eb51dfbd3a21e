-- Why a published object was withdrawn: `reason` is that of a rejection, a hold or an expiry.
alter table sessions add column revoked_reason text;
-- When its copies were deleted. Null: they are still to be.
alter table sessions add column published_deleted_at_ms bigint;
-- What the sweeper asks for: there are few of them.
create index sessions_revoked on sessions (updated_at_ms, upload_id) where state = 'revoked';
