//! The program for the jail as the bench wants it: when it is told to, it does all three tasks over and over in one process
//! and says how long they take it, so that what processes cost can be seen.

use std::{
    io::{self, Read},
    time::{Duration, Instant},
};

use lazaret_sandbox::{
    Answer, Confined, Done, JailedAllocator, Job, Task,
    format::{Decode, Encode, List, OutputFormat, Refusal, RefusalCode, Verify},
};
use lazaret_transform::transform;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

#[global_allocator]
static ALLOCATOR: JailedAllocator = JailedAllocator;

/// Before an image that is to be made anew so many times: a little-endian number of four bytes follows, then a byte that is
/// not 0 where there is to be a pause before each time.
const AGAIN: &[u8] = b"AGAIN";
/// As long as the bench makes between two jobs.
const PAUSE: Duration = Duration::from_millis(15);

fn main() {
    // A jailed process cannot sleep, but it can wait in vain for a word of its host. Only the first one of a line: others
    // have to wait for theirs.
    if std::fs::read_link("/proc/self/fd/0").is_ok_and(|input| input.to_string_lossy().contains("lazaret-input")) {
        set_socket_timeout(io::stderr(), Timeout::Recv, Some(PAUSE)).expect("a wire");
    }
    lazaret_sandbox::jail::run(work)
}

fn work(confined: &Confined, job: Job<'_>) -> Answer {
    match job.task {
        Task::Decode(task) => match job.input.strip_prefix(AGAIN).and_then(<[u8]>::split_first_chunk::<5>) {
            Some((&[a, b, c, d, paced], image)) => {
                again(confined, &task, (u32::from_le_bytes([a, b, c, d]), paced != 0), image, job.output)
            }
            None => transform(confined, job),
        },
        Task::Encode(_) | Task::Sanitise(_) | Task::Verify(_) => transform(confined, job),
    }
}

/// Everything that three processes do to an image, so many times. The answer is a refusal, whose detail is how long that
/// takes by the clock: the median, in nanoseconds.
fn again(confined: &Confined, task: &Decode, (times, paced): (u32, bool), image: &[u8], output: &mut [u8]) -> Answer {
    let mut files = vec![0; 1 << 20];
    let mut took = Vec::new();
    for _ in 0..times {
        if paced {
            // It never comes.
            assert!(io::stdin().read(&mut [0]).is_err());
        }
        let begun = Instant::now();
        once(confined, task, image, output, &mut files)?;
        took.push(begun.elapsed());
    }
    took.sort();
    Err(Refusal::new(RefusalCode::DecodeFailed, took[took.len() / 2].as_nanos()))
}

fn once(confined: &Confined, task: &Decode, image: &[u8], output: &mut [u8], files: &mut [u8]) -> Result<(), Refusal> {
    let decode = Decode { input_bytes: image.len() as u64, ..*task };
    let done = transform(confined, Job { task: Task::Decode(decode), input: image, output })?;
    let Done::Decoded(decoded) = done else { panic!("{done:?}") };
    let picture = &output[..usize::try_from(decoded.len).expect("a length")];
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
    let done = transform(confined, Job { task: Task::Encode(encode), input: picture, output: files })?;
    let Done::Encoded(encoded) = done else { panic!("{done:?}") };
    let len = encoded.artefacts.iter().map(|artefact| artefact.len).sum::<u64>();
    let verify = Verify { input_bytes: len, limits: task.limits, artefacts: encoded.artefacts };
    let input = &files[..usize::try_from(len).expect("a length")];
    transform(confined, Job { task: Task::Verify(verify), input, output: &mut [] })?;
    Ok(())
}
