//! Objects that come in parts.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;

use s3s::dto::{
    AbortMultipartUploadInput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart,
    CopyPartResult, CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag, Range, UploadPartCopyInput,
    UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3ErrorCode, S3Request};
use uuid::Uuid;

use super::buckets::write_json;
use super::conditions::{WriteCondition, source_condition};
use super::digests::{Checksums, Declared, Hasher, compare, composite, multipart_etag, read_checksums, show_checksums};
use super::fault::{Fault, blocking, disk, refuse};
use super::index::{Bucket, Upload};
use super::intake::{Intake, Staged, receive};
use super::layout::{UPLOAD_RECORD, sync_directory};
use super::objects::{refuse_customer_key, source};
use super::record::{self, ObjectRecord, PartRecord, UploadRecord, headers_of, now, s3_time};
use super::{DirStore, Shared};

/// Every part but the last is at least this long
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
const SMALLEST_PART_BYTES: u64 = 5 * 1024 * 1024;
const LARGEST_PART_NUMBER: i32 = 10_000;
const CREATE: &str = "create a multipart upload";
const PART: &str = "write a part";
const COMPLETE: &str = "put the parts together";
const ABORT: &str = "remove the parts";

impl DirStore {
    pub(super) async fn create_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> Result<CreateMultipartUploadOutput, Fault> {
        refuse_customer_key(input.sse_customer_algorithm.is_some())?;
        let record = UploadRecord { key: input.key.clone(), initiated: now(), headers: headers_of!(input) };
        let shared = self.shared.clone();
        let bucket = input.bucket.clone();
        let id = blocking(CREATE, move || shared.create_upload(&bucket, record)).await?;
        Ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: input.checksum_algorithm,
            checksum_type: input.checksum_type,
            ..CreateMultipartUploadOutput::default()
        })
    }

    pub(super) async fn part(&self, request: S3Request<UploadPartInput>) -> Result<UploadPartOutput, Fault> {
        let declared = Declared::of(&request)?;
        let input = request.input;
        refuse_customer_key(input.sse_customer_algorithm.is_some())?;
        check_number(input.part_number)?;
        self.shared.index().bucket_mut(&input.bucket)?.upload(&input.upload_id, &input.key)?;
        let (staged, checksums) = receive(self.shared.layout.staging(), input.body, declared).await?;
        let shared = self.shared.clone();
        let part = blocking(PART, move || {
            let place = Place { bucket: input.bucket, key: input.key, upload: input.upload_id };
            shared.add_part(&place, input.part_number, staged, checksums)
        })
        .await?;
        let mut output = UploadPartOutput { e_tag: Some(ETag::Strong(part.etag)), ..UploadPartOutput::default() };
        show_checksums!(output, part.checksums);
        Ok(output)
    }

    pub(super) async fn part_copy(&self, input: UploadPartCopyInput) -> Result<UploadPartCopyOutput, Fault> {
        refuse_customer_key(
            input.sse_customer_algorithm.is_some() || input.copy_source_sse_customer_algorithm.is_some(),
        )?;
        check_number(input.part_number)?;
        let shared = self.shared.clone();
        let part = blocking(PART, move || shared.copy_part(input)).await?;
        let result = CopyPartResult {
            e_tag: Some(ETag::Strong(part.etag)),
            last_modified: Some(s3_time(part.last_modified)),
            ..CopyPartResult::default()
        };
        Ok(UploadPartCopyOutput { copy_part_result: Some(result), ..UploadPartCopyOutput::default() })
    }

    pub(super) async fn complete(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> Result<CompleteMultipartUploadOutput, Fault> {
        let shared = self.shared.clone();
        let (bucket, key) = (input.bucket.clone(), input.key.clone());
        let etag = blocking(COMPLETE, move || shared.complete(input)).await?;
        Ok(CompleteMultipartUploadOutput {
            location: Some(format!("/{bucket}/{key}")),
            bucket: Some(bucket),
            key: Some(key),
            e_tag: Some(ETag::Strong(etag)),
            ..CompleteMultipartUploadOutput::default()
        })
    }

    pub(super) async fn abort(&self, input: AbortMultipartUploadInput) -> Result<(), Fault> {
        let shared = self.shared.clone();
        blocking(ABORT, move || {
            let away = {
                let mut index = shared.index();
                let bucket = index.bucket_mut(&input.bucket)?;
                bucket.upload(&input.upload_id, &input.key)?;
                shared.withdraw(bucket, &input.bucket, &input.upload_id)?
            };
            fs::remove_dir_all(away).map_err(disk(ABORT))
        })
        .await
    }
}

/// The upload that a request names.
struct Place {
    bucket: String,
    key: String,
    upload: String,
}

impl Shared {
    fn create_upload(&self, bucket: &str, record: UploadRecord) -> Result<String, Fault> {
        let id = Uuid::now_v7().simple().to_string();
        let staged = tempfile::tempdir_in(self.layout.staging()).map_err(disk(CREATE))?;
        write_json(&staged.path().join(UPLOAD_RECORD), &record).map_err(disk(CREATE))?;
        sync_directory(staged.path()).map_err(disk(CREATE))?;
        {
            let mut index = self.index();
            let held = index.bucket_mut(bucket)?;
            fs::rename(staged.path(), self.layout.upload(bucket, &id)).map_err(disk(CREATE))?;
            held.uploads.insert(id.clone(), Upload { record, parts: BTreeMap::new() });
        }
        sync_directory(&self.layout.uploads(bucket)).map_err(disk(CREATE))?;
        Ok(id)
    }

    fn add_part(&self, place: &Place, number: i32, staged: Staged, checksums: Checksums) -> Result<PartRecord, Fault> {
        let part =
            PartRecord { size: staged.size, etag: hex::encode(staged.digests.md5), last_modified: now(), checksums };
        let sealed = staged.seal(&part).map_err(disk(PART))?;
        {
            let mut index = self.index();
            let upload = index.bucket_mut(&place.bucket)?.upload(&place.upload, &place.key)?;
            sealed
                .persist(self.layout.part(&place.bucket, &place.upload, number))
                .map_err(|failed| disk(PART)(failed.error))?;
            upload.parts.insert(number, part.clone());
            // Under the lock, for an abort would take the directory away.
            sync_directory(&self.layout.upload(&place.bucket, &place.upload)).map_err(disk(PART))?;
        }
        Ok(part)
    }

    fn copy_part(&self, input: UploadPartCopyInput) -> Result<PartRecord, Fault> {
        let (bucket, key, version) = source(&input.copy_source)?;
        let mut opened = self.open_object(bucket, key, version)?;
        source_condition!(input).check_source(&opened.record.etag, opened.record.last_modified)?;
        let range = input.copy_source_range.as_deref().map(Range::parse).transpose();
        let range =
            range.map_err(|_| refuse(S3ErrorCode::InvalidArgument, "the range to copy is not bytes=first-last"))?;
        let span = opened.span(range, None)?;
        let staged = self.staged_copy(&mut opened, Some(span))?;
        let place = Place { bucket: input.bucket, key: input.key, upload: input.upload_id };
        let checksums = staged.digests.sums.clone();
        self.add_part(&place, input.part_number, staged, checksums)
    }

    fn complete(&self, input: CompleteMultipartUploadInput) -> Result<String, Fault> {
        let place = Place { bucket: input.bucket.clone(), key: input.key.clone(), upload: input.upload_id.clone() };
        let upload = {
            let mut index = self.index();
            let bucket = index.bucket_mut(&place.bucket)?;
            if let Some(etag) = already_complete(bucket, &place) {
                return Ok(etag);
            }
            bucket.upload(&place.upload, &place.key)?.clone()
        };
        let declared = read_checksums!(input);
        let listed = input.multipart_upload.and_then(|listed| listed.parts).unwrap_or_default();
        let parts = chosen(&upload, &listed)?;
        let staged = self.joined(&place, &parts, declared.keys().copied())?;
        if input.mpu_object_size.is_some_and(|size| u64::try_from(size) != Ok(staged.size)) {
            return Err(refuse(S3ErrorCode::InvalidRequest, "the parts have another size in all than declared"));
        }
        compare(&declared, &whole_checksums(&declared, &parts, &staged))?;
        let etag = multipart_etag(parts.iter().map(|(_, part)| part.etag.as_str()))
            .ok_or_else(|| refuse(S3ErrorCode::InternalError, "a part's ETag is not an MD5"))?;
        let record = ObjectRecord {
            key: place.key.clone(),
            size: staged.size,
            etag,
            last_modified: now(),
            headers: upload.record.headers,
            checksums: declared,
            parts: parts.iter().map(|(_, part)| part.size).collect(),
            upload_id: Some(place.upload.clone()),
        };
        let condition = WriteCondition { if_match: input.if_match, if_none_match: input.if_none_match };
        let mut away = None;
        let permit = |bucket: &mut Bucket| {
            bucket.upload(&place.upload, &place.key)?;
            condition.check(bucket.objects.get(&place.key))
        };
        let settle = |bucket: &mut Bucket| {
            away = Some(self.withdraw(bucket, &place.bucket, &place.upload)?);
            Ok(())
        };
        let record = self.commit(&place.bucket, staged, record, permit, settle)?;
        if let Some(away) = away {
            fs::remove_dir_all(away).map_err(disk(ABORT))?;
        }
        Ok(record.etag)
    }

    /// The parts' bytes in one staged file. A part that was replaced since it was looked up is refused.
    fn joined(
        &self,
        place: &Place,
        parts: &[(i32, PartRecord)],
        algorithms: impl Iterator<Item = super::digests::Algorithm>,
    ) -> Result<Staged, Fault> {
        let hasher = Hasher::new(algorithms);
        let mut intake = Intake::new(self.layout.staging(), hasher).map_err(disk(COMPLETE))?;
        for (number, expected) in parts {
            let path = self.layout.part(&place.bucket, &place.upload, *number);
            let file = match File::open(path) {
                // Aborted or completed by another request meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(S3ErrorCode::NoSuchUpload.into());
                }
                other => other.map_err(disk(COMPLETE))?,
            };
            let (found, length): (PartRecord, u64) = record::read(&file).map_err(disk(COMPLETE))?;
            if found != *expected {
                return Err(S3ErrorCode::InvalidPart.into());
            }
            intake.copy(&file, length).map_err(disk(COMPLETE))?;
        }
        Ok(intake.finish())
    }

    /// Ends an upload: out of the index and out of sight in one step. Returns where its parts now wait to be
    /// removed; the next start does it if this process dies first.
    fn withdraw(&self, bucket: &mut Bucket, name: &str, upload: &str) -> Result<PathBuf, Fault> {
        let away = self.layout.staging().join(upload);
        fs::rename(self.layout.upload(name, upload), &away).map_err(disk(ABORT))?;
        bucket.uploads.remove(upload);
        Ok(away)
    }
}

/// A repeated completion is answered like the first one, as S3 does.
fn already_complete(bucket: &Bucket, place: &Place) -> Option<String> {
    let object = bucket.objects.get(&place.key)?;
    (object.upload_id.as_ref() == Some(&place.upload)).then(|| object.etag.clone())
}

/// The parts that the client lists, if they are there as it says and may be joined.
fn chosen(upload: &Upload, listed: &[CompletedPart]) -> Result<Vec<(i32, PartRecord)>, Fault> {
    let mut parts: Vec<(i32, PartRecord)> = Vec::with_capacity(listed.len());
    for wanted in listed {
        let number = wanted.part_number.ok_or(S3ErrorCode::MalformedXML)?;
        if parts.last().is_some_and(|(before, _)| *before >= number) {
            return Err(S3ErrorCode::InvalidPartOrder.into());
        }
        let found = upload.parts.get(&number).ok_or(S3ErrorCode::InvalidPart)?;
        if wanted.e_tag.as_ref().is_none_or(|etag| etag.value() != found.etag) {
            return Err(S3ErrorCode::InvalidPart.into());
        }
        compare(&read_checksums!(wanted), &found.checksums).map_err(|_| S3ErrorCode::InvalidPart)?;
        parts.push((number, found.clone()));
    }
    let (_last, others) = parts.split_last().ok_or(S3ErrorCode::MalformedXML)?;
    if others.iter().any(|(_, part)| part.size < SMALLEST_PART_BYTES) {
        return Err(refuse(
            S3ErrorCode::EntityTooSmall,
            format!("every part but the last has at least {SMALLEST_PART_BYTES} bytes"),
        ));
    }
    Ok(parts)
}

/// What the declared checksums have to equal: over the whole object, or composite where they end in `-<parts>`.
fn whole_checksums(declared: &Checksums, parts: &[(i32, PartRecord)], staged: &Staged) -> Checksums {
    let mut actual = staged.digests.sums.clone();
    for (algorithm, _) in declared.iter().filter(|(_, sum)| sum.contains('-')) {
        match composite(*algorithm, parts.iter().map(|(_, part)| &part.checksums)) {
            Some(sum) => actual.insert(*algorithm, sum),
            None => actual.remove(algorithm),
        };
    }
    actual
}

fn check_number(number: i32) -> Result<(), Fault> {
    if (1..=LARGEST_PART_NUMBER).contains(&number) {
        return Ok(());
    }
    Err(refuse(S3ErrorCode::InvalidArgument, format!("a part's number lies between 1 and {LARGEST_PART_NUMBER}")))
}
