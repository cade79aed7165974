//! What an error of the MongoDB driver means for a change stream. Decided by code, kind and label,
//! never by the text.

use crate::error::{Code, Error};
use mongodb::error::{ErrorKind, RESUMABLE_CHANGE_STREAM_ERROR, WriteFailure};

/// What to do about an error of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceFault {
    /// Nothing is lost: open the stream again from the last token, with back-off.
    Resumable,
    /// The position to go on from is no longer in the oplog: `ON_HISTORY_LOST` decides.
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
    /// Anything else: a bug, or a server that answers nonsense.
    Fatal,
}

impl SourceFault {
    /// Whether one event is to blame, so that its neighbours can be had: a record error.
    pub fn is_of_one_event(self) -> bool {
        matches!(self, Self::Oversize | Self::ImageMissing)
    }

    /// Whether the position to go on from is lost, or cannot be found.
    pub fn is_of_history(self) -> bool {
        matches!(self, Self::HistoryLost | Self::TokenNotFound)
    }

    /// The stable code under which this fault is reported.
    pub fn code(self) -> Code {
        match self {
            Self::Resumable => Code::SourceUnavailable,
            Self::HistoryLost | Self::TokenNotFound => Code::HistoryLost,
            Self::TokenInvalid => Code::TokenInvalid,
            Self::Oversize | Self::ImageMissing => Code::RecordRefused,
            Self::Credentials | Self::Unauthorized | Self::Standalone | Self::Refused => {
                Code::SourceRefused
            }
            Self::Fatal => Code::Internal,
        }
    }

    /// What an operator does about it, where the server's words do not say.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::HistoryLost => "; the oplog no longer holds the position to go on from",
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
            _ => "",
        }
    }
}

/// What was attempted: three codes of the server mean a bad token or a bad pipeline, depending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A token was given and no reply has come since. A stream opened with batch size 0 looks for
    /// its token at the first `getMore` only, which belongs to this moment too.
    Resuming,
    /// A stream without a token, or one that has replied, or any other command.
    Other,
}

/// Sorts an error. Codes are those of `error_codes.yml` of the server; the resumable ones without a
/// label are the list of the drivers' change stream specification.
pub fn classify(error: &mongodb::error::Error, moment: Moment) -> SourceFault {
    if let Some(code) = server_code(error) {
        return of_code(code, moment, &|label| error.contains_label(label));
    }
    match error.kind.as_ref() {
        ErrorKind::Authentication { .. } => SourceFault::Credentials,
        ErrorKind::InvalidArgument { .. }
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::IncompatibleServer { .. }
        | ErrorKind::SessionsNotSupported => SourceFault::Refused,
        ErrorKind::MissingResumeToken => SourceFault::Refused,
        ErrorKind::BsonSerialization(_)
        | ErrorKind::Internal { .. }
        | ErrorKind::Shutdown
        | ErrorKind::Custom(_) => SourceFault::Fatal,
        // The network, the election of a primary, a reply cut short: all outside the server's say.
        _ => SourceFault::Resumable,
    }
}

/// The server's own code, also where the driver wraps it: a log-in that fails is an
/// `Authentication` error whose cause carries the code.
pub fn server_code(error: &mongodb::error::Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}

fn of_code(code: i32, moment: Moment, label: &dyn Fn(&str) -> bool) -> SourceFault {
    match code {
        // ChangeStreamHistoryLost; CappedPositionLost: an open cursor that the oplog has overtaken.
        286 | 136 => SourceFault::HistoryLost,
        // ChangeStreamFatalError: the token's event is not behind these stages, or not in the oplog. Later
        // on it is a pipeline that takes `_id` away from the events.
        280 => match moment {
            Moment::Resuming => SourceFault::TokenNotFound,
            Moment::Other => SourceFault::Refused,
        },
        // InvalidResumeToken; `_data` missing or of a wrong type; empty; no KeyString.
        260 | 40647 | 40649 | 50811 => SourceFault::TokenInvalid,
        // FailedToParse, TypeMismatch, Overflow: malformed tokens, but also malformed stages.
        9 | 14 | 15 => match moment {
            Moment::Resuming => SourceFault::TokenInvalid,
            Moment::Other => SourceFault::Refused,
        },
        // BSONObjectTooLarge
        10334 => SourceFault::Oversize,
        // NoMatchingDocument
        47 => SourceFault::ImageMissing,
        // AuthenticationFailed; what a hosted tier says instead (AtlasError)
        18 => SourceFault::Credentials,
        13 => SourceFault::Unauthorized,
        40573 => SourceFault::Standalone,
        // CursorNotFound
        43 => SourceFault::Resumable,
        _ if RESUMABLE_CODES.contains(&code) || label(RESUMABLE_CHANGE_STREAM_ERROR) => {
            SourceFault::Resumable
        }
        _ => SourceFault::Refused,
    }
}

/// Codes that pass by themselves, whether or not the server labels them: commands beside the
/// stream carry no label.
const RESUMABLE_CODES: &[i32] = &[
    6,     // HostUnreachable
    7,     // HostNotFound
    50,    // MaxTimeMSExpired
    63,    // StaleShardVersion
    89,    // NetworkTimeout
    91,    // ShutdownInProgress
    94,    // NotYetInitialized
    112,   // WriteConflict
    133,   // FailedToSatisfyReadPreference
    134,   // ReadConcernMajorityNotAvailableYet
    150,   // StaleEpoch
    175,   // QueryPlanKilled
    189,   // PrimarySteppedDown
    202,   // NetworkInterfaceExceededTimeLimit
    211,   // KeyNotFound: the keys that sign cluster times are not there yet
    234,   // RetryChangeStream
    237,   // CursorKilled
    262,   // ExceededTimeLimit
    9001,  // SocketException
    10107, // NotWritablePrimary
    11600, // InterruptedAtShutdown
    11601, // Interrupted
    11602, // InterruptedDueToReplStateChange
    13388, // StaleConfig
    13435, // NotPrimaryNoSecondaryOk
    13436, // NotPrimaryOrSecondary
];

/// The error in words that hold no document.
///
/// The server's message is repeated only for codes whose messages are known to quote none: those
/// about events and tokens quote them in full, and a token holds the document's key; that of a
/// missing privilege quotes the whole command.
pub fn describe(error: &mongodb::error::Error) -> String {
    let described = match error.kind.as_ref() {
        ErrorKind::Command(command) if QUOTES_NOTHING.contains(&command.code) => {
            format!(
                "{} ({}): {}",
                command.code_name, command.code, command.message
            )
        }
        ErrorKind::Command(command) => format!("{} ({})", command.code_name, command.code),
        ErrorKind::Write(_) | ErrorKind::InsertMany(_) | ErrorKind::BulkWrite(_) => {
            match server_code(error) {
                Some(code) => format!("a write failed ({code})"),
                None => "a write failed".into(),
            }
        }
        other => other.to_string(),
    };
    match std::error::Error::source(error).and_then(|s| s.downcast_ref::<mongodb::error::Error>()) {
        Some(cause) => format!("{described}; {}", describe(cause)),
        None => described,
    }
}

const QUOTES_NOTHING: &[i32] = &[18, 20, 59, 73, 91, 189, 8000, 10107, 40324, 40415, 40573];

/// Our error for one of the driver's: its code, and a sentence that begins with what was attempted.
pub fn error(attempt: &str, error: &mongodb::error::Error, moment: Moment) -> Error {
    of_fault(attempt, classify(error, moment), error)
}

/// The same for an error that is sorted already.
pub fn of_fault(attempt: &str, fault: SourceFault, error: &mongodb::error::Error) -> Error {
    let detail = format!("{attempt}: {}{}", describe(error), fault.remedy());
    Error::new(fault.code(), detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;
    use mongodb::error::CommandError;

    fn server_error(code: i32, message: &str) -> mongodb::error::Error {
        let reply = doc! {"code": code, "codeName": "Name", "errmsg": message};
        let command: CommandError = bson::deserialize_from_document(reply).unwrap();
        ErrorKind::Command(command).into()
    }

    fn fault(code: i32, moment: Moment) -> SourceFault {
        classify(&server_error(code, ""), moment)
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
        ] {
            assert_eq!(fault(code, Moment::Resuming), resuming, "{code}");
            assert_eq!(fault(code, Moment::Other), other, "{code}");
        }
        for code in RESUMABLE_CODES {
            assert_eq!(fault(*code, Moment::Other), F::Resumable, "{code}");
        }
    }

    #[test]
    fn a_label_makes_an_unknown_code_resumable_but_never_a_lost_history() {
        let labelled = |label: &str| label == "ResumableChangeStreamError";
        assert_eq!(
            of_code(99_999, Moment::Other, &labelled),
            SourceFault::Resumable
        );
        assert_eq!(
            of_code(99_999, Moment::Other, &|_| false),
            SourceFault::Refused
        );
        assert_eq!(
            of_code(286, Moment::Other, &labelled),
            SourceFault::HistoryLost
        );
    }

    #[test]
    fn what_is_no_answer_of_the_server_is_resumable_but_what_we_did_wrong_is_not() {
        let network: mongodb::error::Error = std::io::Error::other("reset").into();
        assert_eq!(classify(&network, Moment::Other), SourceFault::Resumable);
        let own = mongodb::error::Error::custom(1);
        assert_eq!(classify(&own, Moment::Other), SourceFault::Fatal);
    }

    #[test]
    fn messages_that_quote_events_are_not_repeated() {
        for code in [10334, 47, 280, 260, 286, 11000, 13] {
            let said = error("reading", &server_error(code, "SECRET"), Moment::Other).to_string();
            assert!(
                !said.contains("SECRET") && said.contains(&code.to_string()),
                "{said}"
            );
        }
        let said = describe(&server_error(40573, "only on replica sets"));
        assert_eq!(said, "Name (40573): only on replica sets");
    }
}
