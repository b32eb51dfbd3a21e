//! The session store on both databases. PostgreSQL is a real server: `LAZARET_TEST_POSTGRES_URL`.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

mod clock;
mod conformance;
mod contract;
mod database;
mod line;
mod model;
mod outages;
mod processes;
mod schema;
