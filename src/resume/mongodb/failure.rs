//! What an error of the server means for a checkpoint. Decided by code, never by text.

use crate::error::{Code, Error};
use ::mongodb::error::{Error as MongoError, ErrorKind, WriteFailure};

const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;
pub(super) const NAMESPACE_NOT_FOUND: i32 = 26;
pub(super) const DUPLICATE_KEY: i32 = 11_000;

/// Codes of a server that is restarting, electing, or too slow: MongoDB's list of retryable errors,
/// the time-outs, and a majority that did not answer in time.
const HEALING: [i32; 17] = [
    6, 7, 50, 64, 79, 89, 91, 100, 134, 189, 262, 9001, 10_107, 11_600, 11_602, 13_435, 13_436,
];

pub(super) fn code_of(error: &MongoError) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}

/// The error with our code. The server's own words are kept: they hold no document of ours but the
/// checkpoint's id.
pub(super) fn failure(attempt: &str, error: MongoError) -> Error {
    let code = match (error.kind.as_ref(), code_of(&error)) {
        (ErrorKind::Authentication { .. }, _) | (_, Some(AUTHENTICATION_FAILED)) => {
            Code::SourceRefused
        }
        (ErrorKind::InvalidArgument { .. } | ErrorKind::InvalidTlsConfig { .. }, _) => Code::Config,
        (_, Some(code)) if HEALING.contains(&code) => Code::SourceUnavailable,
        (_, Some(_)) => Code::CheckpointFailed,
        (
            ErrorKind::Io(_)
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::DnsResolve { .. },
            _,
        ) => Code::SourceUnavailable,
        _ => Code::CheckpointFailed,
    };
    let advice = match code_of(&error) {
        Some(UNAUTHORIZED) => {
            "; grant readWrite on it, name another with RESUME_DATABASE, or keep checkpoints in \
             Kafka (RESUME_STORE=kafka)"
        }
        _ => "",
    };
    Error::new(code, format!("{attempt}: {error}{advice}")).because(error)
}
