//! What the answers of a store mean.

use std::{error::Error, fmt};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use lazaret_core::{error::chain, ports::StoreError};

/// Longest cause that is kept: the text comes from the store.
const MAX_CAUSE_CHARS: usize = 400;

/// Said where no provider of the AWS SDK's chain has credentials.
const NO_CREDENTIALS: &str =
    "no credentials: set storage.access_key_id and storage.secret_access_key, or the AWS variables or profile";

/// Codes of answers that come to everybody for a while, beside every 5xx and 429
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>).
const PASSING: &[&str] = &[
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "TooManyRequests",
    "RequestTimeout",
    "InternalError",
    "ServiceUnavailable",
    "OperationAborted",
    "ConditionalRequestConflict",
];

/// What was asked of which object: the beginning of every error.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) action: &'static str,
    pub(super) object: String,
}

/// One line of what a store or the way to it said, without request, URL or signature.
#[derive(Debug)]
struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Said {}

impl Said {
    fn new(text: &str) -> Self {
        Self(text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CAUSE_CHARS).collect())
    }
}

impl Asked {
    pub(super) fn new(action: &'static str, object: impl fmt::Display) -> Self {
        Self { action, object: object.to_string() }
    }

    /// Files an error of the SDK under what it means for the work.
    pub(super) fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        if let Some(why) = no_credentials(error) {
            return self.refused(&why);
        }
        let passing = match error {
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => true,
            SdkError::ServiceError(answer) => {
                passes(answer.raw().status().as_u16(), answer.err().code().unwrap_or_default())
            }
            _ => false,
        };
        let source = Box::new(Said::new(&in_one_line(error)));
        if passing {
            StoreError::Unavailable { action: self.action, object: self.object.clone(), source }
        } else {
            StoreError::Refused { action: self.action, object: self.object.clone(), source }
        }
    }

    /// The answer is one that a store must not give.
    pub(super) fn refused(&self, what: &str) -> StoreError {
        StoreError::Refused { action: self.action, object: self.object.clone(), source: Box::new(Said::new(what)) }
    }

    pub(super) fn changed(&self) -> StoreError {
        StoreError::Changed { object: self.object.clone() }
    }

    pub(super) fn body(&self, detail: impl Into<String>) -> StoreError {
        StoreError::Body { object: self.object.clone(), detail: detail.into() }
    }
}

/// Why no request can be signed, where waiting would not help: nobody has credentials, or what names them is wrong. A
/// provider that was configured and did not answer is another matter.
fn no_credentials(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref() {
            Some(CredentialsError::CredentialsNotLoaded(_)) => return Some(NO_CREDENTIALS.to_owned()),
            Some(CredentialsError::InvalidConfiguration(_)) => return Some(chain(error)),
            Some(_) | None => next = error.source(),
        }
    }
    None
}

/// Whether an answer with this status and code comes to everybody for a while.
pub(super) fn passes(status: u16, code: &str) -> bool {
    status >= 500 || status == 429 || PASSING.contains(&code)
}

/// The code of an answer and its status; none where no answer came.
pub(super) fn answer<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<(u16, &str)> {
    match error {
        SdkError::ServiceError(answer) => {
            Some((answer.raw().status().as_u16(), answer.err().code().unwrap_or_default()))
        }
        _ => None,
    }
}

/// Whether the answer is that there is no such object or version. A missing bucket is another matter; the answer to
/// HEAD has no body and so cannot tell.
pub(super) fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    matches!(answer(error), Some((404, code)) if code != "NoSuchBucket")
}

/// Code, message and status of an answer; the chain of causes where none came.
pub(super) fn in_one_line<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: Error + ProvideErrorMetadata + 'static,
{
    if let SdkError::ServiceError(answer) = error {
        let status = answer.raw().status().as_u16();
        let meta = answer.err().meta();
        return match (meta.code(), meta.message()) {
            (Some(code), Some(message)) => format!("{code}: {message} (HTTP {status})"),
            (Some(text), None) | (None, Some(text)) => format!("{text} (HTTP {status})"),
            (None, None) => format!("HTTP {status}"),
        };
    }
    chain(error)
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::{error::ConnectorError, operation::head_bucket::HeadBucketError};

    use super::*;

    #[test]
    fn nobody_having_credentials_is_refused_and_a_provider_that_fails_is_unavailable() {
        let failed = |error: CredentialsError| {
            let error = ConnectorError::other(Box::new(error), None);
            let error: SdkError<HeadBucketError, HttpResponse> = SdkError::dispatch_failure(error);
            Asked::new("find bucket", "uploads").failed(&error)
        };
        let error = failed(CredentialsError::not_loaded("no profile"));
        let StoreError::Refused { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.to_string(), NO_CREDENTIALS);
        let error = failed(CredentialsError::invalid_configuration("line 3 is no profile"));
        let StoreError::Refused { source, .. } = error else { panic!("{error:?}") };
        assert!(source.to_string().ends_with("line 3 is no profile"), "{source}");
        let error = failed(CredentialsError::provider_timed_out(std::time::Duration::from_secs(1)));
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    }
}
