//! What kind of error the server or the driver gave, whatever was attempted: one table for the change
//! stream, the checkpoints and every command beside them. Decided by label, code and kind, never by the
//! text. Codes are those of the server's `error_codes.yml`.

use mongodb::error::{
    Error, ErrorKind, RESUMABLE_CHANGE_STREAM_ERROR, RETRYABLE_ERROR, RETRYABLE_WRITE_ERROR,
    SYSTEM_OVERLOADED_ERROR, TRANSIENT_TRANSACTION_ERROR, WriteFailure,
};
use std::time::Duration;

/// What an error amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Passes by itself: the network, an election, a server that restarts, a session that has ended.
    Transient,
    /// The server says that it is overloaded: it is asked again after longer pauses.
    Overloaded,
    /// User, password or authentication database are wrong.
    Credentials,
    /// The user lacks a privilege.
    Unauthorized,
    /// The server does not take what was asked for, and never will.
    Refused,
    /// The server gave a code that this table does not know.
    Unknown,
    /// The reply is not what the protocol says.
    Malformed,
    /// The driver was used wrongly, or is broken.
    Internal,
}

/// First pause before an overloaded server is asked again, unless it asks for a longer one.
const FIRST_REST: Duration = Duration::from_secs(5);

pub const UNAUTHORIZED: i32 = 13;
pub const AUTHENTICATION_FAILED: i32 = 18;
pub const NAMESPACE_NOT_FOUND: i32 = 26;
pub const DUPLICATE_KEY: i32 = 11_000;

/// The label of an error after which a change stream cannot resume from its token. The driver has no
/// constant for it.
const NON_RESUMABLE: &str = "NonResumableChangeStreamError";

/// Labels by which a server says that the same may succeed later.
const PASSING_LABELS: [&str; 4] = [
    RETRYABLE_ERROR,
    RETRYABLE_WRITE_ERROR,
    TRANSIENT_TRANSACTION_ERROR,
    RESUMABLE_CHANGE_STREAM_ERROR,
];

/// Sorts an error.
pub fn kind(error: &Error) -> Kind {
    if let Some(code) = server_code(error) {
        return of_code(code, &|label| error.contains_label(label));
    }
    match error.kind.as_ref() {
        // A server that goes away during a log-in fails it; what it said is the cause.
        ErrorKind::Authentication { .. } => match cause(error).map(kind) {
            Some(passing @ (Kind::Transient | Kind::Overloaded)) => passing,
            _ => Kind::Credentials,
        },
        ErrorKind::InvalidArgument { .. }
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::IncompatibleServer { .. }
        | ErrorKind::SessionsNotSupported
        | ErrorKind::MissingResumeToken => Kind::Refused,
        ErrorKind::InvalidResponse { .. } | ErrorKind::Bson(_) => Kind::Malformed,
        ErrorKind::BsonSerialization(_)
        | ErrorKind::Internal { .. }
        | ErrorKind::Shutdown
        | ErrorKind::Custom(_) => Kind::Internal,
        // The network, the election of a primary: all outside the server's say. The driver puts the
        // labels of an overloaded server on every failure to connect, so they mean nothing here.
        _ => Kind::Transient,
    }
}

/// The server's own code, in whichever kind the driver has put it.
pub fn server_code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        _ => None,
    }
}

/// The first pause before an overloaded server is asked again: what it asks for, and no less than ours.
pub fn first_rest(error: &Error) -> Duration {
    error.base_backoff().unwrap_or_default().max(FIRST_REST)
}

/// The driver's error behind one of the driver's.
pub(super) fn cause(error: &Error) -> Option<&Error> {
    std::error::Error::source(error)?.downcast_ref::<Error>()
}

fn of_code(code: i32, label: &dyn Fn(&str) -> bool) -> Kind {
    match code {
        UNAUTHORIZED => Kind::Unauthorized,
        AUTHENTICATION_FAILED => Kind::Credentials,
        _ if label(NON_RESUMABLE) => Kind::Refused,
        _ if label(SYSTEM_OVERLOADED_ERROR) || OVERLOADED.contains(&code) => Kind::Overloaded,
        _ if PASSING_LABELS.iter().any(|known| label(known)) || PASSING.contains(&code) => {
            Kind::Transient
        }
        _ if PERMANENT.contains(&code) => Kind::Refused,
        _ => Kind::Unknown,
    }
}

/// The category `SystemOverloadedError`, for servers that give the code without the label.
const OVERLOADED: &[i32] = &[
    433, // AdmissionQueueOverflow
    449, // RateLimitExceeded
    450, // PooledConnectionAcquisitionRejected
    462, // IngressRequestRateLimitExceeded
];

/// Codes that pass by themselves, whether or not the server labels them: most commands are answered
/// without a label. An open cursor or session that has ended is one of them: the next is a new one.
const PASSING: &[i32] = &[
    6,          // HostUnreachable
    7,          // HostNotFound
    24,         // LockTimeout
    43,         // CursorNotFound
    46,         // LockBusy
    50,         // MaxTimeMSExpired
    63,         // StaleShardVersion
    64,         // WriteConcernTimeout: a majority did not answer in time
    79,         // UnknownReplWriteConcern: a member without its configuration yet
    83,         // RemoteResultsUnavailable
    89,         // NetworkTimeout
    90,         // CallbackCanceled
    91,         // ShutdownInProgress
    94,         // NotYetInitialized
    100,        // UnsatisfiableWriteConcern: too few members now
    107,        // LockFailed
    109,        // ConfigurationInProgress
    112,        // WriteConflict
    117,        // ConflictingOperationInProgress
    133,        // FailedToSatisfyReadPreference
    134,        // ReadConcernMajorityNotAvailableYet
    143,        // CursorInUse: by a getMore that was given up here
    145,        // PooledConnectionsDropped
    149,        // NoConfigPrimary
    150,        // StaleEpoch
    172,        // TransportSessionClosed
    175,        // QueryPlanKilled
    189,        // PrimarySteppedDown
    199,        // ReplicaSetMonitorRemoved
    202,        // NetworkInterfaceExceededTimeLimit
    203,        // ShardingStateNotInitialized
    205,        // ClusterTimeFailsRateLimiter
    206,        // NoSuchSession
    210,        // CannotVerifyAndSignLogicalTime
    211,        // KeyNotFound: the keys that sign cluster times are not there yet
    215,        // DatabaseDropPending
    216,        // ElectionInProgress
    222,        // CloseChangeStream
    225,        // TransactionTooOld
    234,        // RetryChangeStream
    237,        // CursorKilled
    239,        // SnapshotTooOld
    246,        // SnapshotUnavailable
    249,        // StaleDbVersion
    250,        // StaleChunkHistory
    251,        // NoSuchTransaction
    259,        // KeyedExecutorRetry
    261,        // TooManyLogicalSessions
    262,        // ExceededTimeLimit
    264,        // TooManyFilesOpen
    267,        // PreparedTransactionInProgress
    272,        // MigrationConflict
    279,        // ClientDisconnect
    281,        // TransactionCoordinatorSteppingDown
    282,        // TransactionCoordinatorReachedAbortDecision
    290,        // TransactionExceededLifetimeLimitSeconds
    303,        // SplitHorizonChange
    308,        // CurrentConfigNotCommittedYet
    314,        // ObjectIsBusy
    317,        // ConnectionPoolExpired
    343,        // ShardCannotRefreshDueToLocksHeld
    355,        // InterruptedDueToStorageChange
    358,        // InternalTransactionNotSupported
    363,        // RetryableTransactionInProgress
    365,        // TemporarilyUnavailable
    384,        // ConnectionError
    391,        // ReauthenticationRequired: the next connection logs in anew
    398,        // StreamTerminated
    402,        // ResourceExhausted
    406,        // MigrationBlockingOperationCoordinatorCleaningUp
    407,        // PooledConnectionAcquisitionExceededTimeLimit
    412,        // UpdatesStillPending
    453,        // InterruptedDueToReshardingCriticalSection
    9001,       // SocketException
    10058,      // LegacyNotPrimary
    10107,      // NotWritablePrimary
    11600,      // InterruptedAtShutdown
    11601,      // Interrupted
    11602,      // InterruptedDueToReplStateChange
    13388,      // StaleConfig
    13435,      // NotPrimaryNoSecondaryOk
    13436,      // NotPrimaryOrSecondary
    46841,      // ClientMarkedKilled
    91331,      // RetriableRemoteCommandFailure
    10_045_600, // InterruptedDueToFCVChange
];

/// Codes that say what is wrong with the request, which will be the same the next time.
const PERMANENT: &[i32] = &[
    2,     // BadValue
    9,     // FailedToParse
    14,    // TypeMismatch
    15,    // Overflow
    20,    // IllegalOperation
    59,    // CommandNotFound
    72,    // InvalidOptions
    73,    // InvalidNamespace
    115,   // CommandNotSupported
    123,   // NotAReplicaSet
    148,   // ReadConcernMajorityNotEnabled
    165,   // ViewDepthLimitExceeded
    166,   // CommandNotSupportedOnView
    167,   // OptionNotSupportedOnView
    168,   // InvalidPipelineOperator
    224,   // QueryFeatureNotAllowed
    238,   // NotImplemented
    280,   // ChangeStreamFatalError
    322,   // APIVersionError
    323,   // APIStrictError
    324,   // APIDeprecationError
    352,   // UnsupportedOpQueryCommand
    376,   // ChangeStreamNotEnabled
    411,   // QueryRejectedBySettings
    40324, // an unknown stage of a pipeline
    40413, // IDLDuplicateField
    40414, // IDLFailedToParse
    40415, // IDLUnknownField
    40573, // a standalone has no change streams
];

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;
    use mongodb::error::CommandError;
    use std::collections::HashSet;

    fn command(reply: bson::Document) -> Error {
        let command: CommandError = bson::deserialize_from_document(reply).unwrap();
        ErrorKind::Command(command).into()
    }

    fn labelled(code: i32, label: &str) -> Kind {
        of_code(code, &|asked| asked == label)
    }

    #[test]
    fn each_code_is_in_one_list_only() {
        let all: Vec<_> = [OVERLOADED, PASSING, PERMANENT].concat();
        let distinct: HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        for list in [PASSING, PERMANENT] {
            assert!(list.is_sorted());
        }
    }

    #[test]
    fn codes_have_their_kind_without_any_label() {
        for (code, expected) in [
            (13, Kind::Unauthorized),
            (18, Kind::Credentials),
            (365, Kind::Transient),
            (261, Kind::Transient),
            (391, Kind::Transient),
            (462, Kind::Overloaded),
            (433, Kind::Overloaded),
            (40324, Kind::Refused),
            (99_999, Kind::Unknown),
            (26, Kind::Unknown),
        ] {
            assert_eq!(kind(&command(doc! {"code": code})), expected, "{code}");
        }
    }

    #[test]
    fn a_label_counts_more_than_a_code_that_is_not_known() {
        for label in PASSING_LABELS {
            assert_eq!(labelled(99_999, label), Kind::Transient, "{label}");
            assert_eq!(labelled(2, label), Kind::Transient, "{label}");
            // Whoever labels it: these are for a person.
            assert_eq!(labelled(13, label), Kind::Unauthorized, "{label}");
        }
        assert_eq!(labelled(99_999, SYSTEM_OVERLOADED_ERROR), Kind::Overloaded);
        assert_eq!(labelled(99_999, NON_RESUMABLE), Kind::Refused);
        assert_eq!(labelled(365, NON_RESUMABLE), Kind::Refused);
        assert_eq!(labelled(99_999, "AnotherLabel"), Kind::Unknown);
    }

    #[test]
    fn what_is_no_answer_of_the_server_passes_but_what_we_did_wrong_does_not() {
        let network: Error = std::io::Error::other("reset").into();
        assert_eq!(kind(&network), Kind::Transient);
        assert_eq!(kind(&Error::custom(1)), Kind::Internal);
    }

    #[test]
    fn an_overloaded_server_is_given_the_rest_that_it_asks_for() {
        let rest = |reply| first_rest(&command(reply));
        assert_eq!(rest(doc! {"code": 462}), FIRST_REST);
        assert_eq!(rest(doc! {"code": 462, "baseBackoffMS": 1_i64}), FIRST_REST);
        let long = doc! {"code": 462, "baseBackoffMS": 9_000_i64};
        assert_eq!(rest(long), Duration::from_secs(9));
    }
}
