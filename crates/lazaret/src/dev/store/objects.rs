//! Single objects: writing, reading, copying, deleting.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::ops;

use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, ETagCondition, Error as DeleteError,
    MetadataDirective, PutObjectInput, PutObjectOutput, Range,
};
use s3s::{S3ErrorCode, S3Request};
use uuid::Uuid;

use super::conditions::{ReadCondition, WriteCondition, matches, source_condition};
use super::digests::{Declared, Hasher, show_checksums};
use super::fault::{Fault, blocking, disk, refuse};
use super::index::{Bucket, Listed};
use super::intake::{Intake, Staged, receive};
use super::layout::sync_directory;
use super::record::{self, ObjectRecord, headers_of, now, s3_time};
use super::{CompletedUpload, DirStore, Shared};

const WRITE: &str = "write an object";
const READ: &str = "read an object";
const DELETE: &str = "delete an object";

/// An object as one reader has it: nothing that is written later changes it.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) record: ObjectRecord,
}

impl Opened {
    /// The bytes asked for, of the whole object.
    pub(super) fn span(&self, range: Option<Range>, part: Option<i32>) -> Result<ops::Range<u64>, Fault> {
        match (range, part) {
            (Some(_), Some(_)) => {
                Err(refuse(S3ErrorCode::InvalidRequest, "a range and a part number cannot go together"))
            }
            (Some(range), None) => {
                range.check(self.record.size).map_err(|unsatisfiable| Fault::Refused(unsatisfiable.into()))
            }
            (None, Some(1)) if self.record.parts.is_empty() => Ok(0..self.record.size),
            (None, Some(number)) => {
                let part = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
                let size = part.and_then(|part| self.record.parts.get(part));
                let (Some(part), Some(size)) = (part, size) else {
                    return Err(refuse(S3ErrorCode::InvalidRange, "the object has no such part"));
                };
                let start = self.record.parts[..part].iter().sum();
                Ok(start..start + size)
            }
            (None, None) => Ok(0..self.record.size),
        }
    }
}

impl Shared {
    /// The version that is current now.
    pub(super) fn open_object(&self, bucket: &str, key: &str, version: Option<&str>) -> Result<Opened, Fault> {
        self.index().bucket(bucket)?;
        check_version(version)?;
        let file = match File::open(self.layout.object(bucket, key)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(S3ErrorCode::NoSuchKey.into()),
            other => other.map_err(disk(READ))?,
        };
        let (record, _) = record::read(&file).map_err(disk(READ))?;
        Ok(Opened { file, record })
    }

    /// Makes a staged object the current one and tells of it. `prepare` and `settle` run under the same lock as the
    /// change itself, before and after it.
    pub(super) fn commit(
        &self,
        bucket: &str,
        staged: Staged,
        record: ObjectRecord,
        prepare: impl FnOnce(&mut Bucket) -> Result<(), Fault>,
        settle: impl FnOnce(&mut Bucket) -> Result<(), Fault>,
    ) -> Result<ObjectRecord, Fault> {
        let sealed = staged.seal(&record).map_err(disk(WRITE))?;
        let sequencer = {
            let mut index = self.index();
            let held = index.bucket_mut(bucket)?;
            prepare(held)?;
            sealed.persist(self.layout.object(bucket, &record.key)).map_err(|failed| disk(WRITE)(failed.error))?;
            held.objects.insert(record.key.clone(), Listed::from(&record));
            settle(held)?;
            // Drawn under the lock: the order of sequencers is the order of the writes.
            Uuid::now_v7().simple().to_string()
        };
        sync_directory(&self.layout.objects(bucket)).map_err(disk(WRITE))?;
        (self.completed)(CompletedUpload {
            bucket: bucket.to_owned(),
            key: record.key.clone(),
            size: record.size,
            etag: record.etag.clone(),
            sequencer,
        });
        Ok(record)
    }

    fn delete(&self, bucket: &str, key: &str, only: Option<&ETagCondition>) -> Result<(), Fault> {
        {
            let mut index = self.index();
            let held = index.bucket_mut(bucket)?;
            match (only, held.objects.get(key)) {
                (Some(wanted), Some(object)) if !matches(wanted, &object.etag) => {
                    return Err(refuse(S3ErrorCode::PreconditionFailed, "the object has another ETag"));
                }
                (Some(_), None) => return Err(S3ErrorCode::NoSuchKey.into()),
                (None, None) => return Ok(()),
                (Some(_) | None, Some(_)) => {}
            }
            match fs::remove_file(self.layout.object(bucket, key)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(disk(DELETE)(error)),
                Ok(()) | Err(_) => held.objects.remove(key),
            };
        }
        sync_directory(&self.layout.objects(bucket)).map_err(disk(DELETE))
    }
}

impl DirStore {
    pub(super) async fn put(&self, request: S3Request<PutObjectInput>) -> Result<PutObjectOutput, Fault> {
        let declared = Declared::of(&request)?;
        let input = request.input;
        refuse_customer_key(input.sse_customer_algorithm.is_some())?;
        self.shared.index().bucket(&input.bucket)?;
        let condition = WriteCondition { if_match: input.if_match.clone(), if_none_match: input.if_none_match.clone() };
        let headers = headers_of!(input);
        let (staged, checksums) = receive(self.shared.layout.staging(), input.body, declared).await?;
        let record = ObjectRecord {
            key: input.key,
            size: staged.size,
            etag: hex::encode(staged.digests.md5),
            last_modified: now(),
            headers,
            checksums,
            parts: Vec::new(),
            upload_id: None,
        };
        let shared = self.shared.clone();
        let record = blocking(WRITE, move || {
            let key = record.key.clone();
            let permit = |bucket: &mut Bucket| condition.check(bucket.objects.get(&key));
            shared.commit(&input.bucket, staged, record, permit, |_| Ok(()))
        })
        .await?;
        let mut output = PutObjectOutput { e_tag: Some(ETag::Strong(record.etag)), ..PutObjectOutput::default() };
        show_checksums!(output, record.checksums);
        Ok(output)
    }

    pub(super) async fn opened(
        &self,
        bucket: String,
        key: String,
        version: Option<String>,
        condition: ReadCondition,
    ) -> Result<Opened, Fault> {
        let shared = self.shared.clone();
        blocking(READ, move || {
            let opened = shared.open_object(&bucket, &key, version.as_deref())?;
            condition.check(&opened.record.etag, opened.record.last_modified)?;
            Ok(opened)
        })
        .await
    }

    pub(super) async fn copy(&self, input: CopyObjectInput) -> Result<CopyObjectOutput, Fault> {
        refuse_customer_key(
            input.sse_customer_algorithm.is_some() || input.copy_source_sse_customer_algorithm.is_some(),
        )?;
        let shared = self.shared.clone();
        let record = blocking("copy an object", move || shared.copy(&input)).await?;
        let mut result = CopyObjectResult {
            e_tag: Some(ETag::Strong(record.etag)),
            last_modified: Some(s3_time(record.last_modified)),
            ..CopyObjectResult::default()
        };
        show_checksums!(result, record.checksums);
        Ok(CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() })
    }

    pub(super) async fn remove(&self, input: DeleteObjectInput) -> Result<DeleteObjectOutput, Fault> {
        check_version(input.version_id.as_deref())?;
        let shared = self.shared.clone();
        blocking(DELETE, move || shared.delete(&input.bucket, &input.key, input.if_match.as_ref())).await?;
        Ok(DeleteObjectOutput::default())
    }

    pub(super) async fn remove_many(&self, input: DeleteObjectsInput) -> Result<DeleteObjectsOutput, Fault> {
        self.shared.index().bucket(&input.bucket)?;
        if input.delete.objects.len() > 1000 {
            return Err(S3ErrorCode::MalformedXML.into());
        }
        let shared = self.shared.clone();
        blocking(DELETE, move || {
            let (mut deleted, mut errors) = (Vec::new(), Vec::new());
            for object in input.delete.objects {
                let condition = object.e_tag.map(ETagCondition::ETag);
                let done = check_version(object.version_id.as_deref())
                    .and_then(|()| shared.delete(&input.bucket, &object.key, condition.as_ref()));
                match done {
                    Ok(()) => deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() }),
                    Err(Fault::Refused(refused)) => errors.push(DeleteError {
                        code: Some(refused.code().as_str().to_owned()),
                        key: Some(object.key),
                        message: refused.message().map(str::to_owned),
                        version_id: object.version_id,
                    }),
                    Err(disk @ Fault::Disk { .. }) => return Err(disk),
                }
            }
            let quiet = input.delete.quiet.unwrap_or(false);
            Ok(DeleteObjectsOutput {
                deleted: (!quiet).then_some(deleted),
                errors: (!errors.is_empty()).then_some(errors),
                request_charged: None,
            })
        })
        .await
    }
}

impl Shared {
    fn copy(&self, input: &CopyObjectInput) -> Result<ObjectRecord, Fault> {
        let replace = match input.metadata_directive.as_ref().map(MetadataDirective::as_str) {
            None | Some(MetadataDirective::COPY) => false,
            Some(MetadataDirective::REPLACE) => true,
            Some(_) => return Err(refuse(S3ErrorCode::InvalidArgument, "the metadata directive is COPY or REPLACE")),
        };
        let (bucket, key, version) = source(&input.copy_source)?;
        if !replace && (bucket, key) == (&input.bucket, &input.key) {
            return Err(refuse(S3ErrorCode::InvalidRequest, "a copy onto itself must replace the metadata"));
        }
        let mut opened = self.open_object(bucket, key, version)?;
        source_condition!(input).check_source(&opened.record.etag, opened.record.last_modified)?;
        let staged = self.staged_copy(&mut opened, None)?;
        let record = ObjectRecord {
            key: input.key.clone(),
            size: staged.size,
            etag: hex::encode(staged.digests.md5),
            last_modified: now(),
            headers: if replace { headers_of!(input) } else { opened.record.headers },
            checksums: staged.digests.sums.clone(),
            parts: Vec::new(),
            upload_id: None,
        };
        self.commit(&input.bucket, staged, record, |_| Ok(()), |_| Ok(()))
    }

    /// A private copy of an object's bytes, with every checksum computed anew that the object has.
    pub(super) fn staged_copy(&self, opened: &mut Opened, span: Option<ops::Range<u64>>) -> Result<Staged, Fault> {
        let span = span.unwrap_or(0..opened.record.size);
        let hasher = Hasher::new(opened.record.checksums.keys().copied());
        let copied = || {
            let mut intake = Intake::new(self.layout.staging(), hasher)?;
            opened.file.seek(SeekFrom::Start(span.start))?;
            intake.copy(&opened.file, span.end - span.start)?;
            Ok(intake.finish())
        };
        copied().map_err(disk("copy an object"))
    }
}

/// Bucket, key and version of `x-amz-copy-source`.
pub(super) fn source(source: &CopySource) -> Result<(&str, &str, Option<&str>), Fault> {
    match source {
        CopySource::Bucket { bucket, key, version_id } => Ok((bucket, key, version_id.as_deref())),
        CopySource::AccessPoint { .. } | CopySource::Outpost { .. } => {
            Err(refuse(S3ErrorCode::NotImplemented, "a copy's source is named by its bucket"))
        }
    }
}

/// Buckets have no versions; S3 calls the only one `null`.
pub(super) fn check_version(version: Option<&str>) -> Result<(), Fault> {
    match version {
        None | Some("null") => Ok(()),
        Some(_) => Err(refuse(S3ErrorCode::InvalidArgument, "buckets have no versions here")),
    }
}

pub(super) fn refuse_customer_key(asked: bool) -> Result<(), Fault> {
    if asked {
        return Err(refuse(S3ErrorCode::NotImplemented, "nothing is encrypted here, least of all with your key"));
    }
    Ok(())
}
