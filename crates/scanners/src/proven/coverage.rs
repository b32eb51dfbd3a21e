use std::collections::BTreeMap;

use lazaret_core::EngineVersion;
use serde::Serialize;

use super::{Marker, ProvenSettings};
use crate::container::Container;

/// What an engine makes of a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sight {
    /// It found it.
    Found,
    /// It said that it could not look there, which is no *clean*.
    Told,
    /// It called it clean, or gave no answer.
    Missed,
}

/// Where an engine was seen to look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The engine and signatures that were tried.
    pub engine: EngineVersion,
    /// What they were tried with. None: they know no canary.
    pub marker: Option<Marker>,
    /// By container.
    pub containers: BTreeMap<Container, Sight>,
    /// In how many archives in archives it was tried, and what came of it.
    pub depth: Option<(u32, Sight)>,
    /// The longest file at whose end it finds the canary, in bytes. None: it was not tried.
    pub largest: Option<u64>,
}

impl Coverage {
    pub(super) const fn unmeasured(engine: EngineVersion) -> Self {
        Self { engine, marker: None, containers: BTreeMap::new(), depth: None, largest: None }
    }

    /// Where it says that it does not look, in plain words. Nothing there is called clean by itself.
    pub fn told(&self) -> Vec<String> {
        let containers = self.containers.iter().filter(|(_, sight)| **sight == Sight::Told);
        let mut told: Vec<_> = containers.map(|(container, _)| format!("nothing in {container}")).collect();
        if let Some((depth, Sight::Told)) = self.depth {
            told.push(format!("nothing {depth} archives deep"));
        }
        told
    }

    /// What it misses, in plain words.
    pub fn misses(&self, settings: &ProvenSettings) -> Vec<String> {
        let containers = self.containers.iter().filter(|(_, sight)| **sight == Sight::Missed);
        let mut misses: Vec<_> = containers.map(|(container, _)| format!("nothing in {container}")).collect();
        if let Some((depth, Sight::Missed)) = self.depth {
            misses.push(format!("nothing {depth} archives deep"));
        }
        if let Some(largest) = self.largest.filter(|largest| *largest < settings.max_object_bytes) {
            misses.push(format!("nothing beyond {largest} of {} bytes", settings.max_object_bytes));
        }
        misses
    }

    /// Why a *clean* about an object of this length in this container does not count, if it does not.
    pub(super) fn doubt(&self, settings: &ProvenSettings, len: u64, container: Option<Container>) -> Option<String> {
        if let Some(largest) = self.largest.filter(|largest| len > *largest && *largest < settings.max_object_bytes) {
            return Some(format!("the engine missed a canary behind {largest} bytes, and these are {len}"));
        }
        let container = container?;
        if self.marker.is_none() {
            return Some(format!("the engine knows no canary, so it is not known to look into {container}"));
        }
        match self.containers.get(&container) {
            Some(Sight::Found) => {}
            Some(Sight::Told | Sight::Missed) => {
                return Some(format!("the engine did not find a canary in {container}"));
            }
            // Of office documents of the old kind there is no canary: they are the engine's word.
            None if container == Container::Compound => {}
            None => return Some(format!("there is no canary that shows whether the engine looks into {container}")),
        }
        match self.depth {
            Some((_, Sight::Found)) | None => None,
            Some((depth, Sight::Told | Sight::Missed)) => {
                Some(format!("the engine did not find a canary {depth} archives deep"))
            }
        }
    }
}
