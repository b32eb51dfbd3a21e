//! How far a reconciliation came, in a file.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use lazaret_core::{BucketName, ObjectKey, Prefix};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tokio::time::{Duration, Instant};

use crate::failure::UsageError;

/// The file is written after this many objects, or this much time: what is looked at twice does no harm.
const EVERY: u32 = 1000;
const AT_LEAST_EVERY: Duration = Duration::from_secs(2);

/// What the file holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    bucket: BucketName,
    prefix: Prefix,
    start_after: ObjectKey,
}

pub(super) struct Checkpoint<'a> {
    file: &'a Path,
    bucket: &'a BucketName,
    prefix: &'a Prefix,
    last: Option<ObjectKey>,
    since: u32,
    written: Instant,
}

impl<'a> Checkpoint<'a> {
    pub(super) fn new(file: &'a Path, bucket: &'a BucketName, prefix: &'a Prefix) -> Self {
        Self { file, bucket, prefix, last: None, since: 0, written: Instant::now() }
    }

    /// Where the run before came to. None: there is no file.
    pub(super) fn read(file: &Path, bucket: &BucketName, prefix: &Prefix) -> Result<Option<ObjectKey>> {
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("the checkpoint {} cannot be read", file.display()))?,
        };
        let place: Place = serde_json::from_str(&text)
            .map_err(|error| UsageError(format!("--checkpoint {}: it is no checkpoint: {error}", file.display())))?;
        if place.bucket != *bucket || place.prefix != *prefix || !prefix.contains(&place.start_after) {
            return Err(UsageError(format!(
                "--checkpoint {}: it is of another run, over {}/{}: name another file",
                file.display(),
                place.bucket,
                place.prefix
            ))
            .into());
        }
        Ok(Some(place.start_after))
    }

    /// Everything up to this key is done.
    pub(super) fn reached(&mut self, last: &ObjectKey) -> Result<()> {
        self.last = Some(last.clone());
        self.since += 1;
        if self.since >= EVERY || self.written.elapsed() >= AT_LEAST_EVERY { self.write() } else { Ok(()) }
    }

    /// The file that says where to go on; none where there is nothing to go on with.
    pub(super) fn end(mut self, complete: bool) -> Result<&'a Path> {
        if !complete {
            self.write()?;
            return Ok(self.file);
        }
        match fs::remove_file(self.file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("the checkpoint {} cannot be removed", self.file.display()))
            }
            Ok(()) | Err(_) => Ok(self.file),
        }
    }

    /// The old file stands until the new one is whole.
    fn write(&mut self) -> Result<()> {
        let Some(last) = &self.last else { return Ok(()) };
        let place = Place { bucket: self.bucket.clone(), prefix: self.prefix.clone(), start_after: last.clone() };
        let write = || -> Result<()> {
            let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut new = NamedTempFile::new_in(folder)?;
            serde_json::to_writer(&mut new, &place)?;
            new.write_all(b"\n")?;
            new.as_file().sync_all()?;
            new.persist(self.file)?;
            Ok(())
        };
        write().with_context(|| format!("the checkpoint {} cannot be written", self.file.display()))?;
        (self.since, self.written) = (0, Instant::now());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_interrupted_goes_on_and_one_that_ended_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("place.json");
        let (bucket, prefix): (BucketName, Prefix) = ("uploads".parse().unwrap(), "quarantine/".parse().unwrap());
        let read = || Checkpoint::read(&file, &bucket, &prefix).unwrap();
        let key = |number: u32| format!("quarantine/{number}").parse::<ObjectKey>().unwrap();
        assert_eq!(read(), None);
        let mut checkpoint = Checkpoint::new(&file, &bucket, &prefix);
        for number in 1..=EVERY {
            checkpoint.reached(&key(number)).unwrap();
        }
        assert_eq!(read(), Some(key(EVERY)), "a killed run lost no more than the last objects");
        checkpoint.reached(&key(7)).unwrap();
        checkpoint.end(false).unwrap();
        assert_eq!(read(), Some(key(7)));
        let other = Checkpoint::read(&file, &"other".parse().unwrap(), &prefix).unwrap_err();
        assert!(
            other.is::<UsageError>() && other.to_string().contains("of another run, over uploads/quarantine/"),
            "{other}"
        );
        Checkpoint::new(&file, &bucket, &prefix).end(true).unwrap();
        assert!(!file.exists() && folder.path().read_dir().unwrap().next().is_none());
        fs::write(&file, "{}").unwrap();
        assert!(Checkpoint::read(&file, &bucket, &prefix).unwrap_err().is::<UsageError>());
    }
}
