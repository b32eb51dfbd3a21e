//! The real program in the real jail.

use std::{io::Write, sync::Arc, time::Duration};

use lazaret_core::{
    ImageLimits, ImageOutput, Sha256Digest, Spooled,
    ports::{TransformOutcome, TransformRequest, Transformer, Treatment},
};
use lazaret_sandbox::{Jail, JailSettings};

pub(crate) fn jail() -> Jail {
    let settings = JailSettings {
        program: std::env::var_os("LAZARET_TEST_JAIL")
            .unwrap_or_else(|| env!("CARGO_BIN_EXE_lazaret-transform").into())
            .into(),
        memory_bytes: 512 << 20,
        cpu_time: Duration::from_secs(5),
        wall_time: Duration::from_secs(12),
        max_input_bytes: 64 << 20,
        max_picture_bytes: 512 << 20,
        max_output_bytes: 64 << 20,
        concurrency: 2,
        reserve: 1,
    };
    Jail::new(settings, Arc::new(|_| {})).unwrap()
}

pub(crate) fn spooled(bytes: &[u8]) -> Spooled {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Spooled::new(file, bytes.len() as u64, Sha256Digest::from_bytes([0; 32]), ())
}

pub(crate) async fn transform(kind: &str, bytes: &[u8], limits: ImageLimits) -> TransformOutcome {
    let treatment = Treatment::ReEncode(ImageOutput::default());
    let request = TransformRequest { media_type: format!("image/{kind}").parse().unwrap(), limits, treatment };
    jail().transform(&spooled(bytes), &request).await.unwrap()
}
