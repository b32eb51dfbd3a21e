//! The real program in the real jail.

use std::{io::Write, sync::Arc, time::Duration};

use lazaret_core::{
    Sha256Digest, Spooled,
    ports::{ImageLimits, TransformOutcome, TransformRequest, Transformer},
};
use lazaret_sandbox::{Jail, JailSettings};

pub(crate) fn jail() -> Jail {
    let settings = JailSettings {
        program: env!("CARGO_BIN_EXE_lazaret-transform").into(),
        memory_bytes: 512 << 20,
        cpu_time: Duration::from_secs(5),
        wall_time: Duration::from_secs(12),
        max_output_bytes: 64 << 20,
        concurrency: 2,
    };
    Jail::new(settings, Arc::new(|_| {})).unwrap()
}

pub(crate) fn spooled(bytes: &[u8]) -> Spooled {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Spooled::new(file, bytes.len() as u64, Sha256Digest::from_bytes([0; 32]), ())
}

pub(crate) async fn transform(kind: &str, bytes: &[u8], limits: ImageLimits) -> TransformOutcome {
    let request = TransformRequest { media_type: format!("image/{kind}").parse().unwrap(), limits };
    jail().transform(&spooled(bytes), &request).await.unwrap()
}
