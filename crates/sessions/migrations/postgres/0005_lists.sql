-- The allow and block lists. An entry counts until it expires or is removed; both tables are append-only.
create table list_entries (
    id            bigint generated always as identity primary key,
    kind          text   collate "C" not null check (kind in ('allow', 'block')),
    sha256        text   collate "C" check (sha256 ~ '^[0-9a-f]{64}$'),
    signature     text   collate "C",
    added_by      text   not null,
    why           text   not null,
    added_at_ms   bigint not null,
    expires_at_ms bigint,
    check ((sha256 is null) <> (signature is null))
);

create index list_entries_by_sha256 on list_entries (sha256) where sha256 is not null;
create index list_entries_by_signature on list_entries (signature) where signature is not null;

create table list_removals (
    entry_id      bigint not null primary key references list_entries (id),
    removed_by    text   not null,
    removed_at_ms bigint not null
);

create trigger list_entries_are_append_only before update or delete on list_entries
    for each row execute function lazaret_append_only();
create trigger list_entries_are_not_truncated before truncate on list_entries
    for each statement execute function lazaret_append_only();
create trigger list_removals_are_append_only before update or delete on list_removals
    for each row execute function lazaret_append_only();
create trigger list_removals_are_not_truncated before truncate on list_removals
    for each statement execute function lazaret_append_only();
