//! Tells of a stream's listeners while it runs: their status in their own documents, and a heartbeat in the log.
//! None of it is in the way of the stream.

use super::context::StreamContext;
use super::listening::Missing;
use crate::config::{Listeners, Scope};
use crate::log::event_id;
use crate::source::Filter;
use crate::source::listeners::written::{AT_ONCE, Server};
use crate::status::Board;
use crate::status::listeners::{Shown, State};
use mongodb::Client;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How often it is looked what has changed: a listener's state is told within a second.
const LOOK: Duration = Duration::from_millis(250);
/// How often counts are told, and the heartbeat is logged.
const SELDOM: Duration = Duration::from_secs(10);
/// How long the look for databases may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Tells of the listeners of one stream.
pub struct Telling {
    client: Client,
    board: Arc<Board>,
    scope: Scope,
    reach: Filter,
    server: Server,
    /// Nothing is written in a dry run.
    is_writing: bool,
    listeners: Listeners,
    /// What is still to be made in their collection.
    missing: Missing,
    /// What was told of each.
    told: BTreeMap<String, Told>,
    /// Whether the last write failed.
    is_failing: bool,
    not_before: Instant,
}

#[derive(Debug)]
struct Told {
    shown: Shown,
    at: Instant,
}

impl Telling {
    /// None without `LISTENERS_COLLECTION`.
    pub fn of(context: &StreamContext, epoch: u64) -> Option<Self> {
        let listeners = context.spec.source.listeners.as_ref()?;
        let board = context.board();
        Some(Self {
            client: context.shared.client.clone(),
            board: Arc::clone(board),
            scope: context.spec.source.scope.clone(),
            reach: Filter::of_listeners(&context.spec),
            server: Server::new(board.metrics.stream(), &context.shared.instance, epoch),
            is_writing: !context.shared.kafka.dry_run,
            listeners: listeners.clone(),
            missing: context.missing,
            told: BTreeMap::new(),
            is_failing: false,
            not_before: Instant::now(),
        })
    }

    /// Runs until the end of the stream.
    pub async fn run(mut self, done: CancellationToken) {
        let mut heartbeat = Heartbeat {
            last: Instant::now(),
            events: self.board.events.get(),
        };
        while done
            .run_until_cancelled(tokio::time::sleep(LOOK))
            .await
            .is_some()
        {
            let all = self.board.listeners.all();
            if self.is_writing && self.not_before <= Instant::now() {
                self.write(&all).await;
            }
            if heartbeat.last.elapsed() >= SELDOM {
                if !self.missing.is_nothing() {
                    self.missing.make(&self.client, &self.listeners).await;
                }
                let databases = self.databases().await;
                heartbeat.log(&self.board, &all, databases);
            }
        }
    }

    /// Writes what has changed.
    async fn write(&mut self, all: &[Shown]) {
        let now = Instant::now();
        self.told
            .retain(|name, _| all.iter().any(|shown| shown.name == *name));
        let changed: Vec<_> = all.iter().filter(|shown| self.is_due(shown, now)).collect();
        let mut problem = None;
        for some in changed.chunks(AT_ONCE) {
            let refused = match self
                .server
                .write(&self.client, &self.listeners.at, some)
                .await
            {
                Ok(refused) => refused,
                Err(error) => {
                    problem = Some(error);
                    break;
                }
            };
            // Those that the server does not refuse are told all the same.
            for shown in some.iter().filter(|shown| !refused.contains(&shown.name)) {
                let told = Told {
                    shown: (*shown).clone(),
                    at: now,
                };
                self.told.insert(shown.name.clone(), told);
            }
            if let Some(first) = refused.first() {
                let more = refused.len() - 1;
                problem = Some(format!(
                    "the server refuses that of {first}, and of {more} others"
                ));
            }
        }
        if problem.is_some() {
            self.not_before = now + SELDOM;
        }
        self.note(problem, !changed.is_empty());
    }

    /// Says whether the status can be written, when that is news.
    fn note(&mut self, problem: Option<String>, was_written: bool) {
        match problem {
            None if self.is_failing && was_written => {
                self.is_failing = false;
                tracing::info!(
                    event_id = event_id::LISTENERS_STATUS,
                    "the status of listeners is written again"
                );
            }
            Some(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::warn!(
                    event_id = event_id::LISTENERS_STATUS,
                    collection = %self.listeners.at,
                    error,
                    "the status of listeners cannot be written; they are served all the same"
                );
            }
            _ => {}
        }
    }

    fn is_due(&self, shown: &Shown, now: Instant) -> bool {
        let Some(told) = self.told.get(&shown.name) else {
            return true;
        };
        let state = |shown: &Shown| (shown.state.clone(), shown.since_millis);
        match state(&told.shown) == state(shown) {
            true => told.shown != *shown && now.duration_since(told.at) >= SELDOM,
            // What changes to and fro is told once a second.
            false => now.duration_since(told.at) >= 3 * LOOK,
        }
    }

    /// How many databases the listeners have now. Where the server does not say, those that events came from.
    async fn databases(&self) -> usize {
        if matches!(self.scope, Scope::Database(_)) {
            return 1;
        }
        let asked = async { self.client.list_database_names().await };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(names)) => names
                .iter()
                .filter(|name| self.reach.watches_database(name))
                .count(),
            _ => self.board.metrics.databases().len(),
        }
    }
}

struct Heartbeat {
    last: Instant,
    events: u64,
}

impl Heartbeat {
    fn log(&mut self, board: &Board, all: &[Shown], databases: usize) {
        let events = board.events.get();
        let seconds = self.last.elapsed().as_secs_f64();
        let rate = (events.saturating_sub(self.events)) as f64 / seconds;
        (self.last, self.events) = (Instant::now(), events);
        let active = all
            .iter()
            .filter(|shown| shown.state == State::Active)
            .count();
        tracing::info!(
            event_id = event_id::LISTENERS_HEARTBEAT,
            activeListeners = active,
            listeners = all.len(),
            databases,
            eventsPerSecond = (rate * 10.0).round() / 10.0,
            uptimeSeconds = board.uptime().as_secs(),
            "listeners"
        );
    }
}
