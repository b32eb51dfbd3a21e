//! The transform port: a fake that decodes nothing and says so.

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
    HoldReason, MediaType, RejectReason, Spooled, VariantName, VariantSize,
    ports::{
        Artefact, Dimensions, TransformError, TransformOutcome, TransformRequest, Transformed, Transformer, Treatment,
    },
};

use crate::objects::contents;

/// What the fake makes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// These files.
    Files(MadeFiles),
    /// The input is not acceptable.
    Refused(RejectReason),
    /// It waits for a person.
    Held(HoldReason),
}

/// An object made anew, with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeFiles {
    /// The object.
    pub object: MadeFile,
    /// Derived sizes.
    pub variants: Vec<(VariantName, MadeFile)>,
    /// A placeholder.
    pub thumbhash: Option<Vec<u8>>,
}

/// One file of it, and what is said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeFile {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What they are said to be.
    pub media_type: MediaType,
    /// What is said to be seen.
    pub image: Option<Dimensions>,
}

impl MadeFile {
    /// A still image of `width` by one pixel.
    pub const fn image(bytes: Vec<u8>, media_type: MediaType, width: u32) -> Self {
        Self { bytes, media_type, image: Some(Dimensions { width, height: 1, frames: 1 }) }
    }

    /// No image.
    pub const fn document(bytes: Vec<u8>, media_type: MediaType) -> Self {
        Self { bytes, media_type, image: None }
    }

    fn into_artefact(self) -> io::Result<Artefact> {
        let mut file: File = tempfile::tempfile()?;
        file.write_all(&self.bytes)?;
        Ok(Artefact { file, len: self.bytes.len() as u64, media_type: self.media_type, image: self.image })
    }
}

impl From<MadeFile> for Made {
    fn from(object: MadeFile) -> Self {
        Self::Files(MadeFiles { object, variants: Vec::new(), thumbhash: None })
    }
}

type Make = dyn Fn(&[u8], &TransformRequest, usize) -> Made + Send + Sync;

/// A transformer that makes what a closure says. Clones share everything.
#[derive(Clone)]
pub struct MemoryTransformer {
    make: Arc<Make>,
    calls: Arc<AtomicUsize>,
    down: Arc<AtomicBool>,
}

impl MemoryTransformer {
    /// Gives the closure all bytes of the input, the request, and the number of the call, from 1.
    pub fn new(make: impl Fn(&[u8], &TransformRequest, usize) -> Made + Send + Sync + 'static) -> Self {
        Self { make: Arc::new(make), calls: Arc::default(), down: Arc::default() }
    }

    /// Makes a PNG signature and the length of the input, and so for every variant: the same output for the same input.
    pub fn png() -> Self {
        Self::new(|input, request, _| pngs(&format!("re-encoded from {} bytes", input.len()), request))
    }

    /// Makes other PNGs with each call, as an encoder with threads or a clock would.
    pub fn restless_png() -> Self {
        Self::new(|_, request, call| pngs(&format!("re-encoded in call {call}"), request))
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

/// The PNG of this text, and its variants as they were asked for.
fn pngs(text: &str, request: &TransformRequest) -> Made {
    let Treatment::ReEncode(output) = &request.treatment else { return Made::Held(HoldReason::Unparsable) };
    let variant = |size: &VariantSize| {
        let bytes = png(&format!("{text} as {}", size.name));
        (size.name.clone(), MadeFile::image(bytes, png_type(), size.max_side))
    };
    Made::Files(MadeFiles {
        object: MadeFile::image(png(text), png_type(), 1),
        variants: output.variants.iter().map(variant).collect(),
        thumbhash: Some(b"a placeholder".to_vec()),
    })
}

fn transformed(made: MadeFiles) -> io::Result<TransformOutcome> {
    let variants = made.variants.into_iter().map(|(name, file)| Ok((name, file.into_artefact()?)));
    Ok(TransformOutcome::Done(Transformed {
        object: made.object.into_artefact()?,
        variants: variants.collect::<io::Result<_>>()?,
        thumbhash: made.thumbhash,
    }))
}

impl fmt::Debug for MemoryTransformer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransformer").finish_non_exhaustive()
    }
}

#[async_trait]
impl Transformer for MemoryTransformer {
    async fn transform(&self, input: &Spooled, request: &TransformRequest) -> Result<TransformOutcome, TransformError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        self.confined()?;
        let spawn = |source: io::Error| TransformError::Spawn { program: "memory".to_owned(), source: source.into() };
        let detail = "told to".to_owned();
        match (self.make)(&contents(input).map_err(spawn)?, request, call) {
            Made::Files(files) => transformed(files).map_err(spawn),
            Made::Refused(reason) => Ok(TransformOutcome::Refused { reason, detail }),
            Made::Held(reason) => Ok(TransformOutcome::Held { reason, detail }),
        }
    }

    async fn self_test(&self) -> Result<(), TransformError> {
        self.confined()
    }
}
