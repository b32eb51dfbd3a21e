//! The program for the jail as the bench wants it: it does all three tasks over and over in one process when it is told to,
//! so that what processes cost can be seen.

use lazaret_sandbox::{
    Answer, Confined, Done, JailedAllocator, Job, Task,
    format::{Decode, Encode, List, OutputFormat, Verify},
};
use lazaret_transform::transform;

#[global_allocator]
static ALLOCATOR: JailedAllocator = JailedAllocator;

/// Before an image that is to be made anew so many times: a little-endian number of four bytes follows.
const AGAIN: &[u8] = b"AGAIN";

fn main() {
    lazaret_sandbox::jail::run(work)
}

fn work(confined: &Confined, job: Job<'_>) -> Answer {
    match job.task {
        Task::Decode(task) => match job.input.strip_prefix(AGAIN).and_then(<[u8]>::split_first_chunk::<4>) {
            Some((times, image)) => again(confined, &task, u32::from_le_bytes(*times), image, job.output),
            None => transform(confined, job),
        },
        Task::Encode(_) | Task::Sanitise(_) | Task::Verify(_) => transform(confined, job),
    }
}

/// Everything that three processes do to an image, so many times, then once more its picture.
fn again(confined: &Confined, task: &Decode, times: u32, image: &[u8], output: &mut [u8]) -> Answer {
    let mut files = vec![0; 1 << 20];
    let decode = Decode { input_bytes: image.len() as u64, ..*task };
    for _ in 0..times {
        let Done::Decoded(decoded) = transform(confined, Job { task: Task::Decode(decode), input: image, output })?
        else {
            continue;
        };
        let picture = &output[..usize::try_from(decoded.len).unwrap_or_default()];
        let encode = Encode {
            input_bytes: decoded.len,
            limits: task.limits,
            format: OutputFormat::Png,
            quality: 85,
            max_side: 0,
            background: [255; 3],
            original_bytes: image.len() as u64,
            variants: List::new(),
        };
        let encoded = transform(confined, Job { task: Task::Encode(encode), input: picture, output: &mut files })?;
        let Done::Encoded(encoded) = encoded else { continue };
        let len = encoded.artefacts.iter().map(|artefact| artefact.len).sum::<u64>();
        let verify = Verify { input_bytes: len, limits: task.limits, artefacts: encoded.artefacts };
        let input = &files[..usize::try_from(len).unwrap_or_default()];
        transform(confined, Job { task: Task::Verify(verify), input, output: &mut [] })?;
    }
    transform(confined, Job { task: Task::Decode(decode), input: image, output })
}
