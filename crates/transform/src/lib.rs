#![doc = include_str!("../README.md")]

mod carried;
pub mod decode;
pub mod encode;
mod failure;
pub mod sanitise;
pub mod verify;

use lazaret_sandbox::{Answer, Confined, Done, Job, Task};

/// Does the one task of this process.
///
/// A job is up to three of them, each in a process of its own: bytes become pixels, pixels become files, and files are
/// looked at once more. Only pixels, their timing and their size go from the first to the second, so whoever takes over
/// a decoder chooses no byte of what is published. A document has no pixels: the process that reads it writes it anew.
pub fn transform(confined: &Confined, job: Job<'_>) -> Answer {
    let Job { task, input, output } = job;
    let done = match task {
        Task::Decode(task) => decode::decode(confined, &task, input, output).map(Done::Decoded),
        Task::Encode(task) => encode::encode(confined, &task, input, output).map(Done::Encoded),
        Task::Sanitise(task) => sanitise::sanitise(confined, &task, input, output).map(Done::Encoded),
        Task::Verify(task) => verify::verify(confined, &task, input).map(|()| Done::Verified),
    };
    done.map_err(Into::into)
}
