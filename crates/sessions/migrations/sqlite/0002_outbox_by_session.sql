-- What is asked for every item that is claimed: is there an older one of the same session?
create index outbox_by_session on outbox (upload_id, kind, id);
