//! The way of an object: the real program, real servers, a bucket, queue and database for each test.

mod queue;

/// Long enough for a loaded machine; a test that works never waits this long.
const SETTLED_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);
