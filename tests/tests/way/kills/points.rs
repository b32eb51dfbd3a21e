//! The points of one way, until the way is over before they come.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// When the worker is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Point {
    /// Before the server sees the n-th request to anything but the database.
    Before(usize),
    /// After the n-th request had its effect, before its answer comes.
    After(usize),
    /// After the n-th write to SQLite's log.
    Write(usize),
}

impl Point {
    const fn number(self) -> usize {
        match self {
            Self::Before(nth) | Self::After(nth) | Self::Write(nth) => nth,
        }
    }

    const fn is_alike(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Before(_), Self::Before(_)) | (Self::After(_), Self::After(_)) | (Self::Write(_), Self::Write(_))
        )
    }
}

/// So many numbers in a row must lie beyond the end: two ways differ by a poll or two, and every chain is to have work.
const BEYOND: usize = 5;

const KINDS: [fn(usize) -> Point; 3] = [Point::Before, Point::After, Point::Write];

/// What a chain is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Kill there.
    Point(Point),
    /// Ask again: what comes of the points in work may bring more.
    Later,
    /// End.
    Over,
}

/// Hands out points, shared by all chains.
#[derive(Debug, Default)]
pub(super) struct Points(Mutex<Ledger>);

#[derive(Debug, Default)]
struct Ledger {
    with_writes: bool,
    handed_out: BTreeSet<Point>,
    tried: usize,
    killed: BTreeSet<Point>,
}

impl Ledger {
    fn killed_like(&self, kind: fn(usize) -> Point) -> impl Iterator<Item = usize> {
        self.killed.iter().filter(move |point| point.is_alike(kind(0))).map(|point| point.number())
    }

    fn candidates(&self) -> impl Iterator<Item = Point> {
        let kinds = if self.with_writes { &KINDS[..] } else { &KINDS[..2] };
        kinds.iter().flat_map(|kind| {
            let reached = self.killed_like(*kind).max().unwrap_or(0);
            (1..=reached + BEYOND).map(*kind)
        })
    }
}

impl Points {
    pub(super) fn new(with_writes: bool) -> Self {
        Self(Mutex::new(Ledger { with_writes, ..Ledger::default() }))
    }

    /// The next point.
    pub(super) fn take(&self) -> Next {
        let mut ledger = self.ledger();
        let free = ledger.candidates().find(|point| !ledger.handed_out.contains(point));
        match free {
            Some(point) => {
                ledger.handed_out.insert(point);
                Next::Point(point)
            }
            None if ledger.tried < ledger.handed_out.len() => Next::Later,
            None => Next::Over,
        }
    }

    /// A point was tried.
    pub(super) fn tried(&self, point: Point, killed: bool) {
        let mut ledger = self.ledger();
        ledger.tried += 1;
        if killed {
            ledger.killed.insert(point);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many kills there were: before requests, after requests, at writes.
    pub(super) fn tally(&self) -> [usize; 3] {
        let ledger = self.ledger();
        KINDS.map(|kind| ledger.killed_like(kind).count())
    }
}

#[cfg(test)]
mod tests {
    use super::{BEYOND, Next, Point, Points};

    #[test]
    fn points_go_on_until_the_way_is_over() {
        let (points, before, after, writes) = (Points::new(true), 9, 20, 7);
        let mut taken = 0;
        while let Next::Point(point) = points.take() {
            taken += 1;
            let end = match point {
                Point::Before(_) => before,
                Point::After(_) => after,
                Point::Write(_) => writes,
            };
            points.tried(point, point.number() <= end);
        }
        assert_eq!(points.take(), Next::Over);
        assert_eq!(points.tally(), [before, after, writes]);
        assert_eq!(taken, before + after + writes + 3 * BEYOND);
    }

    #[test]
    fn a_chain_waits_for_what_others_find() {
        let points = Points::new(false);
        let first = points.take();
        while let Next::Point(_) = points.take() {}
        assert_eq!((first, points.take()), (Next::Point(Point::Before(1)), Next::Later));
    }
}
