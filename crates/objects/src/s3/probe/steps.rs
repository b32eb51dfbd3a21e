//! What is tried, a step for each thing. A step that must be refused is first tried as it must succeed: a store that
//! refuses both knows nothing of it.

use aws_sdk_s3::{
    operation::put_object::builders::PutObjectFluentBuilder,
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use lazaret_core::{
    ObjectKey, PublishedKey, Sha256Digest, VersionId,
    ports::{ListedUpload, ObjectHead, PublishHeaders, ReadBack, StoreError},
};
use md5::Md5;
use sha2::{Digest, Sha256};

use super::{FIRST, Honoured, Probe, SECOND, Trouble, headers};

impl Probe<'_> {
    pub(super) async fn versions(&mut self, old: &ObjectHead, new: &ObjectHead) -> Honoured {
        let named = |head: &ObjectHead| head.version.clone().filter(|version| version.as_str() != "null");
        let (Some(first), Some(second)) = (named(old), named(new)) else { return Honoured::No };
        if first == second {
            return Honoured::No;
        }
        for (version, bytes) in [(first, FIRST), (second, SECOND)] {
            match self.holds(&old.key, Some(&version), bytes).await {
                Honoured::Yes => {}
                other => return other,
            }
        }
        Honoured::Yes
    }

    pub(super) async fn conditional_get(&mut self, old: &ObjectHead, new: &ObjectHead) -> Honoured {
        for (etag, obeyed) in [(&new.etag, true), (&old.etag, false)] {
            let request = self.store.client.get_object().bucket(self.bucket.as_str()).key(new.key.as_str());
            match request.if_match(format!("\"{etag}\"")).send().await {
                Ok(_) if obeyed => {}
                Ok(_) => return Honoured::No,
                Err(error) => match self.trouble("GET with If-Match", &error) {
                    Trouble::Said(412) if !obeyed => return Honoured::Yes,
                    trouble => return trouble.verdict(),
                },
            }
        }
        Honoured::No
    }

    /// Copies as publishing does: the older version where there are versions, what is there where there are none.
    pub(super) async fn copies(&mut self, old: &ObjectHead, new: &ObjectHead) {
        let versioned = self.found.versions == Honoured::Yes;
        let (source, other, bytes) = if versioned { (old, new, FIRST) } else { (new, old, SECOND) };
        let version = source.version.as_ref().filter(|_| versioned);
        let (copied, clean) = self.copy("copy", source, version, bytes).await;
        self.found.metadata_replace = clean;
        self.found.pinned_copy = match self.found.versions {
            Honoured::Yes => copied,
            unpinned => unpinned,
        };
        let mismatched = ObjectHead { etag: other.etag.clone(), ..source.clone() };
        self.found.conditional_copy = match copied {
            Honoured::Yes => match self.send_copy("mismatched", &mismatched, version).await {
                Ok(()) => Honoured::No,
                Err(Trouble::Said(412)) => Honoured::Yes,
                Err(trouble) => trouble.verdict(),
            },
            other => other,
        };
    }

    /// Whether a copy has these bytes, and whether it has our headers alone.
    async fn copy(
        &mut self,
        name: &str,
        source: &ObjectHead,
        version: Option<&VersionId>,
        bytes: &[u8],
    ) -> (Honoured, Honoured) {
        if let Err(trouble) = self.send_copy(name, source, version).await {
            return (trouble.verdict(), trouble.verdict());
        }
        match self.read_copy(name).await {
            Ok((Some(back), headers)) => ((back.sha256 == digest(bytes)).into(), has_only(&back, &headers).into()),
            Ok((None, _)) => (Honoured::No, Honoured::No),
            Err(error) => {
                let unknown = self.note("GET of a copy", &error);
                (unknown, unknown)
            }
        }
    }

    async fn send_copy(&mut self, name: &str, source: &ObjectHead, version: Option<&VersionId>) -> Result<(), Trouble> {
        let prepared = self.key(name).and_then(|key| Ok((PublishedKey::from_key(key), headers()?)));
        let (key, headers) = prepared.map_err(|error| {
            self.note("copy", &error);
            Trouble::Nothing
        })?;
        self.keys.push((key.as_key().clone(), None));
        let sent = self.store.send_copy(self.bucket, &key, &headers, source, version).await;
        sent.map_err(|error| self.trouble("copy", &*error))
    }

    async fn read_copy(&self, name: &str) -> Result<(Option<ReadBack>, PublishHeaders), StoreError> {
        let back = self.store.read_object(self.bucket, &self.key(name)?, None).await?;
        Ok((back, headers()?))
    }

    pub(super) async fn conditional_put(&mut self) -> Honoured {
        let once = |request: PutObjectFluentBuilder| request.if_none_match("*");
        self.second_put_is_refused("PUT with If-None-Match", "once", once, once, 412).await
    }

    pub(super) async fn sha256_checksum(&mut self) -> Honoured {
        let of_first =
            |request: PutObjectFluentBuilder| request.checksum_sha256(STANDARD.encode(digest(FIRST).as_bytes()));
        self.second_put_is_refused("PUT with a SHA-256 checksum", "sha256", of_first, of_first, 400).await
    }

    pub(super) async fn content_md5(&mut self) -> Honoured {
        let of_first = |request: PutObjectFluentBuilder| request.content_md5(STANDARD.encode(Md5::digest(FIRST)));
        self.second_put_is_refused("PUT with Content-MD5", "md5", of_first, of_first, 400).await
    }

    /// PUTs [`FIRST`], which must succeed, and then [`SECOND`], which must be refused with this status and change
    /// nothing.
    async fn second_put_is_refused(
        &mut self,
        what: &str,
        name: &str,
        first: impl FnOnce(PutObjectFluentBuilder) -> PutObjectFluentBuilder,
        second: impl FnOnce(PutObjectFluentBuilder) -> PutObjectFluentBuilder,
        status: u16,
    ) -> Honoured {
        let key = match self.key(name) {
            Ok(key) => key,
            Err(error) => return self.note(what, &error),
        };
        if let Err(error) = self.put(&key, FIRST, first).await {
            return self.trouble(what, &*error).verdict();
        }
        match self.put(&key, SECOND, second).await {
            Ok(_) => Honoured::No,
            Err(error) => match self.trouble(what, &*error) {
                Trouble::Said(said) if said == status => self.holds(&key, None, FIRST).await,
                trouble => trouble.verdict(),
            },
        }
    }

    pub(super) async fn multipart(&mut self) -> Honoured {
        let (key, upload) = match self.begin("parts").await {
            Ok(begun) => begun,
            Err(unmade) => return unmade,
        };
        let client = &self.store.client;
        let part = client.upload_part().bucket(self.bucket.as_str()).key(key.as_str()).upload_id(&upload);
        let part = match part.part_number(1).body(ByteStream::from_static(FIRST)).send().await {
            Ok(part) => CompletedPart::builder().part_number(1).set_e_tag(part.e_tag).build(),
            Err(error) => return self.trouble("PUT of a part", &error).verdict(),
        };
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let complete = client.complete_multipart_upload().bucket(self.bucket.as_str()).key(key.as_str());
        if let Err(error) = complete.upload_id(&upload).multipart_upload(parts).send().await {
            return self.trouble("completion of an upload in parts", &error).verdict();
        }
        self.holds(&key, None, FIRST).await
    }

    pub(super) async fn multipart_cleanup(&mut self) -> Honoured {
        let (key, upload) = match self.begin("open").await {
            Ok(begun) => begun,
            Err(unmade) => return unmade,
        };
        for listed in [true, false] {
            match self.open_uploads().await {
                Ok(open) if open.iter().any(|open| open.key == key && open.multipart_id == upload) == listed => {}
                Ok(_) => return Honoured::No,
                Err(error) => return self.note("listing of open uploads", &error),
            }
            if listed {
                let abort = self.store.client.abort_multipart_upload().bucket(self.bucket.as_str());
                if let Err(error) = abort.key(key.as_str()).upload_id(&upload).send().await {
                    return self.trouble("abortion of an upload in parts", &error).verdict();
                }
            }
        }
        Honoured::Yes
    }

    async fn begin(&mut self, name: &str) -> Result<(ObjectKey, String), Honoured> {
        const WHAT: &str = "begin of an upload in parts";
        let key = self.key(name).map_err(|error| self.note(WHAT, &error))?;
        self.keys.push((key.clone(), None));
        let request = self.store.client.create_multipart_upload().bucket(self.bucket.as_str()).key(key.as_str());
        match request.send().await {
            Ok(answer) => {
                let multipart_id = answer.upload_id.ok_or(Honoured::No)?;
                let open = ListedUpload { key: key.clone(), multipart_id, initiated_at: None };
                self.uploads.push(open.clone());
                Ok((key, open.multipart_id))
            }
            Err(error) => Err(self.trouble(WHAT, &error).verdict()),
        }
    }

    /// Whether GET gives these bytes.
    async fn holds(&mut self, key: &ObjectKey, version: Option<&VersionId>, bytes: &[u8]) -> Honoured {
        match self.store.read_object(self.bucket, key, version).await {
            Ok(back) => back.is_some_and(|back| back.sha256 == digest(bytes)).into(),
            Err(error) => self.note("GET of an object", &error),
        }
    }
}

fn digest(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

/// Whether these headers came back and nothing of the source's.
fn has_only(back: &ReadBack, headers: &PublishHeaders) -> bool {
    back.content_type.as_deref() == Some(headers.content_type.as_str())
        && back.content_disposition.as_ref() == Some(&headers.content_disposition)
        && back.cache_control.as_ref() == Some(&headers.cache_control)
        && back
            .metadata
            .iter()
            .map(|(name, value)| (name.as_str(), value))
            .eq(headers.metadata.iter().map(|(name, value)| (*name, value)))
        && back.unexpected.is_empty()
}
