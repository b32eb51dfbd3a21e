//! Any bytes as a document; what is made of it is verified, and stays the same when it is sanitised again.

#![no_main]

use lazaret_sandbox::{
    Confined, Done, Job, Task,
    format::{DocumentFormat, ImageLimits, Sanitise, Verify},
};
use lazaret_transform::transform;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for &format in DocumentFormat::ALL {
        let Some(once) = sanitised(bytes, format) else { continue };
        assert!(sanitised(&once, format).is_some(), "what was sanitised cannot be sanitised");
    }
});

fn sanitised(bytes: &[u8], format: DocumentFormat) -> Option<Vec<u8>> {
    let confined = Confined::unconfined();
    let mut output = vec![0; 1 << 20];
    let task = Task::Sanitise(Sanitise { input_bytes: bytes.len() as u64, format });
    let Ok(Done::Encoded(encoded)) = transform(&confined, Job { task, input: bytes, output: &mut output }) else {
        return None;
    };
    let len = encoded.artefacts.iter().map(|artefact| artefact.len).sum();
    output.truncate(usize::try_from(len).expect("a file fits into memory"));
    let task = Verify { input_bytes: len, limits: ImageLimits::default(), artefacts: encoded.artefacts };
    let verified = transform(&confined, Job { task: Task::Verify(task), input: &output, output: &mut [] });
    assert!(verified.is_ok(), "what was sanitised is not verified: {verified:?}");
    Some(output)
}
