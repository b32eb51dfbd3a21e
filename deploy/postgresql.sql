-- The database of upload sessions and its two users. As a superuser: psql -v ON_ERROR_STOP=1 -f postgresql.sql
-- `lazaret migrate` runs as the owner; workers, sweeps and `session …` as the other, which cannot change the schema.
create role lazaret_owner login;
create role lazaret login;
create database lazaret owner lazaret_owner;
\connect lazaret
revoke all on schema public from public;
grant usage, create on schema public to lazaret_owner;
grant usage on schema public to lazaret;
alter default privileges for role lazaret_owner in schema public grant select, insert, update, delete on tables to lazaret;
alter default privileges for role lazaret_owner in schema public grant usage, select on sequences to lazaret;
-- Passwords: \password lazaret_owner and \password lazaret, so that they are in no file and no history.
