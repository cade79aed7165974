//! What waits to be carried out, and what comes next: by priority, with a share for what has waited longest, within
//! what each handler may do at a time, and in order where a handler asks for it.
//!
//! Pure: it knows no clock and does nothing.

use super::assigned::Assigned;
use super::handler::{HIGHEST, Handler, Order};
use super::job::Job;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Of so many jobs that begin, one is the one that has waited longest, whatever its priority: so no priority starves.
pub const SHARE: u64 = 5;

/// Jobs of one key of a partition, which are carried out one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lane {
    job: Arc<str>,
    /// [`Assigned::id`]: of a partition that comes back nothing of before is waited for.
    assignment: u64,
    key: Vec<u8>,
}

impl Lane {
    /// That of a job, where its handler keeps an order and the record has a key.
    fn of(job: &Job, handler: &Handler) -> Option<Self> {
        let key = job.record.key.as_ref()?;
        (handler.order == Order::Key).then(|| Self {
            job: Arc::clone(&handler.job),
            assignment: job.at.id,
            key: key.clone(),
        })
    }
}

/// A job with its handler.
#[derive(Debug)]
pub struct Waiting {
    pub job: Job,
    pub handler: Arc<Handler>,
}

#[derive(Debug, Default)]
struct OfHandler {
    /// By priority, the lowest first.
    ready: [VecDeque<Waiting>; HIGHEST as usize],
    running: usize,
    /// Whether nothing of it may begin at present.
    is_held: bool,
    /// How many of it may run at a time at present; none for no bound.
    bound: Option<usize>,
}

/// All jobs that wait.
#[derive(Debug, Default)]
pub struct Queue {
    handlers: BTreeMap<Arc<str>, OfHandler>,
    /// Lanes of which one job is on its way, with those behind it.
    lanes: HashMap<Lane, VecDeque<Waiting>>,
    seq: u64,
    begun: u64,
}

impl Queue {
    /// Takes a job. In a lane it waits for the one before it.
    pub fn push(&mut self, mut job: Job, handler: Arc<Handler>) {
        self.seq += 1;
        job.seq = self.seq;
        let mut waiting = Waiting { job, handler };
        if let Some(lane) = Lane::of(&waiting.job, &waiting.handler) {
            waiting.job.lane = Some(lane.clone());
            if let Some(behind) = self.lanes.get_mut(&lane) {
                behind.push_back(waiting);
                return;
            }
            self.lanes.insert(lane, VecDeque::new());
        }
        self.ready(waiting);
    }

    /// A job that was on its way is to be tried again: it keeps its lane and its place.
    pub fn again(&mut self, job: Job, handler: Arc<Handler>) {
        self.ready(Waiting { job, handler });
    }

    fn ready(&mut self, waiting: Waiting) {
        let priority = waiting.job.record.priority();
        let priority = priority
            .unwrap_or(waiting.handler.priority)
            .clamp(1, HIGHEST);
        let of = self
            .handlers
            .entry(Arc::clone(&waiting.handler.job))
            .or_default();
        let list = &mut of.ready[usize::from(priority) - 1];
        // In the order in which they came: what is done behind one that is not may have to be repeated.
        let place = list.partition_point(|other| other.job.seq < waiting.job.seq);
        list.insert(place, waiting);
    }

    /// The next job that may begin; it counts as running from then on.
    pub fn next(&mut self) -> Option<(Job, Arc<Handler>)> {
        let is_share = (self.begun + 1).is_multiple_of(SHARE);
        let mut best: Option<(&Arc<str>, usize, u64)> = None;
        for (name, of) in &self.handlers {
            let bounds = [of.bound, of.limit()];
            if of.is_held
                || bounds
                    .into_iter()
                    .flatten()
                    .any(|bound| of.running >= bound)
            {
                continue;
            }
            for (priority, list) in of.ready.iter().enumerate() {
                let Some(first) = list.front() else {
                    continue;
                };
                let is_better = best.is_none_or(|(_, other, seq)| match is_share {
                    true => first.job.seq < seq,
                    false => (priority, seq) > (other, first.job.seq),
                });
                if is_better {
                    best = Some((name, priority, first.job.seq));
                }
            }
        }
        let (name, priority, _) = best?;
        let name = Arc::clone(name);
        let of = self.handlers.get_mut(&name)?;
        let waiting = of.ready[priority].pop_front()?;
        of.running += 1;
        self.begun += 1;
        Some((waiting.job, waiting.handler))
    }

    /// An attempt has ended, whatever became of it.
    pub fn ended(&mut self, handler: &Handler) {
        if let Some(of) = self.handlers.get_mut(&handler.job) {
            of.running = of.running.saturating_sub(1);
        }
    }

    /// A job is on its way no more: the next one of its lane may begin.
    pub fn release(&mut self, job: &Job) {
        let Some(lane) = &job.lane else {
            return;
        };
        let Some(behind) = self.lanes.get_mut(lane) else {
            return;
        };
        match behind.pop_front() {
            Some(next) => self.ready(next),
            None => {
                self.lanes.remove(lane);
            }
        }
    }

    /// Holds all jobs of a handler, or lets them begin again.
    pub fn hold(&mut self, job: &Arc<str>, is_held: bool) {
        self.handlers.entry(Arc::clone(job)).or_default().is_held = is_held;
    }

    /// Lets only so many jobs of a handler run at a time.
    pub fn bound(&mut self, job: &Arc<str>, bound: Option<usize>) {
        self.handlers.entry(Arc::clone(job)).or_default().bound = bound;
    }

    /// Drops the jobs of a partition that was given away. Those that are on their way are dropped where they end.
    pub fn drop_of(&mut self, gone: &Assigned) {
        for of in self.handlers.values_mut() {
            for list in &mut of.ready {
                list.retain(|waiting| waiting.job.at.id != gone.id);
            }
        }
        self.lanes.retain(|lane, _| lane.assignment != gone.id);
    }

    /// Goes by another handler for all jobs of its name that wait.
    pub fn replace(&mut self, handler: &Arc<Handler>) {
        let mut waiting = Vec::new();
        if let Some(of) = self.handlers.get_mut(&handler.job) {
            for list in &mut of.ready {
                waiting.extend(list.drain(..));
            }
        }
        for each in waiting {
            self.again(each.job, Arc::clone(handler));
        }
        let lanes = self.lanes.iter_mut();
        for (_, behind) in lanes.filter(|(lane, _)| lane.job == handler.job) {
            for each in behind {
                each.handler = Arc::clone(handler);
            }
        }
    }

    /// Takes out all jobs of a handler that wait. What is on its way keeps its lane.
    pub fn drain(&mut self, job: &Arc<str>) -> Vec<Job> {
        let mut drained = Vec::new();
        if let Some(of) = self.handlers.get_mut(job) {
            for list in &mut of.ready {
                drained.extend(list.drain(..));
            }
        }
        for (_, behind) in self.lanes.iter_mut().filter(|(lane, _)| lane.job == *job) {
            drained.extend(behind.drain(..).map(|mut waiting| {
                // It has never had it.
                waiting.job.lane = None;
                waiting
            }));
        }
        // In the order in which they came.
        drained.sort_by_key(|waiting| waiting.job.seq);
        drained.into_iter().map(|waiting| waiting.job).collect()
    }

    /// How many wait, by job.
    pub fn waiting(&self) -> BTreeMap<Arc<str>, usize> {
        let mut counts: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for (name, of) in &self.handlers {
            let ready: usize = of.ready.iter().map(VecDeque::len).sum();
            counts.insert(Arc::clone(name), ready);
        }
        for (lane, behind) in &self.lanes {
            *counts.entry(Arc::clone(&lane.job)).or_default() += behind.len();
        }
        counts
    }
}

impl OfHandler {
    /// What the handler itself allows.
    fn limit(&self) -> Option<usize> {
        let first = self.ready.iter().find_map(|list| list.front())?;
        first.handler.concurrency
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::handler::Call;
    use crate::worker::job::Record;
    use std::sync::LazyLock;
    use std::time::Duration;

    fn handler(name: &str, order: Order, concurrency: Option<usize>) -> Arc<Handler> {
        Arc::new(Handler {
            job: name.into(),
            call: Call::Exec(vec!["true".into()]),
            timeout: Duration::from_secs(1),
            retries: 0,
            backoff: Duration::from_secs(1),
            concurrency,
            order,
            priority: 10,
        })
    }

    fn job(offset: i64, key: &str, priority: Option<u8>) -> Job {
        static ASSIGNED: LazyLock<Arc<Assigned>> =
            LazyLock::new(|| Arc::new(Assigned::new("jobs.a", 0)));
        of(&ASSIGNED, offset, key, priority)
    }

    fn of(at: &Arc<Assigned>, offset: i64, key: &str, priority: Option<u8>) -> Job {
        let headers = priority.map(|priority| {
            let text = priority.to_string().into_bytes();
            ("tw-priority".to_owned(), Some(text))
        });
        let record = Record {
            topic: "jobs.a".into(),
            partition: 0,
            offset,
            key: Some(key.as_bytes().to_vec()),
            value: None,
            headers: headers.into_iter().collect(),
        };
        Job::new(record, Arc::clone(at))
    }

    fn next(queue: &mut Queue) -> Option<i64> {
        queue.next().map(|(job, _)| job.record.offset)
    }

    #[test]
    fn the_jobs_of_a_key_begin_one_after_the_other_and_others_pass() {
        let (mut queue, handler) = (Queue::default(), handler("mail", Order::Key, None));
        for (offset, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "a")] {
            queue.push(job(offset, key, None), Arc::clone(&handler));
        }
        let (first, _) = queue.next().unwrap();
        assert_eq!(first.record.offset, 1);
        assert_eq!((next(&mut queue), next(&mut queue)), (Some(3), None));
        // It is tried again, and those behind it still wait.
        queue.ended(&handler);
        queue.again(first, Arc::clone(&handler));
        let (first, _) = queue.next().unwrap();
        assert_eq!((first.record.offset, next(&mut queue)), (1, None));
        queue.ended(&handler);
        queue.release(&first);
        let (second, _) = queue.next().unwrap();
        queue.release(&second);
        let (last, _) = queue.next().unwrap();
        queue.release(&last);
        assert_eq!((second.record.offset, last.record.offset), (2, 4));
        // What waited in a lane comes before what came later.
        queue.push(job(5, "c", None), Arc::clone(&handler));
        queue.push(job(6, "c", None), Arc::clone(&handler));
        queue.push(job(7, "d", None), Arc::clone(&handler));
        let (fifth, _) = queue.next().unwrap();
        queue.release(&fifth);
        assert_eq!((next(&mut queue), next(&mut queue)), (Some(6), Some(7)));
        assert_eq!(queue.lanes.len(), 3, "those of which one has not ended");
    }

    #[test]
    fn without_an_order_no_job_waits_for_another() {
        let (mut queue, handler) = (Queue::default(), handler("mail", Order::None, None));
        for offset in 1..=3 {
            queue.push(job(offset, "a", None), Arc::clone(&handler));
        }
        let order: Vec<_> = std::iter::from_fn(|| next(&mut queue)).collect();
        assert_eq!(order, [1, 2, 3]);
    }

    #[test]
    fn a_handler_runs_no_more_jobs_than_it_may() {
        let mut queue = Queue::default();
        let (narrow, wide) = (
            handler("narrow", Order::None, Some(1)),
            handler("wide", Order::None, None),
        );
        for offset in 1..=2 {
            queue.push(job(offset, "a", None), Arc::clone(&narrow));
        }
        queue.push(job(3, "a", None), Arc::clone(&wide));
        assert_eq!((next(&mut queue), next(&mut queue)), (Some(1), Some(3)));
        assert_eq!(next(&mut queue), None);
        queue.ended(&narrow);
        queue.hold(&narrow.job, true);
        assert_eq!(next(&mut queue), None);
        queue.hold(&narrow.job, false);
        assert_eq!(next(&mut queue), Some(2));
    }

    #[test]
    fn a_higher_priority_comes_first_and_every_fifth_is_the_oldest() {
        let (mut queue, handler) = (Queue::default(), handler("mail", Order::None, None));
        queue.push(job(1, "low", Some(1)), Arc::clone(&handler));
        queue.push(job(2, "low", Some(1)), Arc::clone(&handler));
        let mut begun = Vec::new();
        for offset in 3..23 {
            // There is always something urgent.
            queue.push(job(offset, "high", Some(10)), Arc::clone(&handler));
            begun.push(next(&mut queue).unwrap());
        }
        assert_eq!(begun[..4], [3, 4, 5, 6]);
        assert_eq!((begun[4], begun[9]), (1, 2));
        assert!(begun[5] > 2 && begun[8] > 2, "{begun:?}");
    }

    #[test]
    fn what_a_lost_partition_leaves_is_dropped_and_what_a_handler_leaves_is_handed_back() {
        let (mut queue, handler) = (Queue::default(), handler("mail", Order::Key, None));
        let lost = Arc::new(Assigned::new("jobs.a", 0));
        for offset in 1..=3 {
            queue.push(of(&lost, offset, "a", None), Arc::clone(&handler));
        }
        let (running, _) = queue.next().unwrap();
        queue.drop_of(&lost);
        // It has come back, and what ran before ends only now.
        queue.push(job(1, "a", None), Arc::clone(&handler));
        queue.ended(&handler);
        queue.release(&running);
        let (again, _) = queue.next().unwrap();
        assert_eq!((again.record.offset, next(&mut queue)), (1, None));
        for offset in 2..=4 {
            queue.push(job(offset, "a", None), Arc::clone(&handler));
        }
        assert_eq!(queue.waiting()["mail"], 3);
        let drained = queue.drain(&handler.job);
        let drained: Vec<_> = drained.iter().map(|job| job.record.offset).collect();
        assert_eq!(drained, [2, 3, 4], "behind the one that runs");
        // What comes back meanwhile still waits for that one.
        queue.push(job(5, "a", None), Arc::clone(&handler));
        assert_eq!(next(&mut queue), None);
        queue.release(&again);
        assert_eq!(next(&mut queue), Some(5));
    }
}
