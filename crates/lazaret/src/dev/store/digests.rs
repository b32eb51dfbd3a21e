//! The digests a client declares for a body, and holding the body to them.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Md5, Sha1, Sha256};
use s3s::{S3ErrorCode, S3Request, TrailingHeaders};
use serde::{Deserialize, Serialize};

use super::fault::{Fault, refuse};

/// The checksums that S3 knows beside `Content-MD5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64nvme,
    Sha1,
    Sha256,
}

/// Base64 text by algorithm. Of a multipart object it may be composite: `<base64>-<parts>`.
pub(super) type Checksums = BTreeMap<Algorithm, String>;

const PREFIX: &str = "x-amz-checksum-";
/// Headers under the same prefix that carry no checksum.
const NOT_CHECKSUMS: [&str; 3] = ["algorithm", "type", "mode"];

impl Algorithm {
    fn from_suffix(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "crc32" => Self::Crc32,
            "crc32c" => Self::Crc32c,
            "crc64nvme" => Self::Crc64nvme,
            "sha1" => Self::Sha1,
            "sha256" => Self::Sha256,
            _ => return None,
        })
    }

    /// The algorithm that a header named like this carries; an unknown one is refused, for a checksum that nobody
    /// compares is worse than none.
    fn from_header(name: &str) -> Result<Option<Self>, Fault> {
        let Some(suffix) = name.strip_prefix(PREFIX) else { return Ok(None) };
        if NOT_CHECKSUMS.contains(&suffix) {
            return Ok(None);
        }
        Self::from_suffix(suffix)
            .map(Some)
            .ok_or_else(|| refuse(S3ErrorCode::InvalidRequest, format!("{name} is not a checksum this store knows")))
    }
}

/// What the client says about the body it sends.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) length: Option<u64>,
    md5: Option<String>,
    sums: Checksums,
    /// Checksums that are to follow behind the body.
    trailing: BTreeSet<Algorithm>,
    trailers: Option<TrailingHeaders>,
}

impl Declared {
    /// Reads headers, and the query, into which presigners may move `x-amz-` headers.
    pub(super) fn of<T>(request: &S3Request<T>) -> Result<Self, Fault> {
        let mut declared = Self { trailers: request.trailing_headers.clone(), ..Self::default() };
        for (name, value) in fields(request)? {
            match name.as_str() {
                "content-md5" => declared.md5 = Some(value),
                "content-length" => declared.length = Some(length(&value)?),
                "x-amz-decoded-content-length" if declared.length.is_none() => {
                    declared.length = Some(length(&value)?);
                }
                // Only a signature in the header makes s3s decode the chunks.
                "x-amz-content-sha256" if value.starts_with("STREAMING-") && declared.trailers.is_none() => {
                    return Err(refuse(
                        S3ErrorCode::NotImplemented,
                        "an aws-chunked body needs its signature in the Authorization header",
                    ));
                }
                "x-amz-trailer" => {
                    for name in value.split(',') {
                        declared.trailing.extend(Algorithm::from_header(&name.trim().to_ascii_lowercase())?);
                    }
                }
                name => {
                    if let Some(algorithm) = Algorithm::from_header(name)? {
                        declared.sums.insert(algorithm, value);
                    }
                }
            }
        }
        Ok(declared)
    }

    pub(super) fn hasher(&self) -> Hasher {
        Hasher::new(self.sums.keys().copied().chain(self.trailing.iter().copied()))
    }

    /// The checksums the body was held to, or how it differs from what was declared.
    pub(super) fn verify(mut self, length: u64, actual: &Digests) -> Result<Checksums, Fault> {
        if self.length != Some(length) {
            return Err(S3ErrorCode::IncompleteBody.into());
        }
        if self.md5.is_some_and(|declared| declared != STANDARD.encode(actual.md5)) {
            return Err(S3ErrorCode::BadDigest.into());
        }
        for algorithm in self.trailing {
            let name = header(algorithm);
            let value = self.trailers.as_ref().and_then(|trailers| {
                trailers.read(|headers| Some(headers.get(name)?.to_str().ok()?.to_owned())).flatten()
            });
            let Some(value) = value else {
                return Err(refuse(
                    S3ErrorCode::InvalidRequest,
                    format!("the trailer {name} was promised and did not come"),
                ));
            };
            self.sums.insert(algorithm, value);
        }
        compare(&self.sums, &actual.sums)?;
        Ok(self.sums)
    }
}

/// Refuses what `declared` says and `actual` does not.
pub(super) fn compare(declared: &Checksums, actual: &Checksums) -> Result<(), Fault> {
    for (algorithm, value) in declared {
        if actual.get(algorithm) != Some(value) {
            let message = format!("the {} you specified did not match what was received", header(*algorithm));
            return Err(refuse(S3ErrorCode::BadDigest, message));
        }
    }
    Ok(())
}

fn header(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Crc32 => "x-amz-checksum-crc32",
        Algorithm::Crc32c => "x-amz-checksum-crc32c",
        Algorithm::Crc64nvme => "x-amz-checksum-crc64nvme",
        Algorithm::Sha1 => "x-amz-checksum-sha1",
        Algorithm::Sha256 => "x-amz-checksum-sha256",
    }
}

fn length(value: &str) -> Result<u64, Fault> {
    value.parse().map_err(|_| refuse(S3ErrorCode::InvalidRequest, "the length is not a number"))
}

/// Names in lower case; the query first, so that a header wins.
fn fields<T>(request: &S3Request<T>) -> Result<Vec<(String, String)>, Fault> {
    let query = request.uri.query().unwrap_or_default();
    let mut fields = Vec::new();
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let name = name.to_ascii_lowercase();
        if name.starts_with("x-amz-") || name == "content-md5" {
            let value = percent_decode_str(value)
                .decode_utf8()
                .map_err(|_| refuse(S3ErrorCode::InvalidURI, "the query is not UTF-8"))?;
            fields.push((name, value.into_owned()));
        }
    }
    for (name, value) in &request.headers {
        let value =
            value.to_str().map_or_else(|_| String::from_utf8_lossy(value.as_bytes()).into_owned(), str::to_owned);
        fields.push((name.as_str().to_owned(), value));
    }
    Ok(fields)
}

/// The digests of the bytes that came.
#[derive(Debug)]
pub(super) struct Digests {
    pub(super) md5: [u8; 16],
    pub(super) sums: Checksums,
}

/// Always MD5, for the `ETag`; the others as asked for.
#[derive(Default)]
pub(super) struct Hasher {
    md5: Md5,
    sums: ChecksumHasher,
}

impl Hasher {
    pub(super) fn new(algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        let mut hasher = Self::default();
        for algorithm in algorithms {
            match algorithm {
                Algorithm::Crc32 => hasher.sums.crc32 = Some(Crc32::default()),
                Algorithm::Crc32c => hasher.sums.crc32c = Some(Crc32c::default()),
                Algorithm::Crc64nvme => hasher.sums.crc64nvme = Some(Crc64Nvme::default()),
                Algorithm::Sha1 => hasher.sums.sha1 = Some(Sha1::default()),
                Algorithm::Sha256 => hasher.sums.sha256 = Some(Sha256::default()),
            }
        }
        hasher
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sums.update(bytes);
    }

    pub(super) fn finish(self) -> Digests {
        let sums = self.sums.finalize();
        let sums = [
            (Algorithm::Crc32, sums.checksum_crc32),
            (Algorithm::Crc32c, sums.checksum_crc32c),
            (Algorithm::Crc64nvme, sums.checksum_crc64nvme),
            (Algorithm::Sha1, sums.checksum_sha1),
            (Algorithm::Sha256, sums.checksum_sha256),
        ];
        Digests {
            md5: self.md5.finalize(),
            sums: sums.into_iter().filter_map(|(algorithm, sum)| Some((algorithm, sum?))).collect(),
        }
    }
}

/// The `ETag` of a multipart object: the MD5 over its parts' binary MD5s, then the number of parts.
pub(super) fn multipart_etag<'a>(parts: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let mut md5 = Md5::default();
    let mut count = 0_u32;
    for part in parts {
        md5.update(&hex::decode(part).ok()?);
        count += 1;
    }
    Some(format!("{}-{count}", hex::encode(md5.finalize())))
}

/// The composite checksum of a multipart object: the checksum over its parts' binary checksums. None when a part
/// has none of this algorithm.
pub(super) fn composite<'a>(algorithm: Algorithm, parts: impl IntoIterator<Item = &'a Checksums>) -> Option<String> {
    let mut hasher = Hasher::new([algorithm]);
    let mut count = 0_u32;
    for part in parts {
        hasher.update(&STANDARD.decode(part.get(&algorithm)?).ok()?);
        count += 1;
    }
    let sum = hasher.finish().sums.remove(&algorithm)?;
    Some(format!("{sum}-{count}"))
}

/// Sets the five checksum fields of an S3 output.
macro_rules! show_checksums {
    ($output:expr, $sums:expr) => {{
        use $crate::dev::store::digests::Algorithm;
        $output.checksum_crc32 = $sums.get(&Algorithm::Crc32).cloned();
        $output.checksum_crc32c = $sums.get(&Algorithm::Crc32c).cloned();
        $output.checksum_crc64nvme = $sums.get(&Algorithm::Crc64nvme).cloned();
        $output.checksum_sha1 = $sums.get(&Algorithm::Sha1).cloned();
        $output.checksum_sha256 = $sums.get(&Algorithm::Sha256).cloned();
    }};
}
pub(super) use show_checksums;

/// The checksums in the five fields of an S3 input.
macro_rules! read_checksums {
    ($input:expr) => {{
        use $crate::dev::store::digests::Algorithm;
        [
            (Algorithm::Crc32, $input.checksum_crc32.clone()),
            (Algorithm::Crc32c, $input.checksum_crc32c.clone()),
            (Algorithm::Crc64nvme, $input.checksum_crc64nvme.clone()),
            (Algorithm::Sha1, $input.checksum_sha1.clone()),
            (Algorithm::Sha256, $input.checksum_sha256.clone()),
        ]
        .into_iter()
        .filter_map(|(algorithm, sum)| Some((algorithm, sum?)))
        .collect::<$crate::dev::store::digests::Checksums>()
    }};
}
pub(super) use read_checksums;
