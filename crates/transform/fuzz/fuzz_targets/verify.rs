//! Any bytes as what an encoder says it wrote.

#![no_main]

use lazaret_sandbox::{
    Confined, Job, Task,
    format::{Artefact, ArtefactFormat, ImageLimits, List, Verify},
};
use lazaret_transform::transform;
use libfuzzer_sys::fuzz_target;

const LIMITS: ImageLimits =
    ImageLimits { max_pixels: 1 << 16, max_side: 2048, max_frames: 8, max_total_pixels: 1 << 18 };

fuzz_target!(|bytes: &[u8]| {
    let len = bytes.len() as u64;
    for &format in ArtefactFormat::ALL {
        // Of the seeds' size, so that more is asked than whether the size is right.
        let (width, height, frames) = if format.is_image() { (37, 21, 1) } else { (0, 0, 0) };
        let whole = Artefact { offset: 0, len, format, width, height, frames };
        check(bytes, [whole]);
        check(bytes, [Artefact { frames: 3 * frames, ..whole }]);
        check(bytes, [Artefact { len: len / 2, ..whole }, Artefact { offset: len / 2, len: len - len / 2, ..whole }]);
        check(bytes, [Artefact { offset: u64::MAX, len: u64::MAX, ..whole }]);
    }
});

/// An answer, never a panic.
fn check<const N: usize>(bytes: &[u8], artefacts: [Artefact; N]) {
    let artefacts = List::of(artefacts).expect("two artefacts fit");
    let task = Verify { input_bytes: bytes.len() as u64, limits: LIMITS, artefacts };
    let job = Job { task: Task::Verify(task), input: bytes, output: &mut [] };
    match transform(&Confined::unconfined(), job) {
        Ok(_) | Err(_) => {}
    }
}
