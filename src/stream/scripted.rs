//! A source and a producer that a test scripts, on both sides of the real pump and outlet.

mod events;
mod producer;
mod router;

pub(super) use events::{
    change, delete, drop_collection, fragment, number_at, reply, reply_at, token, unwanted,
};
pub(super) use producer::{ScriptedProducer, Sent, Step};
pub(super) use router::{LISTENERS, STATIC, ScriptedRouter, Wanted};

use super::hints::ReplayHints;
use super::outlet::Outlet;
use super::pump::{End, Parts, Pump};
use crate::change::extra::Extra;
use crate::change::position::{Position, Seq};
use crate::change::transactions::Transactions;
use crate::config::{Batching, Config, OnRecordError, StreamSpec};
use crate::flow::budget::Budget;
use crate::flow::tracker::Tracker;
use crate::route::{Route, Router, Topic};
use crate::sink::topics::Topics;
use crate::source::reader::{Fetched, Request};
use crate::status::{Board, board};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// So many that the first documents are each in one of their own.
const PARTITIONS: i32 = 100;

/// The number before the first event's.
pub(super) const BEGIN: Seq = Seq(100);

/// What the incarnations of a stream share.
pub(super) struct ScriptedStream {
    spec: StreamSpec,
    pub(super) topics: Topics,
    router: ScriptedRouter,
    pub(super) board: Arc<Board>,
}

impl ScriptedStream {
    /// With these variables set, beside the addresses of servers that are not there, and listeners that want
    /// records in these topics.
    pub(super) fn new<const N: usize>(
        partitions: i32,
        variables: [(&str, &str); N],
        listeners: &[&str],
    ) -> Self {
        let servers = [
            ("MONGODB_URI", "mongodb://127.0.0.1:1/shop"),
            ("KAFKA_BROKERS", "127.0.0.1:1"),
            ("KAFKA_DB_CHANGES_TOPIC", "changes"),
        ];
        let loaded = Config::from_vars(servers.into_iter().chain(variables));
        let mut config = loaded.expect("the variables are right").config;
        let spec = config.streams.remove(0);
        let router = Router::of(&spec).expect("the topics are right");
        let stream = Self {
            spec,
            topics: Topics::new(&config.kafka).expect("the properties are right"),
            router: ScriptedRouter::new(router, listeners),
            board: Arc::new(board()),
        };
        for topic in stream.router.table().all() {
            topic.learned(partitions, None);
        }
        stream
    }

    /// Whether a record that cannot be had becomes a dead letter.
    pub(super) fn has_dead_letters(&self) -> bool {
        self.spec.pipeline.on_record_error == OnRecordError::DeadLetter
    }

    /// A topic of one of its targets.
    pub(super) fn topic(&self, name: &str) -> Arc<Topic> {
        let mut all = self.router.table().all().into_iter();
        all.find(|topic| topic.name() == name).expect("it is known")
    }

    /// Takes a topic away, which may not be written to when it is there again.
    pub(super) fn forbid(&self, name: &str) {
        self.topic(name).learned(0, None);
        self.topics.refuse_writes(name);
    }
}

/// One incarnation of a stream, with its producer.
pub(super) struct Rig {
    pub(super) stream: Arc<ScriptedStream>,
    pub(super) router: ScriptedRouter,
    start: Position,
    pub(super) board: Arc<Board>,
    pub(super) budget: Arc<Budget>,
    pub(super) batching: Batching,
    pub(super) tracker: Arc<Tracker>,
    pub(super) producer: ScriptedProducer,
    pub(super) hints: ReplayHints,
    pub(super) stop: CancellationToken,
    /// The length of its transactions; none at least once.
    pub(super) transactions: Option<Duration>,
    requests: watch::Sender<Option<Request>>,
}

impl Rig {
    /// A first start, with these variables set.
    pub(super) fn new<const N: usize>(variables: [(&str, &str); N]) -> Self {
        Self::within(1 << 20, variables)
    }

    /// With so many bytes for records in flight.
    pub(super) fn within<const N: usize>(bytes: usize, variables: [(&str, &str); N]) -> Self {
        let stream = ScriptedStream::new(PARTITIONS, variables, &[]);
        Self::starting(&Arc::new(stream), bytes)
    }

    /// With listeners that want records in these topics, of the events that `wanted` gives them.
    pub(super) fn listening<const N: usize>(
        variables: [(&str, &str); N],
        listeners: &[&str],
        wanted: &[Wanted],
    ) -> Self {
        let stream = ScriptedStream::new(PARTITIONS, variables, listeners);
        let mut rig = Self::starting(&Arc::new(stream), 1 << 20);
        // Events are counted from 1.
        rig.router.wanted = std::iter::once(&0).chain(wanted).copied().collect();
        rig
    }

    fn starting(stream: &Arc<ScriptedStream>, bytes: usize) -> Self {
        let start = Position {
            token: token(0),
            seq: BEGIN,
            time_millis: None,
            cluster_time: None,
            extra: Extra::default(),
        };
        Self::resuming(stream, bytes, &start, ReplayHints::default())
    }

    /// An incarnation that begins at a position.
    pub(super) fn resuming(
        stream: &Arc<ScriptedStream>,
        bytes: usize,
        start: &Position,
        hints: ReplayHints,
    ) -> Self {
        let budget = Budget::new(bytes);
        let tracker = Tracker::new(Arc::clone(&budget));
        Self {
            stream: Arc::clone(stream),
            router: stream.router.clone(),
            start: start.clone(),
            board: Arc::clone(&stream.board),
            budget,
            batching: stream.spec.pipeline.batching,
            producer: ScriptedProducer::new(Arc::clone(&tracker)),
            tracker,
            hints,
            stop: CancellationToken::new(),
            transactions: None,
            requests: watch::channel(None).0,
        }
    }

    /// The same with so many bytes for records in flight.
    pub(super) fn within_bytes(self, bytes: usize) -> Self {
        let router = self.router;
        let stream = Self::starting(&self.stream, bytes);
        Self { router, ..stream }
    }

    fn pump(&self) -> ScriptedPump<'_> {
        let transactions = self.transactions;
        let outlet = Outlet::new(
            &self.producer,
            transactions.map(|interval| self.producer.transactions(interval)),
            Arc::clone(&self.tracker),
            Arc::clone(&self.budget),
            self.batching,
            Arc::clone(&self.board),
            self.stop.clone(),
            &self.start,
        );
        let parts = Parts {
            spec: &self.stream.spec,
            router: &self.router,
            topics: &self.stream.topics,
            board: &self.board,
            requests: &self.requests,
        };
        let sink = &self.stream.spec.sink;
        let has_spans = sink.topics.bounds.is_some();
        let at_start = || Transactions::at(&self.start.extra, has_spans);
        let transactions = sink.transactions.then(|| at_start().unwrap());
        Pump::new(parts, outlet, &self.hints, self.stop.clone()).with_transactions(transactions)
    }

    pub(super) fn run(&self) -> Run<'_> {
        let (source, replies) = mpsc::channel(64);
        let mut pump = self.pump();
        let running = async move {
            let end = Box::pin(pump.run(replies)).await;
            (end, pump)
        };
        Run {
            source,
            running: running.boxed_local(),
            ended: None,
        }
    }

    /// The names of what is waited for.
    pub(super) fn waits(&self) -> Vec<&'static str> {
        let waits = self.board.waits.all();
        waits.iter().map(|wait| wait.what.name()).collect()
    }

    /// Number of the newest event that may be committed, once.
    pub(super) fn committable(&self) -> Option<u64> {
        let committable = self.tracker.take_committable();
        committable.map(|committable| committable.position().seq.0 - BEGIN.0)
    }
}

type ScriptedPump<'a> = Pump<'a, ScriptedProducer, ScriptedRouter>;

pub(super) type Ended<'a> = (End, ScriptedPump<'a>);

/// A pump at work. It continues only when a test lets it, until it waits.
pub(super) struct Run<'a> {
    source: mpsc::Sender<Fetched>,
    running: LocalBoxFuture<'a, Ended<'a>>,
    ended: Option<Ended<'a>>,
}

impl<'a> Run<'a> {
    /// Lets the source send a reply with these events, with their post-batch token.
    pub(super) async fn reply<const N: usize>(&mut self, events: [bson::Document; N]) {
        let last = events.last().map_or(0, events::number);
        self.fetch(reply(&events, Some(last))).await;
    }

    /// Lets the source send something.
    pub(super) async fn fetch(&mut self, fetched: Fetched) {
        assert!(self.source.try_send(fetched).is_ok(), "the pump has ended");
        self.settle().await;
    }

    /// Lets time pass.
    pub(super) async fn after(&mut self, millis: u64) {
        tokio::time::advance(Duration::from_millis(millis)).await;
        self.settle().await;
    }

    /// Lets the pump continue until it waits for something.
    pub(super) async fn settle(&mut self) {
        for _ in 0..3 {
            tokio::task::yield_now().await;
            if self.ended.is_none() {
                self.ended = self.running.as_mut().now_or_never();
            }
        }
    }

    /// Whether it has ended, and how.
    pub(super) fn end(&self) -> Option<&End> {
        self.ended.as_ref().map(|(end, _)| end)
    }

    /// Whether it has taken all that was fetched.
    pub(super) fn is_read(&self) -> bool {
        self.source.capacity() == self.source.max_capacity()
    }

    /// How it has ended, and the pump after that.
    pub(super) fn ended(self) -> Ended<'a> {
        self.ended.expect("it has ended")
    }

    /// The pump after its end.
    pub(super) fn pump(self) -> ScriptedPump<'a> {
        self.ended().1
    }
}
