//! How the instances come to agree, and which settings cannot work.

use crate::config::{Kafka, Problem, ResumeBackend};
use std::fmt;
use std::time::Duration;

/// `COORDINATION`.
#[derive(Debug, Clone)]
pub enum Settings {
    /// This instance runs everything.
    None,
    /// One lease document a stream.
    MongoDb(LeaseSettings),
    /// A consumer group that assigns the streams.
    Kafka(GroupSettings),
}

/// Which cluster and which topics, and how long an instance may be silent.
#[derive(Debug, Clone)]
pub struct GroupSettings {
    pub kafka: Kafka,
    /// The topic in which instances register; the groups and their topics are named after it.
    pub topic: String,
    /// `KAFKA_SESSION_TIMEOUT_MS`: after how long a silence an instance is taken for dead.
    pub session: Duration,
}

impl GroupSettings {
    pub const DEFAULT_TOPIC: &str = "tailwater.streams";
    pub const DEFAULT_SESSION: Duration = Duration::from_secs(10);
}

/// Where the leases are kept, and their times.
#[derive(Clone)]
pub struct LeaseSettings {
    pub client: ::mongodb::Client,
    /// `LEASE_DATABASE`.
    pub database: String,
    pub times: LeaseTimes,
}

impl fmt::Debug for LeaseSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client: _,
            database,
            times,
        } = self;
        let mut shown = f.debug_struct("LeaseSettings");
        shown.field("database", database).field("times", times);
        shown.finish_non_exhaustive()
    }
}

/// The times of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimes {
    /// `LEASE_HEARTBEAT_MS`: how often the owner says that it lives.
    pub heartbeat: Duration,
    /// `LEASE_TIMEOUT_MS`: after how long a silence the lease is somebody else's.
    pub timeout: Duration,
    /// `LEASE_POLL_MS`: how often the leases are read where nothing tells of a change.
    pub poll: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            poll: Duration::from_secs(15),
        }
    }
}

impl LeaseTimes {
    /// Below these, the time that a write takes is most of what is waited for.
    const LEAST: Self = Self {
        heartbeat: Duration::from_millis(100),
        timeout: Duration::from_millis(500),
        poll: Duration::from_millis(200),
    };

    /// Times that cannot work, each with the reason.
    pub fn check(&self) -> Vec<Problem> {
        let Self {
            heartbeat,
            timeout,
            poll,
        } = *self;
        let mut problems = Vec::new();
        let mut refuse = |variable: &str, given: Duration, sentence: String| {
            problems.push(Problem {
                variable: variable.to_owned(),
                given: Some(given.as_millis().to_string()),
                sentence,
            });
        };
        for (variable, given, least) in [
            ("LEASE_HEARTBEAT_MS", heartbeat, Self::LEAST.heartbeat),
            ("LEASE_TIMEOUT_MS", timeout, Self::LEAST.timeout),
            ("LEASE_POLL_MS", poll, Self::LEAST.poll),
        ] {
            if given < least {
                let least = least.as_millis();
                refuse(
                    variable,
                    given,
                    format!("is too short; {least} is the least"),
                );
            }
        }
        if heartbeat * 2 >= timeout {
            let sentence = format!(
                "one heartbeat that is late would lose the lease; it must be less than half of \
                 LEASE_TIMEOUT_MS ({})",
                timeout.as_millis()
            );
            refuse("LEASE_HEARTBEAT_MS", heartbeat, sentence);
        }
        if poll > timeout {
            let sentence = format!(
                "a lease that has expired would be seen too late; it must be at most LEASE_TIMEOUT_MS ({})",
                timeout.as_millis()
            );
            refuse("LEASE_POLL_MS", poll, sentence);
        }
        problems
    }
}

/// Whether a checkpoint store can fence an instance that believes to own a stream still.
pub fn check_store(store: &ResumeBackend) -> Option<Problem> {
    match store {
        ResumeBackend::File { .. } => Some(Problem {
            variable: "COORDINATION".to_owned(),
            given: None,
            sentence: "several instances need checkpoints that all of them reach and that fence the one \
                       that has lost its stream, which a file cannot; set RESUME_STORE to kafka or mongodb, \
                       or COORDINATION to none"
                .to_owned(),
        }),
        ResumeBackend::Kafka { .. } | ResumeBackend::MongoDb { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(heartbeat: u64, timeout: u64, poll: u64) -> Vec<String> {
        let times = LeaseTimes {
            heartbeat: Duration::from_millis(heartbeat),
            timeout: Duration::from_millis(timeout),
            poll: Duration::from_millis(poll),
        };
        times
            .check()
            .into_iter()
            .map(|problem| problem.variable)
            .collect()
    }

    #[test]
    fn lease_times_that_cannot_work_are_refused() {
        assert!(LeaseTimes::default().check().is_empty());
        assert!(variables(100, 500, 200).is_empty());
        assert_eq!(variables(10_000, 20_000, 15_000), ["LEASE_HEARTBEAT_MS"]);
        assert_eq!(variables(99, 500, 200), ["LEASE_HEARTBEAT_MS"]);
        assert_eq!(variables(100, 500, 501), ["LEASE_POLL_MS"]);
        assert_eq!(
            variables(100, 499, 199),
            ["LEASE_TIMEOUT_MS", "LEASE_POLL_MS"]
        );
    }

    #[test]
    fn only_a_store_that_can_fence_will_do() {
        let path = "checkpoint.json".into();
        let problem = check_store(&ResumeBackend::File { path }).unwrap();
        assert!(problem.sentence.contains("RESUME_STORE"), "{problem}");
    }
}
