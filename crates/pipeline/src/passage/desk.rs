//! What this process has in hand, and which objects it suspects.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use lazaret_core::UploadId;

/// After how many outages that only one object met it is the object's own fault.
const OUTAGES_ALONE: u32 = 3;
/// How many objects are suspected at once. More are only suspected anew.
const MAX_SUSPECTS: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Desk {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    in_work: HashSet<UploadId>,
    suspects: HashMap<UploadId, Suspect>,
    /// How many objects were settled here.
    settled: u64,
}

#[derive(Debug)]
struct Suspect {
    outages: u32,
    /// How many were settled when it last met an outage.
    settled: u64,
}

/// An object in work, until this is dropped.
pub(super) struct Place<'a> {
    desk: &'a Desk,
    id: UploadId,
}

impl Desk {
    /// None: it is in work already.
    pub(super) fn take(&self, id: UploadId) -> Option<Place<'_>> {
        let is_free = self.state().in_work.insert(id);
        // Made only then: dropping it would free the other's place.
        is_free.then(|| Place { desk: self, id })
    }

    /// The object got through, so everything that it needed was there.
    pub(super) fn got_through(&self, id: UploadId) {
        let mut state = self.state();
        state.settled += 1;
        state.suspects.remove(&id);
    }

    /// The object met an outage. True: it has met several, between which others got through, so what fails for it fails
    /// because of it. It is not suspected any more then.
    pub(super) fn met_outage(&self, id: UploadId) -> bool {
        let mut state = self.state();
        if state.suspects.len() >= MAX_SUSPECTS {
            state.suspects.clear();
        }
        let settled = state.settled;
        let suspect = state.suspects.entry(id).or_insert(Suspect { outages: 1, settled });
        if suspect.settled < settled {
            *suspect = Suspect { outages: suspect.outages + 1, settled };
        }
        let is_to_blame = suspect.outages >= OUTAGES_ALONE;
        if is_to_blame {
            state.suspects.remove(&id);
        }
        is_to_blame
    }

    /// Sets and numbers: whole between any two statements.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.desk.state().in_work.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> UploadId {
        format!("00000000-0000-7000-8000-0000000000{number:02}").parse().unwrap()
    }

    #[test]
    fn an_object_has_one_place() {
        let desk = Desk::default();
        let place = desk.take(id(1));
        assert!(place.is_some() && desk.take(id(1)).is_none() && desk.take(id(2)).is_some());
        drop(place);
        assert!(desk.take(id(1)).is_some());
    }

    #[test]
    fn only_outages_that_others_do_not_meet_are_held_against_an_object() {
        let desk = Desk::default();
        for _ in 0..10 {
            assert!(!desk.met_outage(id(1)), "nobody got through");
        }
        for expected in [false, true, false] {
            desk.got_through(id(2));
            assert_eq!(desk.met_outage(id(1)), expected);
        }
        desk.got_through(id(1));
        desk.got_through(id(2));
        assert!(!desk.met_outage(id(1)), "it got through meanwhile");
    }
}
