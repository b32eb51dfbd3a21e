//! The way of an object over fakes that fail, stall and lie, a real session database and a real queue.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attempts;
mod deliveries;
mod engine;
mod faults;
mod faulty;
mod late_copies;
mod listing;
mod outages;
mod overwrites;
mod poison;
mod reconciling;
mod relaying;
mod remaking;
mod rescanning;
mod rig;
mod sweeping;
mod telling;
mod verdicts;
