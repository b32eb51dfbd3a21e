//! Three children in a row, and the memory between them.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{SendFlags, send},
};

use super::{
    JailError, JailSettings, lacking,
    memory::Memory,
    prisoner::Prisoner,
    reaper::{Reaper, Slot},
    spawn::{Descriptors, spawn, wire_pair},
};
use crate::wire::{MESSAGE_BYTES, SetUp, ToChild};

/// What every line of a jail has in common.
#[derive(Debug)]
pub(super) struct Blueprint {
    program: PathBuf,
    capacity: Capacity,
    memory_bytes: u64,
    cpu_ms: u64,
}

/// Lengths of the maps, in whole pages.
#[derive(Debug, Clone, Copy)]
struct Capacity {
    input: u64,
    picture: u64,
    output: u64,
}

impl Blueprint {
    pub(super) fn new(settings: &JailSettings) -> Self {
        let page = rustix::param::page_size() as u64;
        let pages = |bytes: u64| bytes.max(1).div_ceil(page).saturating_mul(page);
        let capacity = Capacity {
            input: pages(settings.max_input_bytes),
            // A document goes where a picture would.
            picture: pages(settings.max_picture_bytes.max(settings.max_input_bytes)),
            // Down, so that an honest process which fills it has not put out too much.
            output: (settings.max_output_bytes / page).max(1).saturating_mul(page),
        };
        Self {
            program: settings.program.clone(),
            capacity,
            memory_bytes: settings.memory_bytes,
            cpu_ms: u64::try_from(settings.cpu_time.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Starts three children, who build their jails at once and then wait.
    pub(super) fn build(&self, reaper: &Reaper) -> Result<Line, JailError> {
        let Capacity { input, picture, output } = self.capacity;
        let memory = |name, len| Memory::create(name, len, reaper).map_err(lacking("memory"));
        let (first, second, third) =
            (memory("lazaret-input", input)?, memory("lazaret-picture", picture)?, memory("lazaret-output", output)?);
        let decoder = self.start(reaper, (&first, input), Some((&second, picture)))?;
        let encoder = self.start(reaper, (&second, picture), Some((&third, output)))?;
        let verifier = self.start(reaper, (&third, output), None)?;
        Ok(Line { input: first, picture: second, output: third, decoder, encoder, verifier })
    }

    fn start(
        &self,
        reaper: &Reaper,
        (input, input_bytes): (&Memory, u64),
        output: Option<(&Memory, u64)>,
    ) -> Result<Seat, JailError> {
        let (ours, theirs) = wire_pair().map_err(lacking("socket"))?;
        let descriptor = |memory: &Memory| memory.as_fd().try_clone_to_owned().map_err(lacking("descriptor"));
        let descriptors = Descriptors {
            input: descriptor(input)?,
            output: output.map(|(memory, _)| descriptor(memory)).transpose()?,
            wire: theirs,
        };
        let set_up = SetUp {
            host_pid: std::process::id(),
            input_bytes,
            output_bytes: output.map_or(0, |(_, len)| len),
            memory_bytes: self.memory_bytes,
            cpu_ms: self.cpu_ms,
        };
        // The message waits in the socket until the child reads it.
        let sent = send(&ours, &ToChild::SetUp(set_up).encode(), SendFlags::NOSIGNAL).map_err(lacking("socket"))?;
        debug_assert_eq!(sent, MESSAGE_BYTES, "a message goes whole or not at all");
        let start = |source: io::Error| JailError::Start { program: self.program.clone(), source };
        let child = spawn(&self.program, descriptors).map_err(start)?;
        let prisoner = Prisoner::new(child, reaper.clone()).map_err(lacking("descriptor"))?;
        Ok(Seat { prisoner, wire: ours })
    }
}

/// A child that waits for its task, or still builds its jail.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) prisoner: Prisoner,
    pub(super) wire: OwnedFd,
}

/// The children of one job, chained by memory: what one writes the next one reads.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) input: Memory,
    pub(super) picture: Memory,
    pub(super) output: Memory,
    pub(super) decoder: Seat,
    pub(super) encoder: Seat,
    pub(super) verifier: Seat,
}

impl Line {
    fn seats(&self) -> [&Seat; 3] {
        [&self.decoder, &self.encoder, &self.verifier]
    }

    /// The descriptors that become readable when a child ends.
    pub(super) fn pidfds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.seats().into_iter().map(|seat| seat.prisoner.pidfd())
    }

    /// Whether all of its children live.
    pub(super) fn is_whole(&self) -> bool {
        let mut ends = self.seats().map(|seat| PollFd::from_borrowed_fd(seat.prisoner.pidfd(), PollFlags::IN));
        // An error is no proof of an end; the job will find out.
        poll(&mut ends, Some(&Timespec::default())).is_ok_and(|ended| ended == 0)
    }

    /// Makes the children hold their job's place.
    pub(super) fn hold(&mut self, slot: &Slot) {
        for seat in [&mut self.decoder, &mut self.encoder, &mut self.verifier] {
            seat.prisoner.hold(slot.clone());
        }
    }
}
