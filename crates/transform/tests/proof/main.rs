//! What others see: every format, hostile files and polyglots, judged by Pillow and libvips
//! (`tests/oracle/`), through the real program in the real jail.

#![expect(clippy::unwrap_used, reason = "what cannot be set up fails the test")]

mod corpus;
mod formats;
mod line;
mod mutate;
mod oracle;
mod policies;
mod polyglots;
mod rarities;
mod shipped;
mod table;
