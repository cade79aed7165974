//! Healthy, degraded or unhealthy: defined in `docs/operations.md`.

use super::{Board, Flag, State};
use std::time::Duration;

/// How long MongoDB or Kafka may be away before that is more than a hiccup.
const HICCUP: Duration = Duration::from_secs(10);
/// How long nothing may move while there is work, whatever the connections look like: a broker's own
/// pauses and the driver's attempts on a dead connection stay below it.
pub(super) const STILL: Duration = Duration::from_secs(30);
/// How long checkpoints may fail before a crash would repeat too much.
const UNSTORED: Duration = Duration::from_secs(60);

/// How the instance is, and why in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Healthy,
    /// It works with a limp, or does not work because somebody wanted that.
    Degraded(&'static str),
    /// It does not do its work.
    Unhealthy(&'static str),
}

impl Health {
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded(_) => "degraded",
            Self::Unhealthy(_) => "unhealthy",
        }
    }

    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Healthy => None,
            Self::Degraded(reason) | Self::Unhealthy(reason) => Some(reason),
        }
    }
}

impl Board {
    /// How the instance is now.
    pub fn health(&self) -> Health {
        match self.state() {
            State::Disabled => Health::Healthy,
            State::Starting => Health::Unhealthy("starting: the stream is not open yet"),
            State::Stopped => Health::Unhealthy("stopped"),
            State::Paused => Health::Degraded("paused by an operator"),
            State::Draining => {
                Health::Degraded("no more is read; the last acknowledgements are waited for")
            }
            State::Running | State::Recovering => self.health_of_a_run(),
        }
    }

    fn health_of_a_run(&self) -> Health {
        let away = |flag: &Flag, reason| {
            (!flag.get()).then(|| match flag.unchanged_for() >= HICCUP {
                true => Health::Unhealthy(reason),
                false => Health::Degraded(reason),
            })
        };
        let failing = &self.checkpoint_failing;
        let unstored = failing.get().then(|| {
            let reason = "the checkpoint cannot be stored";
            match failing.unchanged_for() >= UNSTORED {
                true => Health::Unhealthy(reason),
                false => Health::Degraded(reason),
            }
        });
        let refuses = &self.sink_refuses;
        let refused = refuses.get().then(|| {
            let reason = "kafka takes no records: the producer is built anew again and again";
            match refuses.unchanged_for() >= HICCUP {
                true => Health::Unhealthy(reason),
                false => Health::Degraded(reason),
            }
        });
        let still = |time: Duration, reason| (time >= STILL).then_some(Health::Unhealthy(reason));
        let problems = [
            still(
                self.unacknowledged.get(),
                "kafka acknowledges nothing, and records wait",
            ),
            still(
                self.unanswered.get(),
                "no cursor of the change stream answers",
            ),
            away(&self.mongo_connected, "mongodb cannot be reached"),
            away(&self.kafka_connected, "kafka cannot be reached"),
            refused,
            unstored,
            (self.state() == State::Recovering)
                .then_some(Health::Degraded("the stream is being set up again")),
        ];
        let is_bad = |health: &Health| matches!(health, Health::Unhealthy(_));
        let mut problems = problems.into_iter().flatten();
        let first = problems.next().unwrap_or(Health::Healthy);
        match is_bad(&first) {
            true => first,
            false => problems.find(is_bad).unwrap_or(first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_problem_is_told() {
        let board = Board::new("d");
        assert_eq!(board.health().name(), "unhealthy");
        board.enter(State::Running);
        board.mongo_connected.set(true);
        board.kafka_connected.set(true);
        assert_eq!(board.health(), Health::Healthy);
        board.enter(State::Recovering);
        assert_eq!(board.health().name(), "degraded");
        board.kafka_connected.set(false);
        assert_eq!(board.health(), Health::Degraded("kafka cannot be reached"));
        board.enter(State::Disabled);
        assert_eq!(board.health(), Health::Healthy);
    }
}
