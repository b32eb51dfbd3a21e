-- Under which policy it was said. Null in verdicts of before: they are never taken for another upload.
alter table verdicts add column policy text;
-- The upload whose scan it was, where the bytes were not scanned anew.
alter table verdicts add column reused_from text;

create index verdicts_by_bytes on verdicts (source_sha256, scanner, policy, id)
    where policy is not null and reused_from is null;
