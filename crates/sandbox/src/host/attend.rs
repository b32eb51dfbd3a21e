//! One child from its readiness to its end.

use std::{
    io::{self, IoSlice},
    os::fd::OwnedFd,
    sync::Arc,
    time::Duration,
};

use rustix::{
    io::{Errno, ioctl_fionread},
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, timeout_at},
};

use super::{
    ExitCause, ExitObserver, JailError,
    exits::{Heard, classify},
    lacking,
    line::Seat,
    prisoner::Prisoner,
    watch::watch,
};
use crate::wire::{Done, MESSAGE_BYTES, ToChild, ToHost};

/// How long a child may take to build its jail, a millisecond's work, on a machine that has other things to do.
pub(super) const SET_UP_TIME: Duration = Duration::from_secs(10);

/// How a child ended, the host's own hand included.
#[derive(Debug)]
pub(super) struct End {
    pub(super) cause: ExitCause,
    /// A line for people.
    pub(super) detail: String,
    /// Its last word.
    pub(super) last: Option<ToHost>,
}

/// Proof that a child is reaped, and that nobody writes any more what only it could write. Only its end makes one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone(());

/// What a child is told to do.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) message: ToChild,
    /// The input, where it follows the message; otherwise nothing.
    pub(super) input: &'a [u8],
}

/// When a job is over, and what to say then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) limit: Duration,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }
}

/// A child whose turn has come. Dropped before its end is known, it is killed; the observer is told that it was
/// cancelled where it had its task.
pub(super) struct Attended<'a> {
    prisoner: Prisoner,
    wire: Arc<OwnedFd>,
    /// Registered while a word is waited for, and given up with the answer: the child's end wakes this task once, not by its
    /// hanging up as well.
    watched: Option<AsyncFd<Arc<OwnedFd>>>,
    heard: Heard,
    /// None: nobody is to be told of its end. A probe's end is the self-test's own doing and would look like an attack.
    observer: Option<&'a ExitObserver>,
    /// It has a task, and its end is not told yet.
    at_work: bool,
    ended_well: Option<Gone>,
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        if self.at_work {
            self.judged(ExitCause::Cancelled);
        }
    }
}

impl<'a> Attended<'a> {
    pub(super) fn new(seat: Seat, observer: Option<&'a ExitObserver>) -> Self {
        let Seat { prisoner, wire } = seat;
        Self {
            prisoner,
            wire: Arc::new(wire),
            watched: None,
            heard: Heard::default(),
            observer,
            at_work: false,
            ended_well: None,
        }
    }

    /// Waits until the child has built its jail. `Ok(Err(end))`: it never did.
    pub(super) async fn ready(&mut self) -> Result<Result<(), End>, JailError> {
        let deadline = Deadline::after(SET_UP_TIME);
        let Ok(heard) = timeout_at(deadline.at, self.hear()).await else {
            return self.kill(ExitCause::SetUp, overdue("was not ready", deadline.limit)).await.map(Err);
        };
        if heard.map_err(lacking("word from a jailed child"))? && self.heard.ready {
            return Ok(Ok(()));
        }
        self.end(deadline).await.map(Err)
    }

    /// Tells a ready child what to do and waits for its end. What it says is heard only then, because nothing is to be done
    /// before.
    pub(super) async fn obey(&mut self, order: Order<'_>, deadline: Deadline) -> Result<End, JailError> {
        self.tell(&order)?;
        self.watched = None;
        self.end(deadline).await
    }

    /// Tells a ready child what to do and waits until it says that this is done. Its end is still to come, and only a
    /// good one makes that count. `Ok(Err(end))`: it came to its end otherwise.
    pub(super) async fn ask(&mut self, order: Order<'_>, deadline: Deadline) -> Result<Result<Done, End>, JailError> {
        self.tell(&order)?;
        let Ok(heard) = timeout_at(deadline.at, self.hear()).await else {
            let overdue = overdue("did not end", deadline.limit);
            return self.kill(ExitCause::WallTime, overdue).await.map(Err);
        };
        let spoke = heard.map_err(lacking("word from a jailed child"))?;
        self.watched = None;
        match self.heard.last {
            Some(ToHost::Done(done)) if spoke => Ok(Ok(done)),
            _ => self.end(deadline).await.map(Err),
        }
    }

    /// Proof of its end, where that has come and was a good one.
    pub(super) const fn ended_well(&self) -> Option<Gone> {
        self.ended_well
    }

    /// Tells the observer of the child's end, once. A good end is told by whoever finds that it was good.
    pub(super) fn judged(&mut self, cause: ExitCause) {
        self.at_work = false;
        if let Some(observer) = self.observer.take() {
            observer(cause);
        }
    }

    /// What it did was found good, which counts once it has come to its end.
    pub(super) fn found_good(&mut self) {
        if self.ended_well.is_some() {
            self.judged(ExitCause::Done);
        }
    }

    /// Sends a message with the input that follows it. The socket has room for all that a child ever gets, and takes this
    /// whole or not at all.
    fn tell(&mut self, order: &Order<'_>) -> Result<(), JailError> {
        self.at_work = true;
        let (message, mut nothing) = (order.message.encode(), SendAncillaryBuffer::default());
        let parts = [IoSlice::new(&message), IoSlice::new(order.input)];
        match sendmsg(&self.wire, &parts, &mut nothing, SendFlags::NOSIGNAL) {
            // A child that died meanwhile is known by its exit.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(error) => Err(lacking("word to a jailed child")(error)),
        }
    }

    /// Hears one word. False: there is no more to be heard, because the child hung up, or because it lied, which nobody
    /// needs to hear the rest of.
    async fn hear(&mut self) -> io::Result<bool> {
        let word = if let Some(word) = receive(&self.wire)? {
            word
        } else {
            let watched = match self.watched.take() {
                Some(watched) => watched,
                None => watch(Arc::clone(&self.wire))?,
            };
            listen(self.watched.insert(watched)).await?
        };
        Ok(self.understand(word))
    }

    /// Takes in one word. False: as above.
    fn understand(&mut self, word: Word) -> bool {
        let message = match word {
            Word::Message(message) => message,
            Word::Nonsense(nonsense) => {
                self.heard.lie = Some(nonsense);
                return false;
            }
            Word::HungUp => return false,
        };
        let Heard { ready, last, lie } = &mut self.heard;
        match message {
            ToHost::Ready if !*ready && last.is_none() => *ready = true,
            message if last.is_none() && speaks_in_turn(&message, *ready) => *last = Some(message),
            message => {
                *lie = Some(format!("said {message:?} out of turn"));
                return false;
            }
        }
        true
    }

    /// The end of a child that will not be heard any more. Before it is ready it has seen no input: whatever it does, such
    /// as its loader's complaint on the wire, says nothing about one.
    pub(super) async fn end(&mut self, deadline: Deadline) -> Result<End, JailError> {
        let ready = self.heard.ready;
        let once_ready = |cause| if ready { cause } else { ExitCause::SetUp };
        if let Some(lie) = self.heard.lie.take() {
            return self.kill(once_ready(ExitCause::Protocol), lie).await;
        }
        let Ok(status) = timeout_at(deadline.at, self.prisoner.wait()).await else {
            // A lie tells more than that it lingers.
            self.hear_rest()?;
            let (cause, detail) = match self.heard.lie.take() {
                Some(lie) => (ExitCause::Protocol, lie),
                None => (ExitCause::WallTime, overdue("did not end", deadline.limit)),
            };
            return self.kill(once_ready(cause), detail).await;
        };
        let status = status.map_err(lacking("end of a jailed child"))?;
        // Nobody else has its end of the wire: what it said before it ended is all there.
        self.hear_rest()?;
        let (cause, detail) = classify(status, &self.heard);
        Ok(self.ended(once_ready(cause), detail))
    }

    /// Takes in what is there on the wire.
    fn hear_rest(&mut self) -> Result<(), JailError> {
        while let Some(word) = receive(&self.wire).map_err(lacking("word from a jailed child"))? {
            if !self.understand(word) {
                break;
            }
        }
        Ok(())
    }

    async fn kill(&mut self, cause: ExitCause, detail: String) -> Result<End, JailError> {
        self.prisoner.kill().await.map_err(lacking("end of a jailed child"))?;
        Ok(self.ended(cause, detail))
    }

    /// To be called once it is reaped.
    fn ended(&mut self, cause: ExitCause, detail: String) -> End {
        if !matches!(cause, ExitCause::Done | ExitCause::Refused) {
            self.judged(cause);
        }
        self.ended_well = (cause == ExitCause::Done).then_some(Gone(()));
        End { cause, detail, last: self.heard.last.take() }
    }
}

fn overdue(what: &str, limit: Duration) -> String {
    format!("{what} within {} ms", limit.as_millis())
}

/// Before it is ready a child can only fail; after that it can do all else.
fn speaks_in_turn(message: &ToHost, ready: bool) -> bool {
    match message {
        ToHost::Ready => false,
        ToHost::SetUpFailed { .. } => !ready,
        ToHost::Panicked { .. } => true,
        ToHost::Done(_) | ToHost::Refused(_) | ToHost::Survived { .. } => ready,
    }
}

#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
pub(super) enum Word {
    Message(ToHost),
    Nonsense(String),
    HungUp,
}

pub(super) async fn listen(wire: &AsyncFd<Arc<OwnedFd>>) -> io::Result<Word> {
    let received = |fd: &Arc<OwnedFd>| receive(fd)?.ok_or_else(|| Errno::AGAIN.into());
    wire.async_io(Interest::READABLE, received).await
}

/// The next word; none where there is none yet.
fn receive(wire: &OwnedFd) -> io::Result<Option<Word>> {
    // One byte more than a message, so that a longer one is seen to be longer.
    let mut buffer = [0; MESSAGE_BYTES + 1];
    let received = match recv(wire, &mut buffer, RecvFlags::empty()) {
        // It left with words of ours unread, which is told once and before its own last words.
        Err(Errno::CONNRESET) => recv(wire, &mut buffer, RecvFlags::empty()),
        other => other,
    };
    match received {
        // A packet may be empty, too. Only where more lies behind it is it told from an end.
        Ok((0, _)) if ioctl_fionread(wire)? > 0 => Ok(Some(Word::Nonsense("said an empty word".into()))),
        Ok((0, _)) | Err(Errno::CONNRESET) => Ok(Some(Word::HungUp)),
        Ok((len, _)) => Ok(Some(match ToHost::decode(&buffer[..len]) {
            Ok(message) => Word::Message(message),
            Err(error) => Word::Nonsense(error.to_string()),
        })),
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
