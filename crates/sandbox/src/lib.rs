#![doc = include_str!("../README.md")]

mod elf;
pub mod format;
pub mod host;
pub mod jail;
pub mod layer;
pub mod picture;
pub mod probe;
pub mod wire;

pub use format::{Refusal, RefusalCode};
pub use host::{ExitCause, Extra, Jail, JailError, JailReport, JailSettings, Launcher};
pub use jail::{Answer, Confined, JailedAllocator, Job, populate};
pub use layer::Layer;
pub use probe::Probe;
pub use wire::{Done, Task};
