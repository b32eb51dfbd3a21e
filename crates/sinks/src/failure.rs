//! What the answers of AWS mean.

use std::{error::Error, fmt};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use lazaret_core::{
    error::{Cause, chain},
    ports::SinkError,
};

/// Longest cause that is kept: the text comes from the other side.
const MAX_CAUSE_CHARS: usize = 400;

/// One line of what the other side or the way to it said.
#[derive(Debug)]
struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Said {}

pub(crate) fn unavailable(sink: &str, what: &str) -> SinkError {
    SinkError::Unavailable { sink: sink.to_owned(), source: said(what) }
}

pub(crate) fn refused(sink: &str, what: &str) -> SinkError {
    SinkError::Refused { sink: sink.to_owned(), source: said(what) }
}

/// Files an error of the SDK under what it means for the event.
pub(crate) fn of_sdk<E>(sink: &str, error: &SdkError<E, HttpResponse>) -> SinkError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    if cannot_sign(error) {
        return refused(sink, &chain(error));
    }
    match error {
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            unavailable(sink, &chain(error))
        }
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let code = answer.err().code().unwrap_or("no code");
            let said = format!("{code}: {} (HTTP {status})", answer.err().message().unwrap_or("no message"));
            let passing = status >= 500 || status == 429 || code.contains("Throttl") || code.contains("OverLimit");
            if passing { unavailable(sink, &said) } else { refused(sink, &said) }
        }
        _ => refused(sink, &chain(error)),
    }
}

/// Whether no request can be signed, where waiting would not help: nobody has credentials, or what names them is wrong.
fn cannot_sign(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref() {
            Some(CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_)) => return true,
            Some(_) | None => next = error.source(),
        }
    }
    false
}

fn said(text: &str) -> Cause {
    Box::new(Said(text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CAUSE_CHARS).collect()))
}
