//! The operations as s3s asks for them. What is not here is answered `NotImplemented`.

use std::error::Error;
use std::io;

use async_trait::async_trait;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CreateBucketInput, CreateBucketOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput,
    GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput,
    GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput,
    ListBucketsInput, ListBucketsOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListObjectsInput,
    ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput, PostObjectInput,
    PostObjectOutput, PutObjectInput, PutObjectOutput, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use tracing::{debug, error};

use super::fault::Fault;
use super::{DirStore, Shared};

impl Shared {
    /// The answer for the client. A failure of the disk is logged here, once: the client cannot mend it.
    fn answer<T>(&self, operation: &'static str, outcome: Result<T, Fault>) -> S3Result<S3Response<T>> {
        tracing::dispatcher::with_default(&self.log, || match outcome {
            Ok(output) => {
                debug!(operation, "done");
                Ok(S3Response::new(output))
            }
            Err(Fault::Refused(refused)) => {
                debug!(operation, code = refused.code().as_str(), "refused");
                Err(refused)
            }
            Err(Fault::Disk { doing, source }) => {
                error!(operation, error = &source as &dyn Error, "cannot {doing}");
                let full = source.kind() == io::ErrorKind::StorageFull;
                let reason = if full { "the disk is full" } else { "see the log of lazaret dev" };
                Err(S3Error::with_message(S3ErrorCode::InternalError, format!("cannot {doing}: {reason}")))
            }
        })
    }
}

/// One operation: its name, its types, and the expression that does it.
macro_rules! operations {
    ($(fn $name:ident($store:ident, $request:ident: $input:ty) -> $output:ty { $does:expr })*) => {
        #[async_trait]
        impl S3 for DirStore {
            $(
                async fn $name(&self, $request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    let $store = self;
                    let outcome: Result<$output, Fault> = $does;
                    self.shared.answer(stringify!($name), outcome)
                }
            )*
        }
    };
}

operations! {
    fn create_bucket(store, request: CreateBucketInput) -> CreateBucketOutput { store.create(request.input).await }
    fn head_bucket(store, request: HeadBucketInput) -> HeadBucketOutput { store.head(&request.input.bucket) }
    fn list_buckets(store, request: ListBucketsInput) -> ListBucketsOutput { Ok(store.buckets(&request.input)) }
    fn get_bucket_location(store, request: GetBucketLocationInput) -> GetBucketLocationOutput {
        store.head(&request.input.bucket).map(|_found| GetBucketLocationOutput::default())
    }
    fn get_bucket_versioning(store, request: GetBucketVersioningInput) -> GetBucketVersioningOutput {
        store.head(&request.input.bucket).map(|_found| GetBucketVersioningOutput::default())
    }
    fn put_object(store, request: PutObjectInput) -> PutObjectOutput { store.put(request).await }
    fn post_object(_store, _request: PostObjectInput) -> PostObjectOutput {
        Err(s3_error!(NotImplemented, "uploads by HTML form are not served").into())
    }
    fn get_object(store, request: GetObjectInput) -> GetObjectOutput { store.get(request.input).await }
    fn head_object(store, request: HeadObjectInput) -> HeadObjectOutput { store.describe(request.input).await }
    fn delete_object(store, request: DeleteObjectInput) -> DeleteObjectOutput { store.remove(request.input).await }
    fn delete_objects(store, request: DeleteObjectsInput) -> DeleteObjectsOutput {
        store.remove_many(request.input).await
    }
    fn copy_object(store, request: CopyObjectInput) -> CopyObjectOutput { store.copy(request.input).await }
    fn list_objects(store, request: ListObjectsInput) -> ListObjectsOutput { store.list_v1(request.input) }
    fn list_objects_v2(store, request: ListObjectsV2Input) -> ListObjectsV2Output { store.list_v2(request.input) }
    fn create_multipart_upload(store, request: CreateMultipartUploadInput) -> CreateMultipartUploadOutput {
        store.create_upload(request.input).await
    }
    fn upload_part(store, request: UploadPartInput) -> UploadPartOutput { store.part(request).await }
    fn upload_part_copy(store, request: UploadPartCopyInput) -> UploadPartCopyOutput {
        store.part_copy(request.input).await
    }
    fn complete_multipart_upload(store, request: CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput {
        store.complete(request.input).await
    }
    fn abort_multipart_upload(store, request: AbortMultipartUploadInput) -> AbortMultipartUploadOutput {
        store.abort(request.input).await.map(|()| AbortMultipartUploadOutput::default())
    }
    fn list_multipart_uploads(store, request: ListMultipartUploadsInput) -> ListMultipartUploadsOutput {
        store.list_uploads(&request.input)
    }
    fn list_parts(store, request: ListPartsInput) -> ListPartsOutput { store.list_parts(request.input) }
}
