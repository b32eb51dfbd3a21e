//! The way of an object over fakes that fail, stall and lie, a real session database and a real queue.

mod attempts;
mod deliveries;
mod faults;
mod faulty;
mod overwrites;
mod relaying;
mod rig;
mod sweeping;
mod verdicts;
