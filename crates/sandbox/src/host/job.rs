//! One job from its line to what comes out at the end of it.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use lazaret_core::{ImageLimits, Spooled};

use super::{
    ExitCause, Jail, JailError,
    attend::{Attended, Deadline, End, Gone, Order},
    check::{self, Expected},
    handed::Handed,
    lacking,
    line::{Line, Seat},
    memfd,
    memory::{Memory, blocking, is_large},
};
use crate::{
    format::{Artefact, Decode, Decoded, Encode, Encoded, Refusal, Sanitise, Verify},
    layer::Layer,
    picture::{HEADER_BYTES, Outline, PictureError},
    wire::{Done, Task, ToHost},
};

/// What is to be made of an input. The lengths in the tasks are filled in as they come to be known.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plan {
    /// Pixels, and files from them.
    Image { decode: Decode, encode: Encode },
    /// A document anew.
    Document { sanitise: Sanitise, limits: ImageLimits },
}

/// How a job ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// With these files, verified and sealed, the object first.
    Done { files: Vec<(File, Artefact)>, thumbhash: Vec<u8> },
    /// The program refused its input.
    Refused(Refusal),
    /// A child came to another end.
    Stopped { cause: ExitCause, detail: String },
}

/// Why a job goes no further: it is over, or a child had no jail.
enum Stop {
    Over(Ending),
    NotReady { layer: Layer, detail: String },
    Unable(JailError),
}

impl From<JailError> for Stop {
    fn from(error: JailError) -> Self {
        Self::Unable(error)
    }
}

impl Stop {
    fn lie(detail: String) -> Self {
        Self::Over(Ending::Stopped { cause: ExitCause::Protocol, detail })
    }
}

impl Jail {
    /// Runs one job, in a second fresh line where a child of the first could not complete its jail.
    pub(super) async fn run(&self, input: &Spooled, plan: Plan) -> Result<Ending, JailError> {
        let mut retried = false;
        loop {
            match self.attempt(input, plan).await {
                Ok(ending) | Err(Stop::Over(ending)) => return Ok(ending),
                Err(Stop::Unable(error)) => return Err(error),
                Err(Stop::NotReady { layer, detail }) if retried => {
                    return Err(JailError::MissingLayer { layer, detail });
                }
                Err(Stop::NotReady { .. }) => retried = true,
            }
        }
    }

    /// A line for one job, which holds a place among the jobs at work until its children are gone.
    pub(super) async fn line(&self) -> Result<Line, JailError> {
        // The semaphore lives as long as `self` and is never closed.
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| JailError::Closed)?;
        let mut line = self.pool.take().await?;
        line.hold(&Some(Arc::new(slot)));
        Ok(line)
    }

    async fn attempt(&self, input: &Spooled, plan: Plan) -> Result<Ending, Stop> {
        let line = self.line().await?;
        let _refill = self.pool.refill_later();
        match plan {
            Plan::Image { decode, encode } => self.image(line, input, decode, encode).await,
            Plan::Document { sanitise, limits } => self.document(line, input, sanitise, limits).await,
        }
    }

    async fn image(&self, line: Line, input: &Spooled, decode: Decode, encode: Encode) -> Result<Ending, Stop> {
        let Line { input: bytes, picture, output, decoder, encoder, verifier } = line;
        let mut decoder = self.ready(decoder).await?;
        let file = Handed::input(&bytes, input).await?;
        let deadline = Deadline::after(self.settings.wall_time);
        let task = Task::Decode(Decode { input_bytes: input.len(), ..decode });
        // The next one's map must be there before the file behind it is cut.
        let (done, encoder) = tokio::join!(self.answer(&mut decoder, file.order(&task), deadline), self.ready(encoder));
        let (done, mut encoder) = (done?, encoder?);
        let Done::Decoded(Decoded { len }) = done else { return Err(another(&mut decoder)) };
        let capacity = picture.metadata().map_err(lacking("picture"))?.len();
        if len < HEADER_BYTES as u64 || len > capacity {
            let claim = format!("claims a picture of {len} bytes, {capacity} are possible");
            return Err(judged_false(&mut decoder, claim));
        }
        let pixels = self.hand_over(&mut decoder, &picture, len, deadline).await?;
        let outline = read_outline(&pixels, &picture, len, &decode.limits).await?;
        let outline = outline.map_err(|lie| judged_false(&mut decoder, lie))?;
        if outline.planes && outline.width.max(outline.height) > decode.planes_side {
            return Err(judged_false(&mut decoder, "made planes where none are wanted".into()));
        }
        decoder.found_good();

        let encode = Encode { input_bytes: len, original_bytes: input.len(), ..encode };
        let expected = Expected::files(&encode, &outline);
        let order = pixels.order(&Task::Encode(encode));
        let (done, verifier, decoder_ended) = tokio::join!(
            self.answer(&mut encoder, order, deadline),
            async {
                drop((file, bytes));
                self.ready(verifier).await
            },
            self.end_well(decoder, deadline),
        );
        // A bad end outranks whatever was made of the answer before it.
        decoder_ended?;
        let over = (pixels, picture);
        self.finish((encoder, done?), verifier?, (output, over), &expected, (decode.limits, deadline)).await
    }

    /// The decoder has nothing to do and is killed: nothing is sealed that somebody can write.
    async fn document(
        &self,
        line: Line,
        input: &Spooled,
        sanitise: Sanitise,
        limits: ImageLimits,
    ) -> Result<Ending, Stop> {
        let Line { input: _, picture: bytes, output, mut decoder, encoder, verifier } = line;
        decoder.prisoner.kill().await.map_err(lacking("end of a jailed child"))?;
        let mut encoder = self.ready(encoder).await?;
        let file = Handed::input(&bytes, input).await?;
        let deadline = Deadline::after(self.settings.wall_time);
        let task = Task::Sanitise(Sanitise { input_bytes: input.len(), ..sanitise });
        let (done, verifier) =
            tokio::join!(self.answer(&mut encoder, file.order(&task), deadline), self.ready(verifier));
        let over = (decoder, file, bytes);
        let expected = Expected::document(sanitise.format);
        self.finish((encoder, done?), verifier?, (output, over), &expected, (limits, deadline)).await
    }

    /// Checks what the encoder says, has it verified, and parts the files. What is `over` is dropped meanwhile.
    async fn finish<T>(
        &self,
        (mut encoder, done): (Attended<'_>, Done),
        mut verifier: Attended<'_>,
        (output, over): (Memory, T),
        expected: &Expected,
        (limits, deadline): (ImageLimits, Deadline),
    ) -> Result<Ending, Stop> {
        let Done::Encoded(announced) = done else { return Err(another(&mut encoder)) };
        // Where the setting is not in whole pages, the memory is less.
        let room = output.metadata().map_err(lacking("output"))?.len().min(self.settings.max_output_bytes);
        let len = check::files(&announced, expected, room).map_err(|lie| judged_false(&mut encoder, lie))?;
        let Encoded { artefacts, thumbhash } = announced;

        let written = self.hand_over(&mut encoder, &output, len, deadline).await?;
        encoder.found_good();
        let task = Task::Verify(Verify { input_bytes: len, limits, artefacts });
        let (end, copies, encoder_ended) = tokio::join!(
            verifier.obey(written.order(&task), deadline),
            async {
                drop(over);
                written.copied().map(|bytes| part_copy(bytes, artefacts.iter()))
            },
            self.end_well(encoder, deadline),
        );
        let objection = end.map(|end| self.objection(&mut verifier, end));
        encoder_ended?;
        if let Some(stop) = objection? {
            return Err(stop);
        }
        let files = match copies {
            Some(files) => files.map_err(lacking("output memory"))?,
            None => blocking("output memory", is_large(&output), move || part(&output, artefacts.iter())).await?,
        };
        Ok(Ending::Done { files, thumbhash: thumbhash.iter().collect() })
    }

    /// A child whose turn has come, once its jail is complete.
    async fn ready(&self, seat: Seat) -> Result<Attended<'_>, Stop> {
        let mut child = Attended::new(seat, Some(&self.observer));
        match child.ready().await? {
            Ok(()) => Ok(child),
            Err(End { cause, detail, last, .. }) => Err(self.stopped(cause, detail, last)),
        }
    }

    /// What one child says that it did. Its end is still to come, and what it did is still to be judged.
    async fn answer(&self, child: &mut Attended<'_>, order: Order<'_>, deadline: Deadline) -> Result<Done, Stop> {
        let end = match child.ask(order, deadline).await? {
            Ok(done) => return Ok(done),
            Err(end) => end,
        };
        match (end.cause, end.last) {
            (ExitCause::Refused, Some(ToHost::Refused(refusal))) => {
                child.judged(ExitCause::Refused);
                Err(Stop::Over(Ending::Refused(refusal)))
            }
            (ExitCause::Done, _) => Err(judged_false(child, "hung up before it answered".into())),
            (cause, last) => Err(self.stopped(cause, end.detail, last)),
        }
    }

    /// The end of a child that has answered.
    async fn end(&self, child: &mut Attended<'_>, deadline: Deadline) -> Result<Gone, Stop> {
        if let Some(gone) = child.ended_well() {
            return Ok(gone);
        }
        let End { cause, detail, last } = child.end(deadline).await?;
        child.ended_well().ok_or_else(|| self.stopped(cause, detail, last))
    }

    /// [`Self::end`] of a child whose work was found good.
    async fn end_well(&self, mut child: Attended<'_>, deadline: Deadline) -> Result<(), Stop> {
        self.end(&mut child, deadline).await?;
        child.found_good();
        Ok(())
    }

    /// Takes what a child has written out of its reach: a little is copied at once, and much is the next one's once the
    /// writer has come to its end.
    async fn hand_over(
        &self,
        writer: &mut Attended<'_>,
        memory: &Memory,
        len: u64,
        deadline: Deadline,
    ) -> Result<Handed, Stop> {
        if let Some(copy) = Handed::copy(memory, len)? {
            return Ok(copy);
        }
        let gone = self.end(writer, deadline).await?;
        let written = memory.clone();
        blocking("seal on memory", is_large(memory), move || memfd::freeze(&written, len, gone)).await?;
        Ok(Handed::Mapped)
    }

    /// Why what was written goes no further. None: the verifier found it good. Its refusal is about that and not about the
    /// input.
    fn objection(&self, verifier: &mut Attended<'_>, end: End) -> Option<Stop> {
        match (end.cause, end.last) {
            (ExitCause::Done, Some(ToHost::Done(Done::Verified))) => {
                verifier.found_good();
                None
            }
            (ExitCause::Done, Some(ToHost::Done(_))) => Some(another(verifier)),
            (ExitCause::Refused, Some(ToHost::Refused(Refusal { detail, .. }))) => {
                verifier.judged(ExitCause::Unverified);
                let detail = format!("the new file failed its verification: {detail}");
                Some(Stop::Over(Ending::Stopped { cause: ExitCause::Unverified, detail }))
            }
            (cause, last) => Some(self.stopped(cause, end.detail, last)),
        }
    }

    fn stopped(&self, cause: ExitCause, detail: String, last: Option<ToHost>) -> Stop {
        match (cause, last) {
            (ExitCause::SetUp, Some(ToHost::SetUpFailed { layer, detail })) => {
                Stop::NotReady { layer, detail: detail.to_string() }
            }
            (ExitCause::SetUp, _) => Stop::NotReady { layer: Layer::Program, detail },
            (cause, _) => Stop::Over(Ending::Stopped { cause, detail: self.with_limit(cause, detail) }),
        }
    }

    /// The line for people, with the limit that was met.
    fn with_limit(&self, cause: ExitCause, detail: String) -> String {
        match cause {
            ExitCause::Memory => format!("{detail}, limit {} bytes", self.settings.memory_bytes),
            ExitCause::CpuTime => format!("{detail}, limit {} ms", self.settings.cpu_time.as_millis()),
            _ => detail,
        }
    }
}

/// An answer to another question.
fn another(child: &mut Attended<'_>) -> Stop {
    judged_false(child, "answered another question".into())
}

fn judged_false(child: &mut Attended<'_>, lie: String) -> Stop {
    child.judged(ExitCause::Protocol);
    Stop::lie(lie)
}

/// Reads what the host needs to know of what the decoder wrote. `Ok(Err(lie))`: it is not a picture.
async fn read_outline(
    pixels: &Handed,
    picture: &Memory,
    len: u64,
    limits: &ImageLimits,
) -> Result<Result<Outline, String>, JailError> {
    match pixels {
        Handed::Copied(bytes) => Ok(Outline::read(bytes, len, limits).map_err(|error| error.to_string())),
        Handed::Mapped => {
            let (written, limits) = (picture.clone(), *limits);
            blocking("picture", is_large(picture), move || read_mapped_outline(&written, len, &limits)).await
        }
    }
}

fn read_mapped_outline(picture: &File, len: u64, limits: &ImageLimits) -> io::Result<Result<Outline, String>> {
    let mut header = [0; HEADER_BYTES];
    picture.read_exact_at(&mut header, 0)?;
    let bytes = match Outline::bytes(&header, limits) {
        Ok(bytes) if bytes as u64 <= len => bytes,
        Ok(_) => return Ok(Err(PictureError::Length.to_string())),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut beginning = vec![0; bytes];
    picture.read_exact_at(&mut beginning, 0)?;
    Ok(Outline::read(&beginning, len, limits).map_err(|error| error.to_string()))
}

/// Every file of a copy in a memfd of its own. They lie one behind the other, which is checked.
fn part_copy(bytes: &[u8], artefacts: impl Iterator<Item = Artefact>) -> io::Result<Vec<(File, Artefact)>> {
    let mut rest = bytes;
    let part = |artefact: Artefact| {
        let parts = usize::try_from(artefact.len).ok().and_then(|len| rest.split_at_checked(len));
        let (file, behind) = parts.ok_or(io::ErrorKind::UnexpectedEof)?;
        rest = behind;
        Ok((memfd::of(file)?, artefact))
    };
    artefacts.map(part).collect()
}

/// Every file in a memfd of its own, the first in the output's.
fn part(output: &File, artefacts: impl Iterator<Item = Artefact>) -> io::Result<Vec<(File, Artefact)>> {
    let mut files = Vec::new();
    for artefact in artefacts {
        let file = if files.is_empty() {
            output.try_clone()?
        } else {
            let file = memfd::create("lazaret-variant", artefact.len)?;
            memfd::copy(output, artefact.offset, &file, artefact.len)?;
            file
        };
        files.push((file, artefact));
    }
    for (file, artefact) in &files {
        memfd::seal(file, artefact.len)?;
    }
    Ok(files)
}
