//! Expectations.

use std::os::unix::fs::FileExt;

use lazaret_core::{
    ImageLimits,
    ports::{Artefact, TransformOutcome},
};

use crate::jailed::transform;

/// The re-encoded bytes and what the jail said of them.
pub(crate) async fn done(kind: &str, bytes: &[u8]) -> (Vec<u8>, Artefact) {
    match transform(kind, bytes, ImageLimits::default()).await {
        TransformOutcome::Done(done) => {
            let mut output = vec![0; usize::try_from(done.object.len).unwrap()];
            done.object.file.read_exact_at(&mut output, 0).unwrap();
            (output, done.object)
        }
        other => panic!("{kind}: {other:?}"),
    }
}
