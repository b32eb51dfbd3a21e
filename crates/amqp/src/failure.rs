use std::time::Duration;

use lapin::ErrorKind;
use lazaret_core::error::chain;
use thiserror::Error;
use tokio::time::timeout;

/// The longest one request to a broker may take, connecting included.
pub const LIMIT: Duration = Duration::from_secs(10);

/// Longest text that is kept: it comes from the server.
const MAX_TEXT_CHARS: usize = 400;

/// Reply codes of requests that waiting cannot help: AMQP 0-9-1, section 1.2 of the specification's reference.
const CONTENT_TOO_LARGE: u16 = 311;
const NO_ROUTE: u16 = 312;
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;
const NOT_IMPLEMENTED: u16 = 540;

/// Why a broker did not do what was asked. The text never holds credentials.
#[derive(Debug, Error)]
pub enum Failure {
    /// It is out of reach, or takes nothing for now.
    #[error("{0}")]
    Unavailable(String),
    /// It answered that this cannot work: credentials, permissions, something missing or declared otherwise.
    #[error("{0}")]
    Refused(String),
}

impl Failure {
    /// The broker cannot be asked for now.
    pub fn unavailable(text: &str) -> Self {
        Self::Unavailable(plain(text))
    }

    /// The broker will not do this.
    pub fn refused(text: &str) -> Self {
        Self::Refused(plain(text))
    }

    /// Files the answer to a request.
    pub fn answered(error: &lapin::Error) -> Self {
        let ErrorKind::ProtocolError(answer) = error.kind() else { return Self::broken(error) };
        let text = answer.get_message().as_str();
        match answer.get_id() {
            // The node that holds a classic queue is restarting, which passes.
            NOT_FOUND if text.contains("down or inaccessible") => Self::unavailable(text),
            CONTENT_TOO_LARGE | NO_ROUTE | ACCESS_REFUSED | NOT_FOUND | PRECONDITION_FAILED | NOT_ALLOWED
            | NOT_IMPLEMENTED => Self::refused(text),
            _ => Self::unavailable(text),
        }
    }

    /// Files the end of a channel or connection that worked before: it can be opened again, whatever ended it.
    pub fn broken(error: &lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(answer) => Self::unavailable(answer.get_message().as_str()),
            ErrorKind::IOError(error) => Self::unavailable(&chain(&**error)),
            _ => Self::unavailable(&error.to_string()),
        }
    }
}

/// Gives the request its limit.
pub async fn within<T>(request: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = |_| Failure::Unavailable(format!("no answer within {} s", LIMIT.as_secs()));
    timeout(LIMIT, request).await.map_err(late)?
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_TEXT_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use lapin::protocol::AMQPError;

    use super::*;

    fn answer(code: u16, text: &str) -> lapin::Error {
        ErrorKind::ProtocolError(AMQPError::from_id(code, text.into()).unwrap()).into()
    }

    #[test]
    fn an_answer_is_refused_where_waiting_cannot_help() {
        for code in [403, 404, 406, 530] {
            let failure = Failure::answered(&answer(code, "NO - because"));
            assert!(matches!(&failure, Failure::Refused(text) if text == "NO - because"), "{code}: {failure:?}");
        }
        for code in [320, 405, 506, 541] {
            assert!(matches!(Failure::answered(&answer(code, "")), Failure::Unavailable(_)), "{code}");
        }
        let restarting = answer(404, "NOT_FOUND - home node 'a' of durable queue 'q' is down or inaccessible");
        assert!(matches!(Failure::answered(&restarting), Failure::Unavailable(_)));
    }

    #[test]
    fn what_ends_a_channel_that_worked_passes() {
        let timed_out = answer(406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out");
        assert!(matches!(Failure::broken(&timed_out), Failure::Unavailable(_)));
    }
}
