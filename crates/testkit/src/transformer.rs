//! The transform port: a fake that re-encodes nothing and says so.

use std::{
    fmt,
    fs::File,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use lazaret_core::{
    HoldReason, MediaType, RejectReason, Spooled,
    ports::{TransformError, TransformOutcome, TransformRequest, Transformed, Transformer},
};

use crate::objects::contents;

/// What the fake makes of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// These bytes, said to be of this type.
    Image(Vec<u8>, MediaType),
    /// The input is not acceptable.
    Refused(RejectReason),
    /// The jail stopped it.
    Stopped(HoldReason),
}

type Make = dyn Fn(&[u8], usize) -> Made + Send + Sync;

/// A transformer that makes what a closure says. Clones share everything.
#[derive(Clone)]
pub struct MemoryTransformer {
    make: Arc<Make>,
    calls: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
}

impl MemoryTransformer {
    /// Gives the closure all bytes of the input and the number of the call, from 1.
    pub fn new(make: impl Fn(&[u8], usize) -> Made + Send + Sync + 'static) -> Self {
        Self { make: Arc::new(make), calls: Arc::default(), down: Arc::default() }
    }

    /// Makes a PNG signature and the length of the input: the same output for the same input.
    pub fn png() -> Self {
        Self::new(|input, _| Made::Image(png(&format!("re-encoded from {} bytes", input.len())), png_type()))
    }

    /// Makes another PNG with each call, as an encoder with threads or a clock would.
    pub fn restless_png() -> Self {
        Self::new(|_, call| Made::Image(png(&format!("re-encoded in call {call}")), png_type()))
    }

    /// Its confinement is not complete from now on, or complete again.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// How often it was asked to transform.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    fn confined(&self) -> Result<(), TransformError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(TransformError::Unconfined { layer: "it was set down".to_owned() });
        }
        Ok(())
    }
}

/// A PNG signature with a text behind it.
pub fn png(text: &str) -> Vec<u8> {
    [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", text.as_bytes()].concat()
}

fn png_type() -> MediaType {
    "image/png".parse().expect("a valid media type")
}

fn image(bytes: &[u8], media_type: MediaType) -> io::Result<TransformOutcome> {
    let mut file: File = tempfile::tempfile()?;
    file.write_all(bytes)?;
    let len = bytes.len() as u64;
    Ok(TransformOutcome::Done(Transformed { file, len, media_type, width: 1, height: 1, frames: 1 }))
}

impl fmt::Debug for MemoryTransformer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransformer").finish_non_exhaustive()
    }
}

#[async_trait]
impl Transformer for MemoryTransformer {
    async fn transform(&self, input: &Spooled, _: &TransformRequest) -> Result<TransformOutcome, TransformError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.confined()?;
        let spawn = |source: io::Error| TransformError::Spawn { program: "memory".to_owned(), source: source.into() };
        let detail = "told to".to_owned();
        match (self.make)(&contents(input).map_err(spawn)?, call) {
            Made::Image(bytes, media_type) => image(&bytes, media_type).map_err(spawn),
            Made::Refused(reason) => Ok(TransformOutcome::Refused { reason, detail }),
            Made::Stopped(reason) => Ok(TransformOutcome::Stopped { reason, detail }),
        }
    }

    async fn self_test(&self) -> Result<(), TransformError> {
        self.confined()
    }
}
