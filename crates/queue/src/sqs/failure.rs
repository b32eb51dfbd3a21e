//! What the answers of SQS mean.

use std::{error::Error, fmt};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use lazaret_core::{
    error::{Cause, chain},
    ports::QueueError,
};

/// Longest cause that is kept: the text comes from the server.
const MAX_CAUSE_CHARS: usize = 400;

/// Said where no provider of the AWS SDK's chain has credentials.
const NO_CREDENTIALS: &str =
    "no credentials: set storage.access_key_id and storage.secret_access_key, or the AWS variables or profile";

/// What was asked of which queue: the beginning of every error.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    queue: String,
    action: &'static str,
}

/// A failed request, and what was said. A batch fails for everybody who is in it.
#[derive(Debug)]
pub(super) enum Failure {
    Unavailable(String),
    Refused(String),
}

/// One line of what a server or the way to it said, without request, receipt handle or signature.
#[derive(Debug)]
struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Said {}

impl Failure {
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        if let Some(why) = no_credentials(error) {
            return Self::Refused(why);
        }
        match error {
            SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
                Self::Unavailable(chain(error))
            }
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                let code = answer.err().code().unwrap_or("no code");
                let said = format!("{code}: {} (HTTP {status})", answer.err().message().unwrap_or("no message"));
                if is_passing(status, code) { Self::Unavailable(said) } else { Self::Refused(said) }
            }
            _ => Self::Refused(chain(error)),
        }
    }

    pub(super) fn of_input(error: impl Error) -> Self {
        Self::Refused(error.to_string())
    }
}

impl Asked {
    pub(super) fn new(url: &str, action: &'static str) -> Self {
        Self { queue: without_credentials(url), action }
    }

    /// Files an error of the SDK under what it means for the work.
    pub(super) fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> QueueError
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        self.error(&Failure::of(error))
    }

    /// The error of one of those that a failure concerns.
    pub(super) fn error(&self, failure: &Failure) -> QueueError {
        match failure {
            Failure::Unavailable(said) => self.unavailable(said),
            Failure::Refused(said) => self.refused(said),
        }
    }

    /// Files a failed entry of a batch.
    pub(super) fn failed_entry(&self, code: &str, message: &str, by_sender: bool) -> QueueError {
        let said = format!("{code}: {message}");
        if by_sender && !is_passing(400, code) { self.refused(&said) } else { self.unavailable(&said) }
    }

    pub(super) fn unavailable(&self, what: &str) -> QueueError {
        QueueError::Unavailable { queue: self.queue.clone(), source: said(what) }
    }

    pub(super) fn refused(&self, what: &str) -> QueueError {
        QueueError::Refused { queue: self.queue.clone(), action: self.action, source: said(what) }
    }
}

/// Whether the answer is that a receipt handle names no delivery in somebody's hands: never issued, expired, or of a
/// message that is gone.
pub(super) fn names_unknown_receipt(code: &str, message: &str) -> bool {
    let code = code.rsplit('.').next().unwrap_or_default();
    match code {
        "ReceiptHandleIsInvalid" | "MessageNotInflight" => true,
        // AWS says so of handles that have expired.
        "InvalidParameterValue" | "InvalidParameterValueException" => message.to_ascii_lowercase().contains("receipt"),
        _ => false,
    }
}

/// Whether the answer is that a message was hidden for as long as it can be.
pub(super) fn names_longest_time(message: &str) -> bool {
    message.contains("Total VisibilityTimeout")
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

fn is_passing(status: u16, code: &str) -> bool {
    status >= 500 || status == 429 || code.contains("Throttl") || code.contains("OverLimit") || code == "InternalError"
}

fn said(text: &str) -> Cause {
    Box::new(Said(text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CAUSE_CHARS).collect()))
}

fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{}", path.split('?').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::error::ConnectorError;
    use aws_sdk_sqs::operation::get_queue_attributes::GetQueueAttributesError;

    use super::*;

    #[test]
    fn nobody_having_credentials_is_refused_and_a_provider_that_fails_is_unavailable() {
        let failed = |error: CredentialsError| {
            let error = ConnectorError::other(Box::new(error), None);
            let error: SdkError<GetQueueAttributesError, HttpResponse> = SdkError::dispatch_failure(error);
            Asked::new("http://host/1/q", "say who it is").failed(&error)
        };
        let error = failed(CredentialsError::not_loaded("no profile"));
        let QueueError::Refused { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source.to_string(), NO_CREDENTIALS);
        let error = failed(CredentialsError::invalid_configuration("line 3 is no profile"));
        let QueueError::Refused { source, .. } = error else { panic!("{error:?}") };
        assert!(source.to_string().ends_with("line 3 is no profile"), "{source}");
        let error = failed(CredentialsError::provider_timed_out(std::time::Duration::from_secs(1)));
        assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
    }

    #[test]
    fn a_queue_is_named_without_credentials() {
        assert_eq!(without_credentials("https://id:key@host:1/2/q?Signature=x"), "https://host:1/2/q");
        assert_eq!(without_credentials("https://host/2/q"), "https://host/2/q");
        assert_eq!(without_credentials("https://host"), "https://host");
    }

    #[test]
    fn only_answers_about_the_receipt_handle_are_passed_over() {
        assert!(names_unknown_receipt("ReceiptHandleIsInvalid", ""));
        assert!(names_unknown_receipt("AWS.SimpleQueueService.MessageNotInflight", ""));
        assert!(names_unknown_receipt("InvalidParameterValue", "Value x for parameter ReceiptHandle is invalid."));
        assert!(!names_unknown_receipt("InvalidParameterValue", "Total VisibilityTimeout is beyond the limit"));
        assert!(!names_unknown_receipt("QueueDoesNotExist", "receipt"));
    }
}
