-- The same tables as on SQLite. Times are milliseconds since the Unix epoch, from the database's own clock. Columns
-- are documented in README.md.

do $$
begin
    if current_setting('server_encoding') <> 'UTF8' then
        raise exception 'the database has to be made with the encoding UTF8, not %', current_setting('server_encoding');
    end if;
end
$$;

create function lazaret_now_ms() returns bigint language sql volatile as
    $$ select cast(floor(extract(epoch from clock_timestamp()) * 1000) as bigint) $$;

-- Ids and names are compared byte by byte, whatever the language of the database.
create table sessions (
    upload_id                text   collate "C" not null primary key,
    object_id                text   collate "C" not null unique,
    tenant                   text   not null,
    bucket                   text   collate "C" not null,
    key                      text   collate "C" not null,
    file_name                text   not null,
    declared_type            text   not null,
    declared_size            bigint not null check (declared_size >= 0),
    declared_sha256          text,
    state                    text   collate "C" not null default 'created' check (state in
        ('created', 'uploaded', 'finalized', 'published', 'rejected', 'held', 'expired', 'revoked')),
    reason                   text,
    detail                   text,
    overrides                text   not null default '[]',
    policy                   text,
    attempts                 bigint not null default 0 check (attempts >= 0),
    fence                    bigint not null default 0 check (fence >= 0),
    lease_worker             text,
    lease_until_ms           bigint,
    source_version           text,
    source_etag              text,
    source_size              bigint,
    source_sha256            text,
    source_type              text,
    published_bucket         text,
    published_key            text,
    published_sha256         text,
    published_size           bigint,
    published_type           text,
    original_deleted_at_ms   bigint,
    created_at_ms            bigint not null default lazaret_now_ms(),
    updated_at_ms            bigint not null default lazaret_now_ms(),
    expires_at_ms            bigint not null,
    unique (bucket, key),
    -- What other programs may write has to be readable: one bad row would stop lists of many.
    check (upload_id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$'),
    check (object_id ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$'),
    check (tenant ~ '^[A-Za-z0-9._-]{1,64}$'),
    check (bucket ~ '^[!-.0-~]{1,255}$'),
    check (octet_length(key) between 1 and 1024),
    check (octet_length(file_name) between 1 and 255 and file_name !~ '[[:cntrl:]/\\\u200e\u200f\u202a-\u202e\u2066-\u2069]'),
    check (declared_type ~ '^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$'),
    check (declared_sha256 ~ '^[0-9a-f]{64}$'),
    check (created_at_ms between 0 and 253402207200000),
    check (updated_at_ms between created_at_ms and 253402207200000),
    check (expires_at_ms between 0 and 253402207200000),
    check ((lease_worker is null) = (lease_until_ms is null)),
    check (lease_until_ms is null or state = 'finalized'),
    check ((state in ('rejected', 'held', 'expired')) = (reason is not null)),
    check ((state in ('published', 'revoked')) = (published_key is not null)),
    check ((source_etag is null) = (source_size is null))
);

create index sessions_by_state on sessions (state, upload_id);
create index sessions_overdue on sessions (expires_at_ms, upload_id)
    where state in ('created', 'uploaded', 'finalized');
create index sessions_removable on sessions (updated_at_ms, upload_id)
    where original_deleted_at_ms is null and state in ('published', 'revoked', 'expired', 'rejected');

create table attempts (
    upload_id   text   collate "C" not null references sessions (upload_id),
    fence       bigint not null,
    worker      text   not null,
    began_at_ms bigint not null,
    ended_at_ms bigint,
    result      text check (result in ('committed', 'failed', 'given-back')),
    error       text,
    primary key (upload_id, fence),
    check ((ended_at_ms is null) = (result is null))
);

create table verdicts (
    id            bigint generated always as identity primary key,
    upload_id     text   collate "C" not null,
    fence         bigint not null,
    at_ms         bigint not null,
    source_sha256 text,
    scanner       text   not null,
    finding       text   not null check (finding in ('clean', 'infected', 'unscannable')),
    report        text   not null,
    foreign key (upload_id, fence) references attempts (upload_id, fence)
);

create index verdicts_by_session on verdicts (upload_id, id);

create table audit (
    id         bigint generated always as identity primary key,
    upload_id  text   collate "C" not null references sessions (upload_id),
    at_ms      bigint not null default lazaret_now_ms(),
    actor      text   not null,
    action     text   not null,
    from_state text,
    to_state   text   not null,
    reason     text,
    detail     text
);

create index audit_by_session on audit (upload_id, id);

create function lazaret_append_only() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only', tg_table_name;
end
$$;

create trigger audit_is_append_only before update or delete on audit
    for each row execute function lazaret_append_only();
create trigger audit_is_not_truncated before truncate on audit
    for each statement execute function lazaret_append_only();
create trigger verdicts_are_append_only before update or delete on verdicts
    for each row execute function lazaret_append_only();
create trigger verdicts_are_not_truncated before truncate on verdicts
    for each statement execute function lazaret_append_only();

-- Ids are drawn while the session's row is locked: for one session they ascend in the order of commits.
create table outbox (
    id               bigint generated always as identity primary key,
    upload_id        text   collate "C" not null references sessions (upload_id),
    kind             text   collate "C" not null check (kind in ('process', 'verdict')),
    payload          text   not null,
    created_at_ms    bigint not null default lazaret_now_ms(),
    claimed_until_ms bigint
);

create index outbox_by_kind on outbox (kind, id);
create index outbox_by_session on outbox (upload_id, kind, id);

create table orphans (
    bucket         text   collate "C" not null,
    key            text   collate "C" not null,
    version        text   collate "C" not null default '',
    etag           text   collate "C" not null default '',
    size           bigint,
    occurred_at_ms bigint,
    seen_at_ms     bigint not null,
    swept_at_ms    bigint,
    primary key (bucket, key, version, etag)
);

-- What readiness checks write to: each a row that no other check is writing at that moment.
create table health (
    id            bigint generated always as identity primary key,
    checked_at_ms bigint not null
);

insert into health (checked_at_ms) values (0);
