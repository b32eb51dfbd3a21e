//! Making the index from what an earlier process left on disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::OpenError;
use super::index::{Bucket, Index, Listed, Upload};
use super::layout::{BUCKET_RECORD, Layout, UPLOAD_RECORD, object_name};
use super::record::{self, BucketRecord, ObjectRecord, PartRecord, UploadRecord};

/// Removes what was never finished and reads what was.
pub(super) fn recover(layout: &Layout) -> Result<Index, OpenError> {
    let staging = layout.staging();
    for (path, _) in entries(&staging)? {
        remove(&path).map_err(OpenError::io(&path))?;
    }
    let mut index = Index::default();
    for (path, name) in entries(&layout.buckets())? {
        // Files that desktop tools leave behind are none of ours.
        if s3s::path::check_bucket_name(&name) && path.join(BUCKET_RECORD).is_file() {
            index.buckets.insert(name.clone(), bucket(layout, &name)?);
        }
    }
    Ok(index)
}

fn bucket(layout: &Layout, name: &str) -> Result<Bucket, OpenError> {
    let BucketRecord { created } = json(&layout.bucket(name).join(BUCKET_RECORD))?;
    let mut bucket = Bucket::new(created);
    for (path, file_name) in entries(&layout.objects(name))? {
        if file_name.len() != 64 {
            continue;
        }
        let record: ObjectRecord = recorded(&path, |record: &ObjectRecord| record.size)?;
        if object_name(&record.key) != file_name {
            return Err(damaged(&path, "it holds another key than its name says"));
        }
        bucket.objects.insert(record.key.clone(), Listed::from(&record));
    }
    for (path, id) in entries(&layout.uploads(name))? {
        if !path.join(UPLOAD_RECORD).is_file() {
            continue;
        }
        let upload = upload(&path)?;
        let made = bucket.objects.get(&upload.record.key);
        if made.is_some_and(|object| object.upload_id.as_ref() == Some(&id)) {
            // Killed after the object had become visible and before its parts were gone.
            remove(&path).map_err(OpenError::io(&path))?;
        } else {
            bucket.uploads.insert(id, upload);
        }
    }
    Ok(bucket)
}

fn upload(directory: &Path) -> Result<Upload, OpenError> {
    let record: UploadRecord = json(&directory.join(UPLOAD_RECORD))?;
    let mut upload = Upload { record, parts: std::collections::BTreeMap::new() };
    for (path, name) in entries(directory)? {
        if let Ok(number) = name.parse() {
            upload.parts.insert(number, recorded(&path, |part: &PartRecord| part.size)?);
        }
    }
    Ok(upload)
}

/// The record of the file, once it is clear that it describes this file.
fn recorded<R: DeserializeOwned>(path: &Path, size: impl FnOnce(&R) -> u64) -> Result<R, OpenError> {
    let file = File::open(path).map_err(OpenError::io(path))?;
    let (record, length) = record::read(&file).map_err(|error| damaged(path, &error.to_string()))?;
    if size(&record) != length {
        return Err(damaged(path, "its length is not what its record says"));
    }
    Ok(record)
}

fn json<R: DeserializeOwned>(path: &Path) -> Result<R, OpenError> {
    let text = fs::read(path).map_err(OpenError::io(path))?;
    serde_json::from_slice(&text).map_err(|error| damaged(path, &error.to_string()))
}

fn entries(directory: &Path) -> Result<Vec<(PathBuf, String)>, OpenError> {
    let list = || -> io::Result<Vec<(PathBuf, String)>> {
        fs::read_dir(directory)?
            .map(|entry| {
                let entry = entry?;
                Ok((entry.path(), entry.file_name().to_string_lossy().into_owned()))
            })
            .collect()
    };
    list().map_err(OpenError::io(directory))
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn damaged(path: &Path, reason: &str) -> OpenError {
    OpenError::Damaged { path: path.to_owned(), reason: reason.to_owned() }
}
