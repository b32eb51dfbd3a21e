//! SIGKILL at the right moment.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use lazaret_testkit::proxy::Then;
use lazaret_tests::program::Running;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// Kills one worker once, unless disarmed before.
#[derive(Debug, Clone)]
pub(super) struct Killer {
    pid: Pid,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Armed,
    Disarmed,
    Killed,
}

impl Killer {
    pub(super) fn of(worker: &Running) -> Result<Self> {
        let pid = Pid::from_raw(worker.id().try_into()?).context("no process id")?;
        Ok(Self { pid, state: Arc::new(Mutex::new(State::Armed)) })
    }

    /// Returns once the worker does nothing any more. It stays a zombie until its guard waits for it, so the id is its.
    pub(super) fn kill(&self) -> Then {
        self.with(|state| {
            if *state == State::Disarmed {
                return Then::GoOn;
            }
            let killed = kill_process(self.pid, Signal::KILL)
                .and_then(|()| waitid(WaitId::Pid(self.pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT));
            if let Err(error) = killed {
                panic!("the worker {:?} cannot be killed: {error}", self.pid);
            }
            *state = State::Killed;
            Then::Cut
        })
    }

    pub(super) fn has_killed(&self) -> bool {
        self.with(|state| *state == State::Killed)
    }

    /// From now on it kills nobody. Whether it did before.
    pub(super) fn disarm(&self) -> bool {
        self.with(|state| {
            if *state == State::Armed {
                *state = State::Disarmed;
            }
            *state == State::Killed
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
