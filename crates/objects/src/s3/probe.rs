//! Finds out by trying what a store honours, on small objects of its own.

mod cleaning;
mod steps;

use std::{error::Error, sync::PoisonError, time::Duration};

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::put_object::{PutObjectError, builders::PutObjectFluentBuilder},
    primitives::ByteStream,
};
use lazaret_core::{
    BucketName, ETag, ObjectKey, Prefix, VersionId,
    ports::{ListedUpload, ObjectHead, PublishHeaders, StoreError},
};
use uuid::Uuid;

use super::{
    S3Store,
    capabilities::{Capabilities, Honoured},
    failure::{self, Asked, in_one_line},
    read::entity_tag,
};

/// Below the published prefix: no published key looks like this, and no other probe uses the same.
const FOLDER: &str = ".lazaret-probe/";

/// The probe is a few dozen small requests; a store that is slower than this is left with what was found.
const DEADLINE: Duration = Duration::from_mins(1);

/// Two contents of one length, so that no size tells them apart.
const FIRST: &[u8] = b"lazaret probe: first";
const SECOND: &[u8] = b"lazaret probe: later";

impl S3Store {
    /// Finds out what the store honours and publishes accordingly from now on. Writes small objects below `prefix` of
    /// `bucket` under a name with `id`, which must be new for every probe, and removes them with all of their versions
    /// whatever happens; what could not be removed is named in [`Capabilities::notes`]. What a probe left that was killed
    /// a day ago or earlier, by an `id` of version 7, is removed as well.
    ///
    /// What the store does not allow stays [`Honoured::Unknown`], which never stops a worker: what is unknown is not
    /// used. The only error is a store that is out of reach; what was known before stands then.
    pub async fn probe(&self, bucket: &BucketName, prefix: &Prefix, id: Uuid) -> Result<Capabilities, StoreError> {
        let folder = format!("{prefix}{FOLDER}");
        let base = format!("{folder}{id}/");
        let (found, keys, uploads) = (Capabilities::default(), Vec::new(), Vec::new());
        let mut probe = Probe { store: self, bucket, id, folder, base, found, keys, uploads };
        let tried = tokio::time::timeout(DEADLINE, probe.run()).await;
        if tokio::time::timeout(DEADLINE, probe.clean_up()).await.is_err() {
            let left = format!("removing the probe's objects under {bucket}/{} took over {DEADLINE:?}", probe.base);
            probe.found.notes.push(left);
        }
        match tried {
            Ok(tried) => tried?,
            Err(_) => probe.found.notes.push(format!("the probe was given up after {DEADLINE:?}")),
        }
        self.capabilities.write().unwrap_or_else(PoisonError::into_inner).clone_from(&probe.found);
        Ok(probe.found)
    }

    /// What the last probe found. Nothing is known before the first.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Probe<'a> {
    store: &'a S3Store,
    bucket: &'a BucketName,
    id: Uuid,
    /// What every key of any probe begins with.
    folder: String,
    /// What every key of this probe begins with.
    base: String,
    found: Capabilities,
    /// Every key that was written or may have been, and the versions that the store named.
    keys: Vec<(ObjectKey, Option<VersionId>)>,
    /// Every upload in parts that was begun.
    uploads: Vec<ListedUpload>,
}

/// How a request ended that did not succeed.
enum Trouble {
    /// The store answered that it will not do this, with this status.
    Said(u16),
    /// Nothing follows from the answer, or there was none. The reason was noted.
    Nothing,
}

impl Trouble {
    /// For a request that a store which honours the thing at hand would have obeyed.
    const fn verdict(&self) -> Honoured {
        match self {
            Self::Said(_) => Honoured::No,
            Self::Nothing => Honoured::Unknown,
        }
    }
}

impl Probe<'_> {
    async fn run(&mut self) -> Result<(), StoreError> {
        let Some((old, new)) = self.write_two_versions().await? else { return Ok(()) };
        self.found.versions = self.versions(&old, &new).await;
        self.found.conditional_get = self.conditional_get(&old, &new).await;
        self.copies(&old, &new).await;
        self.found.conditional_put = self.conditional_put().await;
        self.found.sha256_checksum = self.sha256_checksum().await;
        self.found.content_md5 = self.content_md5().await;
        self.found.multipart = self.multipart().await;
        self.found.multipart_cleanup = self.multipart_cleanup().await;
        Ok(())
    }

    /// Writes one key twice. None: the store does not let us write here. Only an error says that it is out of reach.
    async fn write_two_versions(&mut self) -> Result<Option<(ObjectHead, ObjectHead)>, StoreError> {
        let key = self.key("object")?;
        let mut written = Vec::new();
        for bytes in [FIRST, SECOND] {
            // As a client may: none of this may survive a copy.
            let sent = self.put(&key, bytes, |request| {
                request.content_type("text/html").content_language("xx").metadata("evil", "yes")
            });
            match sent.await {
                Ok(head) => written.push(head),
                Err(error) => {
                    let asked = Asked::new("probe with", format_args!("{}/{key}", self.bucket));
                    let error = asked.failed(&*error);
                    if let StoreError::Unavailable { .. } = error {
                        return Err(error);
                    }
                    self.note("PUT of an object", &error);
                    return Ok(None);
                }
            }
        }
        match <[ObjectHead; 2]>::try_from(written) {
            Ok([old, new]) => Ok(Some((old, new))),
            Err(_) => Ok(None),
        }
    }

    fn key(&self, name: &str) -> Result<ObjectKey, StoreError> {
        let key = format!("{}{name}", self.base);
        key.parse().map_err(|error| Asked::new("probe", &key).refused(&format!("{error}")))
    }

    /// PUTs an object after `with` was done to the request.
    async fn put(
        &mut self,
        key: &ObjectKey,
        bytes: &'static [u8],
        with: impl FnOnce(PutObjectFluentBuilder) -> PutObjectFluentBuilder,
    ) -> Result<ObjectHead, Box<SdkError<PutObjectError, HttpResponse>>> {
        let request = self.store.client.put_object().bucket(self.bucket.as_str()).key(key.as_str());
        self.keys.push((key.clone(), None));
        let answer = with(request.body(ByteStream::from_static(bytes))).send().await?;
        let version: Option<VersionId> = answer.version_id().and_then(|version| version.parse().ok());
        self.keys.push((key.clone(), version.clone()));
        Ok(ObjectHead {
            bucket: self.bucket.clone(),
            key: key.clone(),
            version,
            // A store that names no entity tag fails every step that compares one.
            etag: answer.e_tag().and_then(entity_tag).unwrap_or_else(no_etag),
            size: bytes.len() as u64,
            modified_at: None,
        })
    }

    /// Files an error under what follows from it, and notes why nothing does.
    fn trouble<E>(&mut self, what: &str, error: &SdkError<E, HttpResponse>) -> Trouble
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        match failure::answer(error) {
            Some((501, _)) => Trouble::Said(501),
            // 401, 403: not for us to know. 408: not now. A 200 whose body is no success is an answer.
            Some((status, code)) if !matches!(status, 401 | 403 | 408) && !failure::passes(status, code) => {
                Trouble::Said(status)
            }
            _ => {
                self.found.notes.push(format!("{what}: {}", in_one_line(error)));
                Trouble::Nothing
            }
        }
    }

    /// The same of an error that the port would give.
    fn note(&mut self, what: &str, error: &StoreError) -> Honoured {
        self.found.notes.push(format!("{what}: {}", lazaret_core::error::chain(error)));
        Honoured::Unknown
    }
}

fn no_etag() -> ETag {
    // Six ASCII letters are an entity tag.
    "absent".parse().expect("a valid entity tag")
}

/// What the probe's copy carries.
fn headers() -> Result<PublishHeaders, StoreError> {
    let content_type = "application/octet-stream".parse();
    Ok(PublishHeaders {
        content_type: content_type.map_err(|error| Asked::new("probe", "a copy").refused(&format!("{error}")))?,
        content_disposition: "attachment".to_owned(),
        cache_control: "private".to_owned(),
        metadata: vec![("lazaret-probe", "yes".to_owned())],
    })
}
