//! A jail around the `misbehave` example.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use lazaret_core::{
    Sha256Digest, Spooled,
    ports::{ImageLimits, TransformError, TransformOutcome, TransformRequest, Transformer},
};
use lazaret_sandbox::{ExitCause, Jail, JailSettings};

/// The example's executable, which `cargo test` builds beside the tests.
pub(crate) fn misbehave() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join("examples/misbehave");
    assert!(program.exists(), "{} is not built: run `cargo test -p lazaret-sandbox` whole", program.display());
    program
}

pub(crate) fn settings(program: PathBuf) -> JailSettings {
    JailSettings {
        program,
        memory_bytes: 64 << 20,
        cpu_time: Duration::from_millis(300),
        wall_time: Duration::from_secs(20),
        max_output_bytes: 1 << 20,
        concurrency: 2,
    }
}

/// A jail and the ends of its children so far.
pub(crate) struct Cell {
    pub(crate) jail: Jail,
    ends: Arc<Mutex<Vec<ExitCause>>>,
}

impl Cell {
    pub(crate) fn new(settings: JailSettings) -> Self {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let observed = Arc::clone(&ends);
        let jail = Jail::new(settings, Arc::new(move |cause| observed.lock().unwrap().push(cause))).unwrap();
        Self { jail, ends }
    }

    pub(crate) async fn give(&self, word: &str) -> Result<TransformOutcome, TransformError> {
        let request = TransformRequest { media_type: "image/bmp".parse().unwrap(), limits: ImageLimits::default() };
        self.jail.transform(&spooled(word.as_bytes()), &request).await
    }

    pub(crate) fn ends(&self) -> Vec<ExitCause> {
        self.ends.lock().unwrap().clone()
    }
}

pub(crate) fn spooled(bytes: &[u8]) -> Spooled {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Spooled::new(file, bytes.len() as u64, Sha256Digest::from_bytes([0; 32]), ())
}
