-- The allow and block lists. An entry counts until it expires or is removed; both tables are append-only.
create table list_entries (
    id            integer primary key autoincrement,
    kind          text    not null check (kind in ('allow', 'block')),
    sha256        text,
    signature     text,
    added_by      text    not null,
    why           text    not null,
    added_at_ms   integer not null,
    expires_at_ms integer,
    check ((sha256 is null) <> (signature is null))
) strict;

create index list_entries_by_sha256 on list_entries (sha256) where sha256 is not null;
create index list_entries_by_signature on list_entries (signature) where signature is not null;

create table list_removals (
    entry_id      integer not null primary key references list_entries (id),
    removed_by    text    not null,
    removed_at_ms integer not null
) strict;

create trigger list_entries_refuse_update before update on list_entries
begin
    select raise(abort, 'list entries are append-only');
end;

create trigger list_entries_refuse_delete before delete on list_entries
begin
    select raise(abort, 'list entries are append-only');
end;

-- REPLACE deletes without firing the trigger above.
create trigger list_entries_refuse_replace before insert on list_entries
when exists (select 1 from list_entries where id = new.id)
begin
    select raise(abort, 'list entries are append-only');
end;

create trigger list_removals_refuse_update before update on list_removals
begin
    select raise(abort, 'list removals are append-only');
end;

create trigger list_removals_refuse_delete before delete on list_removals
begin
    select raise(abort, 'list removals are append-only');
end;

create trigger list_removals_refuse_replace before insert on list_removals
when exists (select 1 from list_removals where entry_id = new.entry_id)
begin
    select raise(abort, 'list removals are append-only');
end;
