//! One job from its line to what comes out at the end of it.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use lazaret_core::Spooled;
use tokio::task::spawn_blocking;

use super::{
    ExitCause, Jail, JailError,
    attend::{Attended, Deadline, End, Gone},
    check::{self, Expected},
    lacking,
    line::{Line, Seat},
    memfd,
    memory::{INLINE_BYTES, Memory, is_large},
};
use crate::{
    format::{Artefact, Decode, Decoded, Encode, Encoded, Refusal, Sanitise, Verify},
    layer::Layer,
    picture::{HEADER_BYTES, Table},
    wire::{Done, Task, ToChild, ToHost},
};

/// What is to be made of an input. The lengths in the tasks are filled in as they come to be known.
#[derive(Debug, Clone, Copy)]
pub(super) enum Plan {
    /// Pixels, and files from them.
    Image { decode: Decode, encode: Encode },
    /// A document anew.
    Document { sanitise: Sanitise, limits: lazaret_core::ImageLimits },
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
        fill(&bytes, input).await?;
        let deadline = Deadline::after(self.settings.wall_time);
        let decode = Decode { input_bytes: input.len(), ..decode };
        let task = ToChild::Work(Task::Decode(decode));
        // The next one's map must be there before the file behind it is cut.
        let (done, encoder) = tokio::join!(self.step(&mut decoder, &task, deadline), self.ready(encoder));
        let ((done, gone), mut encoder) = (done?, encoder?);
        let Done::Decoded(Decoded { len }) = done else { return Err(another(&mut decoder)) };
        drop(bytes);

        let limits = decode.limits;
        let written = picture.clone();
        let table = blocking("picture", is_large(&picture), move || read_table(&written, len, gone, &limits)).await?;
        let table = table.map_err(|lie| judged_false(&mut decoder, lie))?;
        decoder.judged(ExitCause::Done);

        let encode = Encode { input_bytes: len, original_bytes: input.len(), ..encode };
        let expected = Expected::files(&encode, &table);
        let task = ToChild::Work(Task::Encode(encode));
        let (done, verifier) = tokio::join!(self.step(&mut encoder, &task, deadline), self.ready(verifier));
        drop(picture);
        self.finish((encoder, done?), verifier?, output, &expected, (limits, deadline)).await
    }

    /// The decoder has nothing to do and is killed: nothing is sealed that somebody can write.
    async fn document(
        &self,
        line: Line,
        input: &Spooled,
        sanitise: Sanitise,
        limits: lazaret_core::ImageLimits,
    ) -> Result<Ending, Stop> {
        let Line { input: _, picture: bytes, output, mut decoder, encoder, verifier } = line;
        decoder.prisoner.kill().await.map_err(lacking("end of a jailed child"))?;
        let mut encoder = self.ready(encoder).await?;
        fill(&bytes, input).await?;
        let deadline = Deadline::after(self.settings.wall_time);
        let sanitise = Sanitise { input_bytes: input.len(), ..sanitise };
        let task = ToChild::Work(Task::Sanitise(sanitise));
        let (done, verifier) = tokio::join!(self.step(&mut encoder, &task, deadline), self.ready(verifier));
        drop(bytes);
        let expected = Expected::document(sanitise.format);
        self.finish((encoder, done?), verifier?, output, &expected, (limits, deadline)).await
    }

    /// Checks what the encoder says, has it verified, and parts the files.
    async fn finish(
        &self,
        (mut encoder, (done, gone)): (Attended<'_>, (Done, Gone)),
        mut verifier: Attended<'_>,
        output: Memory,
        expected: &Expected,
        (limits, deadline): (lazaret_core::ImageLimits, Deadline),
    ) -> Result<Ending, Stop> {
        let Done::Encoded(announced) = done else { return Err(another(&mut encoder)) };
        let len = check::files(&announced, expected, self.settings.max_output_bytes);
        let len = len.map_err(|lie| judged_false(&mut encoder, lie))?;
        encoder.judged(ExitCause::Done);

        let written = output.clone();
        blocking("seal on the output", is_large(&output), move || memfd::freeze(&written, len, gone)).await?;
        let task = ToChild::Work(Task::Verify(Verify { input_bytes: len, limits, artefacts: announced.artefacts }));
        let done = self.verified(&mut verifier, &task, deadline).await?;
        let Done::Verified = done else { return Err(another(&mut verifier)) };
        verifier.judged(ExitCause::Done);
        let Encoded { artefacts, thumbhash } = announced;
        let files = blocking("output memory", is_large(&output), move || part(&output, artefacts.iter())).await?;
        Ok(Ending::Done { files, thumbhash: thumbhash.iter().collect() })
    }

    /// A child whose turn has come, once its jail is complete.
    async fn ready(&self, seat: Seat) -> Result<Attended<'_>, Stop> {
        let mut child = Attended::new(seat, Some(&self.observer))?;
        match child.ready().await? {
            Ok(()) => Ok(child),
            Err(End { cause, detail, last, .. }) => Err(self.stopped(cause, detail, last)),
        }
    }

    /// One task in one child. What it did is still to be judged.
    async fn step(&self, child: &mut Attended<'_>, task: &ToChild, deadline: Deadline) -> Result<(Done, Gone), Stop> {
        let end = child.obey(task, deadline).await?;
        match (end.cause, end.last) {
            (ExitCause::Done, Some(ToHost::Done(done))) => Ok((done, end.gone)),
            (ExitCause::Refused, Some(ToHost::Refused(refusal))) => {
                child.judged(ExitCause::Refused);
                Err(Stop::Over(Ending::Refused(refusal)))
            }
            (cause, last) => Err(self.stopped(cause, end.detail, last)),
        }
    }

    /// [`Self::step`] of the child whose refusal is about what was written and not about the input.
    async fn verified(&self, child: &mut Attended<'_>, task: &ToChild, deadline: Deadline) -> Result<Done, Stop> {
        let end = child.obey(task, deadline).await?;
        match (end.cause, end.last) {
            (ExitCause::Done, Some(ToHost::Done(done))) => Ok(done),
            (ExitCause::Refused, Some(ToHost::Refused(Refusal { detail, .. }))) => {
                child.judged(ExitCause::Unverified);
                let detail = format!("the new file failed its verification: {detail}");
                Err(Stop::Over(Ending::Stopped { cause: ExitCause::Unverified, detail }))
            }
            (cause, last) => Err(self.stopped(cause, end.detail, last)),
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

/// A good end with an answer to another question.
fn another(child: &mut Attended<'_>) -> Stop {
    judged_false(child, "answered another question".into())
}

fn judged_false(child: &mut Attended<'_>, lie: String) -> Stop {
    child.judged(ExitCause::Protocol);
    Stop::lie(lie)
}

/// Copies the input to where a sealed child has it mapped already.
async fn fill(memory: &Memory, input: &Spooled) -> Result<(), JailError> {
    let (memory, input) = (memory.clone(), input.clone());
    blocking("copy of the input", input.len() > INLINE_BYTES, move || {
        memfd::copy(input.file(), 0, &memory, input.len())?;
        memfd::seal(&memory, input.len())
    })
    .await
}

/// Cuts and seals what the decoder wrote, which is gone, and reads what the host needs to know of it.
/// `Ok(Err(lie))`: it is not a picture.
fn read_table(
    picture: &File,
    len: u64,
    decoder: Gone,
    limits: &lazaret_core::ImageLimits,
) -> io::Result<Result<Table, String>> {
    let capacity = picture.metadata()?.len();
    if len < HEADER_BYTES as u64 || len > capacity {
        return Ok(Err(format!("claims a picture of {len} bytes, {capacity} are possible")));
    }
    memfd::freeze(picture, len, decoder)?;
    memfd::seal(picture, len)?;
    let mut header = [0; HEADER_BYTES];
    picture.read_exact_at(&mut header, 0)?;
    let bytes = match Table::bytes(&header, limits) {
        Ok(bytes) if bytes as u64 <= len => bytes,
        Ok(_) => return Ok(Err(crate::picture::PictureError::Length.to_string())),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut beginning = vec![0; bytes];
    picture.read_exact_at(&mut beginning, 0)?;
    Ok(Table::read(&beginning, len, limits).map_err(|error| error.to_string()))
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

/// Work that takes longer than a thread of the runtime has, where it is long. Short work is done sooner than another
/// thread is woken.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    long: bool,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, JailError> {
    let done = if long { spawn_blocking(work).await.map_err(lacking(what))? } else { work() };
    done.map_err(lacking(what))
}
