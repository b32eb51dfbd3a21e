//! Where things lie below the root.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(self.staging())?;
        fs::create_dir_all(self.buckets())
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub(super) fn buckets(&self) -> PathBuf {
        self.root.join("buckets")
    }

    /// `bucket` is a checked bucket name: no slash, no `..`.
    pub(super) fn bucket(&self, bucket: &str) -> PathBuf {
        self.buckets().join(bucket)
    }

    pub(super) fn objects(&self, bucket: &str) -> PathBuf {
        self.bucket(bucket).join(OBJECTS)
    }

    pub(super) fn object(&self, bucket: &str, key: &str) -> PathBuf {
        self.objects(bucket).join(object_name(key))
    }

    pub(super) fn uploads(&self, bucket: &str) -> PathBuf {
        self.bucket(bucket).join(UPLOADS)
    }

    /// `upload` is the id of an upload in the index, never a client's text.
    pub(super) fn upload(&self, bucket: &str, upload: &str) -> PathBuf {
        self.uploads(bucket).join(upload)
    }

    pub(super) fn part(&self, bucket: &str, upload: &str, number: i32) -> PathBuf {
        self.upload(bucket, upload).join(number.to_string())
    }
}

pub(super) const OBJECTS: &str = "objects";
pub(super) const UPLOADS: &str = "uploads";
pub(super) const BUCKET_RECORD: &str = "bucket.json";
pub(super) const UPLOAD_RECORD: &str = "upload.json";

/// A key is any text of up to 1024 bytes, a file name is not: the hash is safe, short and as good as unique.
pub(super) fn object_name(key: &str) -> String {
    hex::encode(Sha256::digest(key))
}

/// Makes renames and removals in `directory` outlive a power cut.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
