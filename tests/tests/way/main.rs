//! The way of an object: the real program, real servers, a bucket, queue and database for each test.

mod crowd;
mod dev;
mod dishonest;
mod duplicates;
mod engines;
mod first_errors;
mod images;
mod kills;
mod large;
mod lost_answers;
mod lying_scanner;
mod never_published;
mod operators;
mod outages;
mod overwritten;
mod paused;
mod queue;
mod scan;
mod secrets;
mod steering;
mod sweep;
mod sweepers;
mod termination;
mod verdict_events;

use std::time::Duration;

/// Long enough for a loaded machine; a test that works never waits this long.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);
