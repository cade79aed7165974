//! Everything that can stop Tailwater: a stable code, the sentence, the exit code.
//!
//! One table ([`Code::policy`]) says what is retried, what stops, and what an operator does next.
//! Decisions are made by code, never by message text. `docs/errors.md` explains each code.

use rustix::io::Errno;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

/// A stable name for a kind of failure. Never renamed; documented in `docs/errors.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// A bug: nothing the operator's configuration did.
    Internal,
    /// One or more variables are wrong.
    Config,
    /// MongoDB cannot be used: credentials, privileges, topology, version.
    SourceRefused,
    /// MongoDB cannot be reached now.
    SourceUnavailable,
    /// MongoDB's replies are not what a change stream sends.
    SourceMalformed,
    /// Kafka cannot be used: credentials, authorization, a topic that is missing for good.
    SinkRefused,
    /// Kafka cannot be reached now.
    SinkUnavailable,
    /// The resume token is malformed, unknown, or of another source or database.
    TokenInvalid,
    /// The oplog no longer holds the position to resume from.
    HistoryLost,
    /// Another instance with this stream id has taken over.
    Fenced,
    /// A record cannot be delivered and `ON_RECORD_ERROR=stop`.
    RecordRefused,
    /// The checkpoint store cannot be read or written.
    CheckpointFailed,
    /// Stopping took longer than `SHUTDOWN_TIMEOUT_MS`; the checkpoint is behind what was delivered.
    DrainTimedOut,
    /// The machine, or a limit on this process, leaves no thread, memory or descriptor.
    Exhausted,
}

/// What the process does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Try again with back-off; unhealthy meanwhile.
    Retry,
    /// The same with longer pauses, of which this is the first: the server says that it is overloaded.
    RetrySlowly(Duration),
    /// Try again so many times in a row, then leave.
    RetryUpTo(u32),
    /// Leave with the code's exit code.
    Stop,
}

impl Code {
    pub const ALL: [Code; 14] = [
        Code::Internal,
        Code::Config,
        Code::SourceRefused,
        Code::SourceUnavailable,
        Code::SourceMalformed,
        Code::SinkRefused,
        Code::SinkUnavailable,
        Code::TokenInvalid,
        Code::HistoryLost,
        Code::Fenced,
        Code::RecordRefused,
        Code::CheckpointFailed,
        Code::DrainTimedOut,
        Code::Exhausted,
    ];

    /// The stable name, as in logs and `docs/errors.md`.
    pub fn name(self) -> &'static str {
        match self {
            Code::Internal => "internal",
            Code::Config => "config",
            Code::SourceRefused => "source_refused",
            Code::SourceUnavailable => "source_unavailable",
            Code::SourceMalformed => "source_malformed",
            Code::SinkRefused => "sink_refused",
            Code::SinkUnavailable => "sink_unavailable",
            Code::TokenInvalid => "token_invalid",
            Code::HistoryLost => "history_lost",
            Code::Fenced => "fenced",
            Code::RecordRefused => "record_refused",
            Code::CheckpointFailed => "checkpoint_failed",
            Code::DrainTimedOut => "drain_timed_out",
            Code::Exhausted => "exhausted",
        }
    }

    /// The process's exit code. 0 is a graceful stop, 130 a second signal.
    pub fn exit_code(self) -> u8 {
        match self {
            Code::Internal => 1,
            Code::Config => 2,
            Code::SourceRefused => 3,
            Code::SinkRefused => 4,
            Code::TokenInvalid => 5,
            Code::HistoryLost => 6,
            Code::Fenced => 7,
            Code::RecordRefused => 8,
            Code::DrainTimedOut => 9,
            Code::CheckpointFailed => 10,
            Code::SourceUnavailable => 11,
            Code::SinkUnavailable => 12,
            Code::SourceMalformed => 13,
            Code::Exhausted => 14,
        }
    }

    /// [`Code::Exhausted`] where the system refused for want of something, else `otherwise`.
    pub fn of_system(error: &io::Error, otherwise: Self) -> Self {
        const WANT: [Errno; 5] = [
            // Of a thread that could not be made.
            Errno::AGAIN,
            Errno::NOMEM,
            Errno::NFILE,
            Errno::MFILE,
            Errno::NOBUFS,
        ];
        let is_want = Errno::from_io_error(error).is_some_and(|errno| WANT.contains(&errno));
        match is_want || error.kind() == io::ErrorKind::OutOfMemory {
            true => Self::Exhausted,
            false => otherwise,
        }
    }

    /// Whether the process can open hardly any descriptor more. Libraries that fail for want of one may say so only
    /// in words; the system says it by its code.
    pub fn are_descriptors_used_up() -> bool {
        // A connection takes one, and what is tried again and again has just given that back.
        let opened: io::Result<Vec<_>> = (0..4).map(|_| File::open("/dev/null")).collect();
        opened.is_err_and(|error| Self::of_system(&error, Self::Internal) == Self::Exhausted)
    }

    /// Whether what ended so may work when it is started again, although nothing was changed here: a server may
    /// be back, and what it refused may be allowed meanwhile.
    pub fn may_pass(self) -> bool {
        match self {
            Self::SourceUnavailable
            | Self::SinkUnavailable
            | Self::CheckpointFailed
            | Self::Exhausted
            | Self::DrainTimedOut
            | Self::SourceRefused
            | Self::SinkRefused => true,
            Self::Internal
            | Self::Config
            | Self::SourceMalformed
            | Self::TokenInvalid
            | Self::HistoryLost
            | Self::Fenced
            | Self::RecordRefused => false,
        }
    }

    /// What is done about it where the [`Error`] does not say otherwise.
    pub fn policy(self) -> Policy {
        match self {
            Code::SourceUnavailable | Code::SinkUnavailable => Policy::Retry,
            _ => Policy::Stop,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failure: its kind, one sentence with what is wrong and what would be right, and its cause.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    pub code: Code,
    pub detail: String,
    /// The code's, unless the place where it happened knows better.
    pub policy: Policy,
    #[source]
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            policy: code.policy(),
            source: None,
        }
    }

    /// Tried again, but not before so long: the server asks for it.
    #[must_use]
    pub fn with_rest(self, first: Duration) -> Self {
        self.with_policy(Policy::RetrySlowly(first))
    }

    /// Sets what is done about it.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_and_exit_codes_are_distinct() {
        let names: HashSet<_> = Code::ALL.iter().map(|code| code.name()).collect();
        let exits: HashSet<_> = Code::ALL.iter().map(|code| code.exit_code()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert_eq!(exits.len(), Code::ALL.len());
        assert!(!exits.contains(&0) && !exits.contains(&130));
    }
    #[test]
    fn want_of_threads_memory_or_descriptors_is_no_fault_of_the_configuration() {
        for errno in [Errno::AGAIN, Errno::NOMEM, Errno::NFILE, Errno::MFILE] {
            let error = io::Error::from(errno);
            assert_eq!(Code::of_system(&error, Code::Config), Code::Exhausted);
        }
        for errno in [Errno::ADDRINUSE, Errno::ACCESS, Errno::NOENT] {
            let error = io::Error::from(errno);
            assert_eq!(Code::of_system(&error, Code::Config), Code::Config);
        }
    }
}
