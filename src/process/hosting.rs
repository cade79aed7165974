//! The streams that this instance should run, and what it tells of them.

use crate::coordination::{Coordination, View, Wanted};
use crate::error::Error;
use crate::schedule::{self, Unit};
use crate::status::Board;
use crate::status::waiting::{Awaited, Waiting};
use crate::stream::shared::Shared;
use crate::stream::streams::{Manner, Streams};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long the last word to the others may take, when the time for giving streams away is over.
const LAST_WORD: Duration = Duration::from_secs(1);

/// The loop between what is wanted and what runs.
pub(super) struct Hosting<'a> {
    streams: &'a Streams,
    shared: &'a Shared,
    manner: Manner,
    coordination: Coordination,
    wanted: watch::Receiver<Wanted>,
    view: watch::Receiver<View>,
    /// The last that was reported.
    told: Option<(u64, BTreeSet<String>)>,
    able: BTreeSet<String>,
    schedules: Option<Schedules>,
    /// The first version of what is wanted in which a stream that was fenced may be started again.
    not_before: BTreeMap<String, u64>,
}

/// The schedules, which are hosted as a stream is.
#[derive(Clone)]
pub(super) struct Schedules {
    pub(super) unit: Arc<Unit>,
    pub(super) parts: schedule::Parts,
}

impl<'a> Hosting<'a> {
    pub(super) fn new(
        streams: &'a Streams,
        shared: &'a Shared,
        manner: Manner,
        coordination: Coordination,
        schedules: Option<Schedules>,
    ) -> Self {
        let (wanted, view) = (coordination.wanted(), coordination.view());
        Self {
            streams,
            shared,
            manner,
            coordination,
            wanted,
            view,
            told: None,
            able: streams.all().iter().map(|h| h.spec.id.clone()).collect(),
            schedules,
            not_before: BTreeMap::new(),
        }
    }

    /// Runs what is wanted until asked to stop, or until no stream is left that can run. Then gives the
    /// streams away.
    ///
    /// # Errors
    /// How the first stream ended that did not end as it should, or had failed before.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> Result<(), Error> {
        let boards = self.boards();
        let mut waits = Waits::new(&boards);
        while !stop.is_cancelled() && !self.streams.none_can_run() {
            self.collect().await;
            self.step().await;
            self.show(&mut waits);
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.change() => {}
            }
        }
        self.leave().await
    }

    /// Waits until something is to be done.
    async fn change(&mut self) {
        tokio::select! {
            Ok(()) = self.wanted.changed() => {}
            Ok(()) = self.view.changed() => {}
            () = self.streams.changed() => {}
            () = schedules_changed(self.schedules.as_ref()) => {}
        }
    }

    /// What has ended or become possible since the last time.
    async fn collect(&mut self) {
        for stream in self.streams.take_fenced() {
            let version = self.coordination.fenced(&stream).await;
            self.not_before.insert(stream, version);
        }
        if let Some(schedules) = self.schedules.as_ref().filter(|it| it.unit.take_fenced()) {
            let id = schedules.unit.id.clone();
            let version = self.coordination.fenced(&id).await;
            self.not_before.insert(id, version);
        }
        if !self.manner.is_shared {
            return;
        }
        self.streams.forget_ended();
        let able = self.streams.able();
        if able != self.able {
            self.able = able.clone();
            let unit = self.schedules.iter().map(|it| it.unit.id.clone());
            self.coordination
                .can_run(able.into_iter().chain(unit).collect())
                .await;
        }
    }

    /// Starts and stops what is to be started and stopped, and reports what runs.
    async fn step(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        self.not_before
            .retain(|_, version| *version > wanted.version);
        let mut streams = wanted.streams;
        streams.retain(|stream| !self.not_before.contains_key(stream));
        self.streams.reconcile(&streams, self.shared, self.manner);
        if let Some(Schedules { unit, parts }) = &self.schedules {
            unit.reconcile(streams.contains(&unit.id), parts);
        }
        let report = (wanted.version, self.running());
        if self.told.as_ref() != Some(&report) {
            self.coordination.running(report.0, report.1.clone()).await;
            self.told = Some(report);
        }
    }

    /// The ids of what runs or still drains.
    fn running(&self) -> BTreeSet<String> {
        let mut running = self.streams.running();
        let units = self.schedules.iter().map(|it| &it.unit);
        running.extend(
            units
                .filter(|unit| unit.is_running())
                .map(|unit| unit.id.clone()),
        );
        running
    }

    /// Puts on the boards who has the streams.
    fn show(&mut self, waits: &mut Waits<'_>) {
        if !self.manner.is_shared {
            return;
        }
        let view = self.view.borrow_and_update().clone();
        let running = self.streams.running();
        for handle in self.streams.all() {
            let (id, board) = (&handle.spec.id, &handle.board);
            let seen = view.streams.get(id).cloned().unwrap_or_default();
            let is_here = running.contains(id) || !self.able.contains(id);
            if !is_here {
                board
                    .span
                    .in_scope(|| board.leave_to_others(seen.elsewhere()));
            }
            waits.for_owner(
                id,
                !is_here && seen.owner.is_none(),
                seen.previous.as_deref(),
            );
            board.set_ownership(seen);
        }
        if let Some(Schedules { unit, .. }) = &self.schedules {
            unit.show(view.streams.get(&unit.id).cloned().unwrap_or_default());
        }
        waits.for_coordination(view.unreachable);
    }

    /// Gives the streams away, each after its last commit, and stops those that nobody takes.
    async fn leave(mut self) -> Result<(), Error> {
        let grace = self.shared.grace.clone();
        grace.end_all();
        let coordination = self.coordination.clone();
        let mut left = async move { coordination.leave().await }.boxed();
        // What is not given away by then is stopped all at once, and has the rest of the time for it.
        let limit = Instant::now() + grace.left() / 2;
        if self.until_left(&mut left, limit).await {
            self.stop_schedules().await;
            return self.streams.stop_all().await;
        }
        let stopped = self.streams.stop_all().await;
        self.stop_schedules().await;
        // Their leases end now, and not when the others have waited for them long enough.
        self.until_left(&mut left, Instant::now() + LAST_WORD).await;
        stopped
    }

    async fn stop_schedules(&self) {
        if let Some(Schedules { unit, .. }) = &self.schedules {
            // What is being written has its own time-out, which may be longer.
            let _ = tokio::time::timeout(self.shared.grace.left(), unit.stopped()).await;
        }
    }

    async fn until_left(&mut self, left: &mut BoxFuture<'_, ()>, limit: Instant) -> bool {
        loop {
            self.step().await;
            tokio::select! {
                () = &mut *left => return true,
                () = self.change() => {}
                () = tokio::time::sleep_until(limit) => return false,
            }
        }
    }

    fn boards(&self) -> Vec<(String, Arc<Board>)> {
        let handles = self.streams.all().into_iter();
        handles
            .map(|handle| (handle.spec.id.clone(), Arc::clone(&handle.board)))
            .collect()
    }
}

/// Waits until the schedules have ended; without any for ever.
async fn schedules_changed(schedules: Option<&Schedules>) {
    match schedules {
        Some(schedules) => schedules.unit.changed().await,
        None => std::future::pending().await,
    }
}

/// What the boards say that is waited for.
struct Waits<'a> {
    boards: &'a [(String, Arc<Board>)],
    coordination: Vec<Waiting<'a>>,
    owners: BTreeMap<String, Waiting<'a>>,
}

impl<'a> Waits<'a> {
    fn new(boards: &'a [(String, Arc<Board>)]) -> Self {
        Self {
            boards,
            coordination: Vec::new(),
            owners: BTreeMap::new(),
        }
    }

    fn for_coordination(&mut self, unreachable: Option<String>) {
        let Some(why) = unreachable else {
            return self.coordination.clear();
        };
        if self.coordination.is_empty() {
            let boards = self.boards.iter();
            let waits = boards.map(|(_, board)| board.waits.begin(Awaited::Coordination));
            self.coordination = waits.collect();
        }
        for wait in &self.coordination {
            wait.because(why.clone());
        }
    }

    fn for_owner(&mut self, stream: &str, is_waited_for: bool, last: Option<&str>) {
        if !is_waited_for {
            self.owners.remove(stream);
            return;
        }
        let board = self.boards.iter().find(|(id, _)| id == stream);
        let Some((_, board)) = board.filter(|_| !self.owners.contains_key(stream)) else {
            return;
        };
        let wait = board.waits.begin(Awaited::Owner);
        if let Some(last) = last {
            wait.because(format!("{last} had it last"));
        }
        self.owners.insert(stream.to_owned(), wait);
    }
}
