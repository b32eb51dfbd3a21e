//! What the jail costs: `overhead PROGRAM JOBS [FILE MEDIA-TYPE]` gives the file, by default a word, to jailed copies of
//! the program again and again, and prints the time from asking to answer, from the reserve and without one.

use std::{
    env, fs,
    io::Write,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use lazaret_core::{
    ImageLimits, ImageOutput, Sha256Digest, Spooled,
    ports::{TransformOutcome, TransformRequest, Transformer, Treatment},
};
use lazaret_sandbox::{Jail, JailSettings};
use tokio::task::JoinSet;

/// Time for the reserve to be filled again.
const PAUSE: Duration = Duration::from_millis(30);

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [program, jobs, rest @ ..] = arguments.as_slice() else {
        panic!("a program and a number of jobs are expected")
    };
    let (bytes, media_type) = match rest {
        [file, media_type, ..] => (fs::read(file).expect("a file"), media_type.as_str()),
        _ => (b"done".to_vec(), "image/png"),
    };
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&bytes).expect("room");
    let input = Spooled::new(file, bytes.len() as u64, Sha256Digest::from_bytes([0; 32]), ());
    let request = TransformRequest {
        media_type: media_type.parse().expect("a media type"),
        limits: ImageLimits::default(),
        treatment: Treatment::ReEncode(ImageOutput::default()),
    };
    let jobs = jobs.parse().expect("a number of jobs");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    for (name, reserve) in [("from the reserve", 2), ("without a reserve", 0)] {
        // On a thread of the runtime, as in the worker.
        let mut tasks = JoinSet::new();
        let (settings, input, request) = (settings(Path::new(program), reserve), input.clone(), request.clone());
        tasks.spawn_on(async move { measure(settings, &input, &request, jobs).await }, runtime.handle());
        let took = runtime.block_on(tasks.join_next()).expect("a task").expect("an end");
        println!("{name}: median {:?}, best {:?}, nine in ten within {:?}", at(&took, 50), at(&took, 0), at(&took, 90));
    }
}

fn settings(program: &Path, reserve: usize) -> JailSettings {
    JailSettings {
        program: program.to_owned(),
        memory_bytes: 512 << 20,
        cpu_time: Duration::from_secs(5),
        wall_time: Duration::from_secs(12),
        max_input_bytes: 64 << 20,
        max_picture_bytes: 512 << 20,
        max_output_bytes: 64 << 20,
        concurrency: 2,
        reserve,
    }
}

/// The times of all jobs in order of length.
async fn measure(settings: JailSettings, input: &Spooled, request: &TransformRequest, jobs: usize) -> Vec<Duration> {
    let jail = Jail::new(settings, Arc::new(|_| {})).expect("a jail");
    let mut took = Vec::new();
    for _ in 0..=jobs {
        let begun = Instant::now();
        let outcome = jail.transform(input, request).await.expect("an outcome");
        took.push(begun.elapsed());
        assert!(matches!(outcome, TransformOutcome::Done(_)), "{outcome:?}");
        tokio::time::sleep(PAUSE).await;
    }
    // The first one found no reserve.
    took.remove(0);
    took.sort();
    took
}

fn at(took: &[Duration], percent: usize) -> Duration {
    took[(took.len() - 1) * percent / 100]
}
