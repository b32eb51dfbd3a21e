//! Expectations.

use std::os::unix::fs::FileExt;

use lazaret_core::ports::{ImageLimits, TransformOutcome, Transformed};

use crate::jailed::transform;

/// The re-encoded bytes and what the jail said of them.
pub(crate) async fn done(kind: &str, bytes: &[u8]) -> (Vec<u8>, Transformed) {
    match transform(kind, bytes, ImageLimits::default()).await {
        TransformOutcome::Done(done) => {
            let mut output = vec![0; usize::try_from(done.len).unwrap()];
            done.file.read_exact_at(&mut output, 0).unwrap();
            (output, done)
        }
        other => panic!("{kind}: {other:?}"),
    }
}
