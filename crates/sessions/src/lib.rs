#![doc = include_str!("../README.md")]

mod error;
mod payload;
mod sqlite;

pub use sqlite::{MigrationReport, SqliteOptions, SqliteSessionStore, migrate};
