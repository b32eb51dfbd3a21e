//! A jail around the `misbehave` example.

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use lazaret_core::{
    ImageLimits, ImageOutput, Sha256Digest, Spooled, VariantSize,
    ports::{TransformError, TransformOutcome, TransformRequest, Transformer, Treatment},
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
        max_input_bytes: 1 << 20,
        max_picture_bytes: 1 << 20,
        max_output_bytes: 1 << 20,
        concurrency: 2,
        reserve: 1,
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

    /// Has the word re-encoded, with two variants.
    pub(crate) async fn give(&self, word: &str) -> Result<TransformOutcome, TransformError> {
        self.ask("image/bmp", Treatment::ReEncode(output()), word).await
    }

    pub(crate) async fn ask(
        &self,
        media_type: &str,
        treatment: Treatment,
        word: &str,
    ) -> Result<TransformOutcome, TransformError> {
        let media_type = media_type.parse().unwrap();
        let request = TransformRequest { media_type, limits: ImageLimits::default(), treatment };
        self.jail.transform(&spooled(word.as_bytes()), &request).await
    }

    pub(crate) fn ends(&self) -> Vec<ExitCause> {
        self.ends.lock().unwrap().clone()
    }
}

/// The same word, so long that it goes from process to process in memory and not by the wire.
pub(crate) fn long(word: &str) -> String {
    word.to_owned() + &" ".repeat((96 << 10) - word.len())
}

pub(crate) fn output() -> ImageOutput {
    let variant = |name: &str, max_side| VariantSize { name: name.parse().unwrap(), max_side };
    ImageOutput { variants: vec![variant("dot", 1), variant("thumb", 4)], ..ImageOutput::default() }
}

pub(crate) fn spooled(bytes: &[u8]) -> Spooled {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Spooled::new(file, bytes.len() as u64, Sha256Digest::from_bytes([0; 32]), ())
}
