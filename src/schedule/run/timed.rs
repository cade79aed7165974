//! Jobs that are due by the clock.

use super::write::Entry;
use super::{Incarnation, Run};
use crate::error::Error;
use crate::schedule::definition::Kind;
use crate::schedule::plan::{Job, Plan, Progress};
use crate::schedule::progress;
use crate::schedule::record::JobRecord;
use crate::schedule::{NotRun, Order};
use crate::status::schedules::State;
use std::collections::BTreeMap;

/// How many jobs are in one transaction.
const JOBS: usize = 500;
/// How much progress is stored in one transaction without jobs.
const STORED: usize = 5_000;
/// How far apart two looks at the clock may be before it is taken for a pause, in which nobody ran: a machine that
/// slept, or a clock that was set.
const PAUSE: i64 = 10_000;

impl Run {
    /// Stores how far schedules are that begin: what they miss from now on is known then.
    pub(super) async fn store_begun(&mut self, incarnation: &mut Incarnation) -> Result<(), Error> {
        incarnation.plan.forget(self.clock.now());
        loop {
            let begun = incarnation.plan.take_unstored(STORED);
            if begun.is_empty() {
                return Ok(());
            }
            let begun = self.entries(begun);
            self.write(incarnation, Vec::new(), begun).await?;
        }
    }

    /// Makes the records of some jobs that are due; whether there may be more.
    pub(super) async fn step(&mut self, incarnation: &mut Incarnation) -> Result<bool, Error> {
        let now = self.clock.now();
        if now - incarnation.looked > PAUSE {
            tracing::info!(
                seconds = (now - incarnation.looked) / 1_000,
                "the clock went on by itself: what was due meanwhile was missed"
            );
            incarnation.since = now;
        }
        incarnation.looked = now;
        let jobs = incarnation.plan.take(now, incarnation.since, JOBS);
        let progress = incarnation.plan.take_unstored(usize::MAX);
        if jobs.is_empty() && progress.is_empty() {
            return Ok(false);
        }
        let moved: Vec<_> = progress.iter().map(|(name, _)| name.clone()).collect();
        let entries = self.entries(progress);
        self.write(incarnation, self.records(&jobs), entries)
            .await?;
        self.note(&jobs, &moved, &incarnation.plan);
        // What takes long to write is no pause.
        incarnation.looked = self.clock.now();
        Ok(true)
    }

    /// Shows what was done.
    fn note(&self, jobs: &[Job], moved: &[String], plan: &Plan) {
        let board = &self.parts.board;
        let mut made: BTreeMap<&str, (i64, u64)> = BTreeMap::new();
        for job in jobs {
            let entry = made.entry(&job.schedule.name).or_default();
            *entry = (entry.0.max(job.due), entry.1 + 1);
        }
        for name in moved {
            let Some(key) = self.keys.get(name) else {
                continue;
            };
            let made = made.get(name.as_str());
            board.moved(
                key,
                made.map(|made| made.0),
                plan.next_of(name),
                made.map_or(0, |made| made.1),
            );
            if plan.is_once(name) && plan.next_of(name).is_none() {
                board.set_state(key, State::Done);
            }
        }
    }

    /// Makes a record at once, because somebody asks for it. What is due stays as it is.
    pub(super) async fn obey(
        &mut self,
        incarnation: &mut Incarnation,
        order: Order,
    ) -> Result<(), Error> {
        let found = self.set.iter().flat_map(|set| &set.schedules);
        let found = found
            .into_iter()
            .find(|schedule| schedule.name == order.name)
            .cloned();
        let Some(schedule) = found else {
            let why = self.not_right(&order.name);
            let _ = order.answer.send(Err(why));
            return Ok(());
        };
        if matches!(schedule.kind, Kind::Due(_)) {
            let sentence =
                "the documents of this schedule say when they are due; there is nothing to run now";
            let _ = order.answer.send(Err(NotRun::Refused(sentence.to_owned())));
            return Ok(());
        }
        let job = Job {
            schedule,
            due: self.clock.now(),
        };
        let record = JobRecord::of(&job, &self.parts.config.unit, self.parts.mode);
        let id = record.id().to_owned();
        let written = self.write(incarnation, vec![record], Vec::new()).await;
        let answer = match &written {
            Ok(()) => Ok(id),
            Err(error) => Err(NotRun::Refused(error.detail.clone())),
        };
        // Whoever asked may have gone.
        let _ = order.answer.send(answer);
        written
    }

    /// Why there is no schedule of this name that could be run.
    fn not_right(&self, name: &str) -> NotRun {
        let shown = self.set.iter().flat_map(|set| &set.shown);
        let mut named = shown.filter(|(_, shown)| shown.name == name);
        match named.find_map(|(_, shown)| shown.state.reason()) {
            Some(reason) => NotRun::Refused(format!("the schedule {name} is invalid: {reason}")),
            None => NotRun::Unknown,
        }
    }

    fn records(&self, jobs: &[Job]) -> Vec<JobRecord> {
        let (unit, mode) = (&self.parts.config.unit, self.parts.mode);
        jobs.iter()
            .map(|job| JobRecord::of(job, unit, mode))
            .collect()
    }

    fn entries(&self, progress: Vec<(String, Option<Progress>)>) -> Vec<Entry> {
        let unit = &self.parts.config.unit;
        let entry = |(name, progress): (String, Option<Progress>)| {
            (
                progress::key(unit, &name),
                progress.as_ref().map(progress::encode),
            )
        };
        progress.into_iter().map(entry).collect()
    }
}
