//! What an error of MongoDB means for a change stream.

use crate::error::{Code, Error, Policy};
pub use crate::mongo::codes::server_code;
use crate::mongo::codes::{self, Kind};
use crate::mongo::describe::describe;

/// What to do about an error of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceFault {
    /// Nothing is lost: open the stream again from the last token, with back-off.
    Resumable,
    /// The same, with longer pauses: the server says that it is overloaded.
    Overloaded,
    /// The position to resume from is no longer in the oplog: `ON_HISTORY_LOST` decides.
    HistoryLost,
    /// The server does not find the event of the resume token: the stages of now hide it, or the oplog no
    /// longer holds it. Its cluster time says which (`source::locate`).
    TokenNotFound,
    /// The resume token is malformed or of another stream.
    TokenInvalid,
    /// The next event is larger than a reply can be.
    Oversize,
    /// `required` images are configured and the next event has none: a record error.
    ImageMissing,
    /// The credentials are wrong.
    Credentials,
    /// The user lacks a privilege.
    Unauthorized,
    /// The server is no member of a replica set.
    Standalone,
    /// The server does not take the stages, the options or the namespace.
    Refused,
    /// The server gives a code that is not known here.
    Unknown,
    /// The reply is not what a change stream sends.
    Malformed,
    /// A stage of the user's takes away what every event needs.
    FieldsRemoved,
    /// Anything else: a bug.
    Fatal,
}

/// How far a stream has come: what is permanent at a start may pass on a stream that has run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// No reply has come yet.
    Starting,
    /// The stream was open before.
    Running,
}

/// How often in a row a stream that has run meets a code that is not known before it is called permanent:
/// about five minutes with the default pauses.
pub const UNKNOWN_TRIES: u32 = 12;

/// How often a reply that is not understood is read again.
pub const MALFORMED_TRIES: u32 = 1;

impl SourceFault {
    /// Whether one event is to blame, so that its neighbours can be had: a record error.
    pub fn is_of_one_event(self) -> bool {
        matches!(self, Self::Oversize | Self::ImageMissing)
    }

    /// Whether the position to resume from is lost, or cannot be found.
    pub fn is_of_history(self) -> bool {
        matches!(self, Self::HistoryLost | Self::TokenNotFound)
    }

    /// The stable code under which this fault is reported.
    pub fn code(self) -> Code {
        match self {
            Self::Resumable | Self::Overloaded => Code::SourceUnavailable,
            Self::HistoryLost | Self::TokenNotFound => Code::HistoryLost,
            Self::TokenInvalid => Code::TokenInvalid,
            Self::Oversize | Self::ImageMissing => Code::RecordRefused,
            Self::Credentials
            | Self::Unauthorized
            | Self::Standalone
            | Self::Refused
            | Self::Unknown => Code::SourceRefused,
            Self::Malformed => Code::SourceMalformed,
            Self::FieldsRemoved => Code::Config,
            Self::Fatal => Code::Internal,
        }
    }

    /// Whether it passes by itself, at a start as later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Resumable | Self::Overloaded)
    }

    /// Whether the server says no to who asks: what a person takes away and gives back.
    pub fn is_of_the_user(self) -> bool {
        matches!(self, Self::Credentials | Self::Unauthorized)
    }

    /// What is done about it, when `error` was met at this stage. Nobody is there to see a stream that has
    /// run for months end over a password that is being changed: it waits, unhealthy. At a start somebody is.
    pub fn policy(self, stage: Stage, error: &mongodb::error::Error) -> Policy {
        match (self, stage) {
            (Self::Overloaded, _) => Policy::RetrySlowly(codes::first_rest(error)),
            (Self::Malformed, _) => Policy::RetryUpTo(MALFORMED_TRIES),
            (Self::Unknown, Stage::Running) => Policy::RetryUpTo(UNKNOWN_TRIES),
            (Self::Credentials | Self::Unauthorized, Stage::Running) => Policy::Retry,
            _ => self.code().policy(),
        }
    }

    /// What an operator does about it, where the server's words do not say.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::HistoryLost => "; the oplog no longer holds the position to resume at",
            Self::TokenNotFound => {
                "; the server does not find the event of the resume token, and its cluster time is not \
                 known, so that it cannot be looked for by time"
            }
            Self::TokenInvalid => {
                "; the resume token is damaged or of another stream, and nothing was skipped: restore the \
                 checkpoint, or forget it to make this a first start"
            }
            Self::Unauthorized => {
                "; the user lacks `changeStream` and `find` on what is watched: grant the role `read` on the \
                 database (`readAnyDatabase` for a whole deployment)"
            }
            Self::Oversize => {
                "; the event is over 16 MiB and this server does not split it (6.0.9 and 7.0 do): make \
                 it smaller with FULL_DOCUMENT=default, without pre-images, or a $project in \
                 CHANGE_STREAM_PIPELINE"
            }
            Self::ImageMissing => {
                "; a required image of the event is not kept any more: ask for it only where it is \
                 available (FULL_DOCUMENT, FULL_DOCUMENT_BEFORE_CHANGE=whenAvailable)"
            }
            Self::Credentials => "; user, password or authSource in MONGODB_URI are wrong",
            Self::FieldsRemoved => {
                "; a stage of CHANGE_STREAM_PIPELINE removes it: keep `_id`, `operationType`, `ns` and \
                 `documentKey`"
            }
            Self::Malformed => {
                "; nothing was skipped: what answers at this address is broken, or is no MongoDB, or a proxy \
                 between changes what it says"
            }
            _ => "",
        }
    }
}

/// What was attempted: three codes of the server mean a bad token or a bad pipeline, depending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A token was given and no reply has come since. A stream opened with batch size 0 looks for
    /// its token at the first `getMore` only, which belongs to this moment too.
    Resuming,
    /// A stream without a token, or one that has replied, or any other command.
    Other,
}

/// Whether a unique index does not take a document: somebody has put the same there before.
pub fn is_duplicate(error: &mongodb::error::Error) -> bool {
    const DUPLICATE_KEY: i32 = 11_000;
    server_code(error) == Some(DUPLICATE_KEY)
}

/// Sorts an error.
pub fn classify(error: &mongodb::error::Error, phase: Phase) -> SourceFault {
    let of_the_stream = server_code(error).and_then(|code| of_code(code, phase));
    of_the_stream.unwrap_or_else(|| match codes::kind(error) {
        Kind::Transient => SourceFault::Resumable,
        Kind::Overloaded => SourceFault::Overloaded,
        Kind::Credentials => SourceFault::Credentials,
        Kind::Unauthorized => SourceFault::Unauthorized,
        Kind::Refused => SourceFault::Refused,
        Kind::Unknown => SourceFault::Unknown,
        Kind::Malformed => SourceFault::Malformed,
        Kind::Internal => SourceFault::Fatal,
    })
}

/// The codes that mean something to a change stream alone. No label changes what they mean.
fn of_code(code: i32, phase: Phase) -> Option<SourceFault> {
    Some(match code {
        // ChangeStreamHistoryLost; CappedPositionLost: an open cursor that the oplog has overtaken.
        286 | 136 => SourceFault::HistoryLost,
        // ChangeStreamFatalError: the token's event is not behind these stages, or not in the oplog. Later
        // on it is a pipeline that takes `_id` away from the events.
        280 => match phase {
            Phase::Resuming => SourceFault::TokenNotFound,
            Phase::Other => SourceFault::Refused,
        },
        // InvalidResumeToken; `_data` missing or of a wrong type; empty; no KeyString.
        260 | 40647 | 40649 | 50811 => SourceFault::TokenInvalid,
        // FailedToParse, TypeMismatch, Overflow: malformed tokens, but also malformed stages.
        9 | 14 | 15 => match phase {
            Phase::Resuming => SourceFault::TokenInvalid,
            Phase::Other => SourceFault::Refused,
        },
        // BSONObjectTooLarge
        10334 => SourceFault::Oversize,
        // NoMatchingDocument
        47 => SourceFault::ImageMissing,
        40573 => SourceFault::Standalone,
        _ => return None,
    })
}

/// Our error for one of the driver's: its code, and a sentence that begins with what was attempted.
pub fn error(attempt: &str, error: &mongodb::error::Error, phase: Phase) -> Error {
    of_fault(attempt, classify(error, phase), Stage::Starting, error)
}

/// The same for an error that is sorted already, met at this stage.
pub fn of_fault(
    attempt: &str,
    fault: SourceFault,
    stage: Stage,
    error: &mongodb::error::Error,
) -> Error {
    let detail = format!("{attempt}: {}{}", describe(error), fault.remedy());
    Error::new(fault.code(), detail).with_policy(fault.policy(stage, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;
    use mongodb::error::{CommandError, ErrorKind};

    fn server_error(code: i32) -> mongodb::error::Error {
        let reply = doc! {"code": code, "codeName": "Name", "errmsg": "SECRET"};
        let command: CommandError = bson::deserialize_from_document(reply).unwrap();
        ErrorKind::Command(command).into()
    }

    fn fault(code: i32, phase: Phase) -> SourceFault {
        classify(&server_error(code), phase)
    }

    #[test]
    fn each_code_of_the_server_has_its_consequence() {
        use SourceFault as F;
        for (code, resuming, other) in [
            (286, F::HistoryLost, F::HistoryLost),
            (136, F::HistoryLost, F::HistoryLost),
            (280, F::TokenNotFound, F::Refused),
            (260, F::TokenInvalid, F::TokenInvalid),
            (40647, F::TokenInvalid, F::TokenInvalid),
            (40649, F::TokenInvalid, F::TokenInvalid),
            (50811, F::TokenInvalid, F::TokenInvalid),
            (9, F::TokenInvalid, F::Refused),
            (14, F::TokenInvalid, F::Refused),
            (15, F::TokenInvalid, F::Refused),
            (47, F::ImageMissing, F::ImageMissing),
            (10334, F::Oversize, F::Oversize),
            (13, F::Unauthorized, F::Unauthorized),
            (18, F::Credentials, F::Credentials),
            (40573, F::Standalone, F::Standalone),
            (20, F::Refused, F::Refused),
            (73, F::Refused, F::Refused),
            (40324, F::Refused, F::Refused),
            (43, F::Resumable, F::Resumable),
            (462, F::Overloaded, F::Overloaded),
            (99_999, F::Unknown, F::Unknown),
        ] {
            assert_eq!(fault(code, Phase::Resuming), resuming, "{code}");
            assert_eq!(fault(code, Phase::Other), other, "{code}");
        }
    }

    #[test]
    fn what_ends_a_start_is_waited_for_on_a_stream_that_has_run() {
        let policy = |code, stage| fault(code, Phase::Other).policy(stage, &server_error(code));
        for code in [13, 18] {
            assert_eq!(policy(code, Stage::Starting), Policy::Stop, "{code}");
            assert_eq!(policy(code, Stage::Running), Policy::Retry, "{code}");
        }
        assert_eq!(policy(99_999, Stage::Starting), Policy::Stop);
        let unknown = Policy::RetryUpTo(UNKNOWN_TRIES);
        assert_eq!(policy(99_999, Stage::Running), unknown);
        for stage in [Stage::Starting, Stage::Running] {
            assert_eq!(policy(365, stage), Policy::Retry);
            assert!(matches!(policy(462, stage), Policy::RetrySlowly(_)));
            // What is wrong with the request itself stays so.
            for code in [2, 286, 260, 40324] {
                assert_eq!(policy(code, stage), Policy::Stop, "{code}");
            }
        }
    }

    #[test]
    fn an_error_says_what_was_attempted_and_quotes_nothing() {
        let said = error("reading", &server_error(13), Phase::Other).to_string();
        assert!(said.starts_with("reading: Name (13); "), "{said}");
        assert!(said.contains("changeStream"), "{said}");
        assert!(!said.contains("SECRET"), "{said}");
    }
}
