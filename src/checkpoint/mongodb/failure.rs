//! What an error of the server means for a checkpoint.

use crate::checkpoint::CommitError;
use crate::error::{Code, Error};
use crate::mongo::codes::{self, Kind};
use crate::mongo::describe::describe;
use ::mongodb::error::{Error as MongoError, ErrorKind};

/// The error with our code, and with nothing of what was sent in its words: that holds the resume token.
pub(super) fn failure(attempt: &str, error: &MongoError) -> Error {
    let kind = codes::kind(error);
    let code = match (kind, error.kind.as_ref()) {
        (_, ErrorKind::InvalidArgument { .. } | ErrorKind::InvalidTlsConfig { .. }) => Code::Config,
        (Kind::Transient | Kind::Overloaded, _) => Code::SourceUnavailable,
        _ => Code::CheckpointFailed,
    };
    let advice = match kind {
        Kind::Unauthorized => {
            "; grant readWrite on it, name another with RESUME_DATABASE, or keep checkpoints in \
             Kafka (RESUME_STORE=kafka)"
        }
        Kind::Credentials => "; user, password or authSource in MONGODB_URI are wrong",
        _ => "",
    };
    let failure = Error::new(code, format!("{attempt}: {}{advice}", describe(error)));
    match kind {
        Kind::Overloaded => failure.with_rest(codes::first_rest(error)),
        _ => failure,
    }
}

/// What an error means for a write of a stream that runs. What was taken from the user may be given back:
/// that is waited for as long as for a store that is away.
pub(super) fn of_commit(attempt: &str, error: &MongoError) -> CommitError {
    let failure = failure(attempt, error);
    match codes::kind(error) {
        Kind::Refused | Kind::Internal => CommitError::Failed(failure),
        Kind::Transient
        | Kind::Overloaded
        | Kind::Credentials
        | Kind::Unauthorized
        | Kind::Unknown
        | Kind::Malformed => CommitError::Transient(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::mongodb::error::{CommandError, WriteError, WriteFailure};
    use bson::doc;

    fn command(code: i32) -> MongoError {
        // What the server says of a log-in, a namespace or its own state quotes nothing of a command.
        let message = match code {
            18 | 73 | 189 => "said without a command",
            _ => "not authorized to {token: SECRET}",
        };
        let reply = doc! {"code": code, "codeName": "Name", "errmsg": message};
        let command: CommandError = bson::deserialize_from_document(reply).unwrap();
        ErrorKind::Command(command).into()
    }

    #[test]
    fn what_a_person_has_to_mend_is_no_outage_of_the_source_and_quotes_nothing() {
        for (code, expected) in [
            (13, Code::CheckpointFailed),
            (18, Code::CheckpointFailed),
            (99_999, Code::CheckpointFailed),
            (73, Code::CheckpointFailed),
            (189, Code::SourceUnavailable),
            (462, Code::SourceUnavailable),
        ] {
            let failed = failure("writing to it", &command(code));
            assert_eq!(failed.code, expected, "{code}");
            let shown = format!("{failed} {failed:?}");
            assert!(!shown.contains("SECRET"), "{shown}");
        }
        let write = doc! {"code": 13, "errmsg": "SECRET"};
        let write: WriteError = bson::deserialize_from_document(write).unwrap();
        let write = ErrorKind::Write(WriteFailure::WriteError(write)).into();
        let failed = failure("writing to it", &write);
        assert!(failed.detail.contains("grant readWrite"), "{failed}");
        assert!(!failed.detail.contains("SECRET"), "{failed}");
    }

    #[test]
    fn a_running_stream_waits_for_what_may_be_given_back() {
        for code in [13, 18, 189, 462, 99_999] {
            let failed = of_commit("writing to it", &command(code));
            assert!(matches!(failed, CommitError::Transient(_)), "{code}");
        }
        let refused = of_commit("writing to it", &command(73));
        assert!(matches!(refused, CommitError::Failed(_)));
    }
}
