//! The reserve: lines whose children are already sealed, each for one job.
//!
//! One thread starts all children. The parent-death signal follows the *thread* that started a child, so a pool thread
//! of the runtime will not do: it may end while the worker lives. This one lives as long as the [`crate::Jail`].

use std::{
    collections::VecDeque,
    error::Error,
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    io::Errno,
};
use tokio::sync::oneshot;

use super::{
    JailError,
    batch::give_way,
    lacking,
    line::{Blueprint, Line},
    reaper::Reaper,
};

/// How often each line in reserve may be replaced between two jobs.
const LOSSES_PER_LINE: usize = 4;

/// A handle of the reserve. With the last one the thread ends and whoever waits in reserve is killed.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Rung for the thread when there is something to do.
    bell: OwnedFd,
    /// Wakes the thread for the bell and for the end of a child in reserve.
    events: OwnedFd,
    size: usize,
}

#[derive(Debug, Default)]
struct State {
    reserve: VecDeque<Line>,
    /// Who found the reserve empty. The line of one that does not wait any more goes into the reserve, if it is not full.
    waiting: VecDeque<oneshot::Sender<Result<Line, JailError>>>,
    /// How many lines may still die in reserve before it is given up until the next job: where every child dies, the
    /// thread would start children for ever.
    losses: usize,
    closed: bool,
}

impl Pool {
    /// Starts the thread. The reserve is filled from the first job on.
    pub(super) fn start(blueprint: Blueprint, size: usize) -> Result<Self, JailError> {
        let reaper = Reaper::start()?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(lacking("descriptor"))?;
        let events = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(lacking("descriptor"))?;
        epoll::add(&events, &bell, epoll::EventData::new_u64(0), epoll::EventFlags::IN)
            .map_err(lacking("descriptor"))?;
        let shared = Arc::new(Shared { state: Mutex::default(), bell, events, size });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("jail-spawner".into())
            .spawn(move || tend(&theirs, &blueprint, &reaper))
            .map_err(lacking("thread"))?;
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    /// A line for one job: from the reserve, or else as soon as it is started. Its children may still build their jails.
    pub(super) async fn take(&self) -> Result<Line, JailError> {
        let shared = &self.handle.shared;
        match shared.take_or_wait() {
            Ok((line, last)) => {
                if last {
                    shared.ring();
                }
                Ok(line)
            }
            Err(answer) => {
                shared.ring();
                answer.await.map_err(|_| JailError::Closed)?
            }
        }
    }

    /// Fills the reserve when the answer is dropped: starting children takes the processors that the job is to have.
    /// Where the job took the last line, that is under way already.
    pub(super) fn refill_later(&self) -> impl Drop + use<> {
        Refill { shared: Arc::clone(&self.handle.shared) }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.closed = true;
        let State { reserve, waiting, .. } = &mut *state;
        let over = (std::mem::take(reserve), std::mem::take(waiting));
        drop(state);
        drop(over);
        self.shared.ring();
    }
}

struct Refill {
    shared: Arc<Shared>,
}

impl Drop for Refill {
    fn drop(&mut self) {
        self.shared.ring();
    }
}

type Answer = oneshot::Receiver<Result<Line, JailError>>;

impl Shared {
    /// The state is whole between any two statements that hold it, so a panic in between leaves nothing half done.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line, and whether it was the last one.
    fn take_or_wait(&self) -> Result<(Line, bool), Answer> {
        let mut state = self.state();
        state.losses = self.size.saturating_mul(LOSSES_PER_LINE);
        while let Some(line) = state.reserve.pop_front() {
            self.unwatch(&line);
            if line.is_whole() {
                return Ok((line, state.reserve.is_empty()));
            }
        }
        let (ask, answer) = oneshot::channel();
        // Without the thread nobody would answer: dropped, the question says so.
        if !state.closed {
            state.waiting.push_back(ask);
        }
        Err(answer)
    }

    /// A bell that is full is rung already.
    fn ring(&self) {
        match rustix::io::write(&self.bell, &1_u64.to_ne_bytes()) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(error) => tracing::error!(error = &error as &dyn Error, "the thread that starts children is not woken"),
        }
    }

    /// Waits until there may be something to do.
    fn listen(&self) -> io::Result<()> {
        let mut events: [MaybeUninit<epoll::Event>; 16] = [MaybeUninit::uninit(); 16];
        // The bell is rung by a job that has its answer still to give. The children are ordinary processes again.
        let gave_way = give_way(true);
        match epoll::wait(&self.events, &mut events, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = gave_way.and_then(|()| give_way(false)) {
            tracing::debug!(
                error = &error as &dyn Error,
                "the thread that starts children keeps its scheduling policy"
            );
        }
        match rustix::io::read(&self.bell, &mut [0; 8]) {
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Looks after a line in reserve. One that is not watched is still found out when it is taken.
    fn watch(&self, line: &Line) {
        for pidfd in line.pidfds() {
            if let Err(error) = epoll::add(&self.events, pidfd, epoll::EventData::new_u64(1), epoll::EventFlags::IN) {
                tracing::warn!(error = &error as &dyn Error, "a jailed child in reserve is not watched");
            }
        }
    }

    fn unwatch(&self, line: &Line) {
        for pidfd in line.pidfds() {
            if let Err(error) = epoll::delete(&self.events, pidfd) {
                tracing::debug!(error = &error as &dyn Error, "a jailed child in reserve was not watched");
            }
        }
    }

    /// Whether another line is to be started. None: the pool is closed.
    fn wants_line(&self) -> Option<bool> {
        let mut state = self.state();
        if state.closed {
            return None;
        }
        let before = state.reserve.len();
        state.reserve.retain(Line::is_whole);
        state.losses = state.losses.saturating_sub(before - state.reserve.len());
        state.waiting.retain(|ask| !ask.is_closed());
        Some(!state.waiting.is_empty() || (state.losses > 0 && state.reserve.len() < self.size))
    }

    /// Gives a new line, or the reason why there is none, to whoever waits longest, else to the reserve.
    fn deliver(&self, mut built: Result<Line, JailError>) {
        let mut state = self.state();
        while let Some(ask) = state.waiting.pop_front() {
            match ask.send(built) {
                Ok(()) => return,
                Err(back) => built = back,
            }
        }
        match built {
            Ok(line) if !state.closed && state.reserve.len() < self.size => {
                self.watch(&line);
                state.reserve.push_back(line);
            }
            // Its drop ends it, which is not for others to wait for.
            Ok(line) => {
                drop(state);
                drop(line);
            }
            Err(error) => {
                state.losses = 0;
                tracing::warn!(error = &error as &dyn Error, "the reserve of jailed children is not filled");
            }
        }
    }
}

/// However the thread ends: whoever waits, now or later, is told that the pool is closed.
struct Closing<'a>(&'a Shared);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        state.waiting.clear();
    }
}

fn tend(shared: &Shared, blueprint: &Blueprint, reaper: &Reaper) {
    let _closing = Closing(shared);
    while let Some(wants_line) = shared.wants_line() {
        if wants_line {
            shared.deliver(blueprint.build(reaper));
        } else if let Err(error) = shared.listen() {
            tracing::error!(error = &error as &dyn Error, "the thread that starts jailed children ends");
            return;
        }
    }
}
