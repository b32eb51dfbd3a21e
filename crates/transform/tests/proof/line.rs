//! The real program in the real jail.

use std::{
    collections::BTreeMap,
    io::Write,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex},
    time::Duration,
};

use lazaret_core::{
    ImageLimits, ImageOutput, Sha256Digest, Spooled,
    ports::{Artefact, TransformOutcome, TransformRequest, Transformer, Treatment},
};
use lazaret_sandbox::{ExitCause, Jail, JailSettings};

/// A jail, and how its children ended so far.
pub(crate) struct Line {
    jail: Jail,
    ends: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl Line {
    /// With the limits that `config/lazaret.toml` has by default.
    pub(crate) fn start() -> Self {
        let ends = Arc::new(Mutex::new(BTreeMap::new()));
        let counted = Arc::clone(&ends);
        let settings = JailSettings {
            program: env!("CARGO_BIN_EXE_lazaret-transform").into(),
            memory_bytes: 512 << 20,
            cpu_time: Duration::from_secs(5),
            wall_time: Duration::from_secs(12),
            max_input_bytes: 64 << 20,
            max_picture_bytes: 512 << 20,
            max_output_bytes: 64 << 20,
            concurrency: 2,
            reserve: 2,
        };
        let observer = move |cause: ExitCause| *counted.lock().unwrap().entry(cause.name()).or_default() += 1;
        Self { jail: Jail::new(settings, Arc::new(observer)).unwrap(), ends }
    }

    /// One job.
    pub(crate) async fn give(&self, media_type: &str, bytes: &[u8], treatment: Treatment) -> TransformOutcome {
        let request =
            TransformRequest { media_type: media_type.parse().unwrap(), limits: ImageLimits::default(), treatment };
        self.jail.transform(&spooled(bytes), &request).await.unwrap()
    }

    /// One image.
    pub(crate) async fn image(&self, media_type: &str, bytes: &[u8], output: &ImageOutput) -> TransformOutcome {
        self.give(media_type, bytes, Treatment::ReEncode(output.clone())).await
    }

    /// How many children ended in which way.
    pub(crate) fn ends(&self) -> BTreeMap<&'static str, u64> {
        self.ends.lock().unwrap().clone()
    }
}

/// The bytes of a published file.
pub(crate) fn bytes(artefact: &Artefact) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(artefact.len).unwrap()];
    artefact.file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// One line for people: what it became, or why not.
pub(crate) fn in_short(outcome: &TransformOutcome) -> String {
    match outcome {
        TransformOutcome::Done(done) => format!("{}, {} bytes", done.object.media_type, done.object.len),
        TransformOutcome::Refused { reason, detail } => format!("refused as {reason}: {detail}"),
        TransformOutcome::Held { reason, detail } => format!("held as {reason}: {detail}"),
    }
}

fn spooled(bytes: &[u8]) -> Spooled {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Spooled::new(file, bytes.len() as u64, Sha256Digest::from_bytes([0; 32]), ())
}
