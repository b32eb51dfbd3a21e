-- Times are milliseconds since the Unix epoch, from the database's own clock. Columns are documented in README.md.

create table sessions (
    upload_id                text    not null primary key,
    object_id                text    not null unique,
    tenant                   text    not null,
    bucket                   text    not null,
    key                      text    not null,
    file_name                text    not null,
    declared_type            text    not null,
    declared_size            integer not null check (declared_size >= 0),
    declared_sha256          text,
    state                    text    not null check (state in
        ('created', 'uploaded', 'finalized', 'published', 'rejected', 'held', 'expired', 'revoked')),
    reason                   text,
    detail                   text,
    overrides                text    not null default '[]',
    policy                   text,
    attempts                 integer not null default 0 check (attempts >= 0),
    fence                    integer not null default 0 check (fence >= 0),
    lease_worker             text,
    lease_until_ms           integer,
    source_version           text,
    source_etag              text,
    source_size              integer,
    source_sha256            text,
    source_type              text,
    published_bucket         text,
    published_key            text,
    published_sha256         text,
    published_size           integer,
    published_type           text,
    original_deleted_at_ms   integer,
    created_at_ms            integer not null,
    updated_at_ms            integer not null,
    expires_at_ms            integer not null,
    unique (bucket, key),
    check ((lease_worker is null) = (lease_until_ms is null)),
    check (lease_until_ms is null or state = 'finalized'),
    check ((state in ('rejected', 'held', 'expired')) = (reason is not null)),
    check ((state in ('published', 'revoked')) = (published_key is not null)),
    check ((source_etag is null) = (source_size is null))
) strict;

create index sessions_by_state on sessions (state, upload_id);
create index sessions_overdue on sessions (expires_at_ms, upload_id)
    where state in ('created', 'uploaded', 'finalized');
create index sessions_removable on sessions (updated_at_ms, upload_id)
    where original_deleted_at_ms is null and state in ('published', 'revoked', 'expired', 'rejected');

create table attempts (
    upload_id   text    not null references sessions (upload_id),
    fence       integer not null,
    worker      text    not null,
    began_at_ms integer not null,
    ended_at_ms integer,
    result      text check (result in ('committed', 'failed', 'given-back')),
    error       text,
    primary key (upload_id, fence),
    check ((ended_at_ms is null) = (result is null))
) strict;

create table verdicts (
    id            integer primary key autoincrement,
    upload_id     text    not null,
    fence         integer not null,
    at_ms         integer not null,
    source_sha256 text,
    scanner       text    not null,
    finding       text    not null check (finding in ('clean', 'infected', 'unscannable')),
    report        text    not null,
    foreign key (upload_id, fence) references attempts (upload_id, fence)
) strict;

create index verdicts_by_session on verdicts (upload_id, id);

create table audit (
    id         integer primary key autoincrement,
    upload_id  text    not null references sessions (upload_id),
    at_ms      integer not null,
    actor      text    not null,
    action     text    not null,
    from_state text,
    to_state   text    not null,
    reason     text,
    detail     text
) strict;

create index audit_by_session on audit (upload_id, id);

create trigger audit_refuses_update before update on audit
begin
    select raise(abort, 'audit records are append-only');
end;

create trigger audit_refuses_delete before delete on audit
begin
    select raise(abort, 'audit records are append-only');
end;

-- REPLACE deletes without firing the trigger above.
create trigger audit_refuses_replace before insert on audit
when exists (select 1 from audit where id = new.id)
begin
    select raise(abort, 'audit records are append-only');
end;

create trigger verdicts_refuse_update before update on verdicts
begin
    select raise(abort, 'verdicts are append-only');
end;

create trigger verdicts_refuse_delete before delete on verdicts
begin
    select raise(abort, 'verdicts are append-only');
end;

create trigger verdicts_refuse_replace before insert on verdicts
when exists (select 1 from verdicts where id = new.id)
begin
    select raise(abort, 'verdicts are append-only');
end;

create table outbox (
    id               integer primary key autoincrement,
    upload_id        text    not null references sessions (upload_id),
    kind             text    not null check (kind in ('process', 'verdict')),
    payload          text    not null,
    created_at_ms    integer not null,
    claimed_until_ms integer
) strict;

create index outbox_by_kind on outbox (kind, id);

create table orphans (
    bucket         text    not null,
    key            text    not null,
    version        text    not null default '',
    etag           text    not null default '',
    size           integer,
    occurred_at_ms integer,
    seen_at_ms     integer not null,
    swept_at_ms    integer,
    primary key (bucket, key, version, etag)
) strict;

-- What a readiness check writes to.
create table health (
    id            integer not null primary key check (id = 1),
    checked_at_ms integer not null
) strict;

insert into health (id, checked_at_ms) values (1, 0);
