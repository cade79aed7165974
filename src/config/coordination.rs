//! Several instances: how they come to agree on who runs which stream.

use super::Problem;
use std::time::Duration;

/// `COORDINATION`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Coordination {
    /// This instance runs every stream.
    #[default]
    None,
    /// A lease document for each stream, in MongoDB.
    MongoDb(Leases),
    /// A consumer group that assigns the streams.
    Kafka(ConsumerGroup),
}

impl Coordination {
    /// Whether several instances share the streams.
    pub fn is_shared(&self) -> bool {
        *self != Self::None
    }
}

/// Where leases are kept, and their times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leases {
    /// `LEASE_DATABASE`: carried by no stream.
    pub database: String,
    pub times: LeaseTimes,
}

/// Which topics and groups, and how long an instance may be silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerGroup {
    /// `COORDINATION_TOPIC`: where instances register; the groups and their topics are named after it.
    pub topic: String,
    /// `KAFKA_SESSION_TIMEOUT_MS`: after how long a silence an instance is taken for dead.
    pub session: Duration,
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
    /// Times that cannot work together, each with the reason. The least of each is its variable's.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(heartbeat: u64, timeout: u64, poll: u64) -> Vec<String> {
        let times = LeaseTimes {
            heartbeat: Duration::from_millis(heartbeat),
            timeout: Duration::from_millis(timeout),
            poll: Duration::from_millis(poll),
        };
        let problems = times.check().into_iter();
        problems.map(|problem| problem.variable).collect()
    }

    #[test]
    fn lease_times_that_cannot_work_are_refused() {
        assert!(LeaseTimes::default().check().is_empty());
        assert!(variables(100, 500, 200).is_empty());
        assert_eq!(variables(10_000, 20_000, 15_000), ["LEASE_HEARTBEAT_MS"]);
        assert_eq!(variables(100, 500, 501), ["LEASE_POLL_MS"]);
        assert_eq!(
            variables(250, 500, 501),
            ["LEASE_HEARTBEAT_MS", "LEASE_POLL_MS"]
        );
    }
}
