//! Healthy, degraded or unhealthy: defined in `docs/operations.md`.

use super::waiting::{HICCUP, UNSTORED, Wait};
use super::{Board, Flag, State};
use std::borrow::Cow;

/// How the instance is, and why in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Healthy,
    /// It works with a limp, or does not work because somebody wanted that.
    Degraded(Cow<'static, str>),
    /// It does not do its work.
    Unhealthy(Cow<'static, str>),
}

impl Health {
    pub fn degraded(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Degraded(reason.into())
    }

    pub fn unhealthy(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::Unhealthy(reason.into())
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded(_) => "degraded",
            Self::Unhealthy(_) => "unhealthy",
        }
    }

    pub fn reason(&self) -> Option<&str> {
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
            State::Starting => self.health_of_a_start(),
            State::Standby | State::Unowned => self.health_of_a_standby(),
            State::Stopped => Health::unhealthy("stopped"),
            State::Failed => match self.failure.get() {
                Some(noted) => Health::unhealthy(noted.text),
                None => Health::unhealthy("failed"),
            },
            State::Paused => Health::degraded("paused by an operator"),
            State::Draining => match self.waiting().iter().find(|wait| wait.is_noticed()) {
                Some(wait) => Health::degraded(format!("no more is read; {}", wait.sentence())),
                None => {
                    Health::degraded("no more is read; the last acknowledgements are waited for")
                }
            },
            State::Running | State::Recovering => self.health_of_a_run(),
        }
    }

    /// Each reason is told as soon as it is known: a start has nothing else to do than to wait.
    fn health_of_a_start(&self) -> Health {
        let waits = self.waiting();
        let told = waits.iter().filter(|wait| wait.why.is_some());
        let told: Vec<_> = told.map(Wait::sentence).collect();
        Health::unhealthy(match told.is_empty() {
            true => "starting: the stream is not open yet".to_owned(),
            false => format!("starting: {}", told.join("; ")),
        })
    }

    /// It has nothing to do but to be there, and to know how the others are.
    fn health_of_a_standby(&self) -> Health {
        let waits = self.waiting();
        let told: Vec<_> = waits.iter().filter(|wait| wait.is_noticed()).collect();
        let worst = told.iter().find(|wait| wait.is_unhealthy());
        match worst.or(told.first()) {
            Some(wait) if wait.is_unhealthy() => Health::unhealthy(wait.sentence()),
            Some(wait) => Health::degraded(wait.sentence()),
            None => Health::Healthy,
        }
    }

    fn health_of_a_run(&self) -> Health {
        let away = |flag: &Flag, reason| {
            (!flag.get()).then(|| match flag.unchanged_for() >= HICCUP {
                true => Health::unhealthy(reason),
                false => Health::degraded(reason),
            })
        };
        let failing = &self.checkpoint_failing;
        let unstored = failing.get().then(|| {
            let reason = "the checkpoint cannot be stored";
            match failing.unchanged_for() >= UNSTORED {
                true => Health::unhealthy(reason),
                false => Health::degraded(reason),
            }
        });
        let closed = &self.closed_again;
        let closed = closed.get().then(|| {
            let reason = "mongodb closes the change stream again and again without an event";
            match closed.unchanged_for() >= HICCUP {
                true => Health::unhealthy(reason),
                false => Health::degraded(reason),
            }
        });
        // An error says more than the wait for an answer that it is the reason of.
        let problems = [
            // No hiccup: somebody has to give back what was taken.
            self.mongo_refuses.get().then(|| {
                Health::unhealthy("mongodb refuses the credentials, or a privilege is missing")
            }),
            away(&self.mongo_connected, "mongodb cannot be reached"),
            away(&self.kafka_connected, "kafka cannot be reached"),
            unstored,
            closed,
            (self.state() == State::Recovering)
                .then_some(Health::degraded("the stream is being set up again")),
        ];
        let waits = self.waiting();
        let waits = waits.iter().filter(|wait| wait.is_noticed());
        let waits = waits.map(|wait| match wait.is_unhealthy() {
            true => Health::unhealthy(wait.sentence()),
            false => Health::degraded(wait.sentence()),
        });
        let is_bad = |health: &Health| matches!(health, Health::Unhealthy(_));
        let [refused, mongo, kafka, unstored, closed, recovering] = problems;
        let servers = [refused, mongo, kafka, unstored, closed]
            .into_iter()
            .flatten();
        let snapshot = self.snapshot_problem();
        let snapshot = snapshot.map(|why| Health::degraded(format!("the snapshot waits: {why}")));
        let all: Vec<Health> = servers
            .chain(waits)
            .chain(recovering)
            .chain(snapshot)
            .collect();
        let worst = all.iter().find(|health| is_bad(health)).or(all.first());
        worst.cloned().unwrap_or(Health::Healthy)
    }

    /// What nothing is delivered for, for so long that it is no hiccup.
    pub fn stands_still(&self) -> Option<Wait> {
        let mut waits = self.waiting().into_iter();
        waits.find(|wait| wait.stops_delivery() && wait.is_unhealthy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::waiting::Awaited;

    #[test]
    fn the_worst_problem_is_told() {
        let board = crate::status::board();
        assert_eq!(board.health().name(), "unhealthy");
        let starting = |board: &Board| board.health().reason().unwrap().to_owned();
        let (mongo, kafka) = (
            board.waits.begin(Awaited::MongoDb),
            board.waits.begin(Awaited::Kafka),
        );
        assert_eq!(starting(&board), "starting: the stream is not open yet");
        mongo.because("nobody listens".into());
        kafka.because("no broker answers".into());
        let reason = starting(&board);
        assert!(
            reason.starts_with("starting: waiting for a reply of mongodb since 2"),
            "{reason}"
        );
        assert!(
            reason.contains(": nobody listens; waiting for kafka"),
            "{reason}"
        );
        assert!(reason.ends_with(": no broker answers"), "{reason}");
        drop((mongo, kafka));
        board.enter(State::Running);
        board.mongo_connected.set(true);
        board.kafka_connected.set(true);
        assert_eq!(board.health(), Health::Healthy);
        board.enter(State::Recovering);
        assert_eq!(board.health().name(), "degraded");
        board.kafka_connected.set(false);
        assert_eq!(board.health(), Health::degraded("kafka cannot be reached"));
        board.enter(State::Disabled);
        assert_eq!(board.health(), Health::Healthy);
    }

    #[test]
    fn an_instance_that_stands_by_is_ready_and_well_and_one_without_an_owner_is_neither_for_long() {
        let board = crate::status::board();
        board.leave_to_others(State::Standby);
        assert!(!board.is_ready(), "nobody has looked at the servers");
        board.mongo_connected.set(true);
        board.kafka_connected.set(true);
        assert!(board.is_ready());
        assert_eq!(board.health(), Health::Healthy);
        board.enter(State::Unowned);
        assert!(!board.is_ready() && board.is_on_its_way());
        assert_eq!(board.health(), Health::Healthy, "a hand-over");
        assert_eq!(board.lag(), std::time::Duration::ZERO);
    }
}
