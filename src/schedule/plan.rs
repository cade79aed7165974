//! What is due next: schedules with how far each is, by time. Pure; all times are milliseconds since the Unix epoch.

use super::definition::{Kind, Missed, Schedule};
use super::timing::Timing;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

/// How far a schedule is: what is stored of it, in the transaction of its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The timing that it is of: another one begins anew.
    pub timing: String,
    /// What was due until then has its record, or gets none. None of one time that is still to come.
    pub until: Option<i64>,
    /// Since when there is no such schedule, or an inactive one.
    pub gone: Option<i64>,
}

/// A job that is due.
#[derive(Debug, Clone)]
pub struct Job {
    pub schedule: Arc<Schedule>,
    pub due: i64,
}

/// How long the progress of a schedule is kept that is gone: it may come back, as from a backup.
const KEPT: i64 = 30 * 86_400_000;

/// Schedules in the order of their times.
#[derive(Debug, Default)]
pub struct Plan {
    schedules: BTreeMap<String, Entry>,
    /// What is stored, or is to be.
    progress: BTreeMap<String, Progress>,
    /// Those whose progress is not stored yet.
    unstored: BTreeSet<String>,
    /// The next time of each; also some that are no more.
    heap: BinaryHeap<Reverse<(i64, String)>>,
}

#[derive(Debug)]
struct Entry {
    schedule: Arc<Schedule>,
    timing: Timing,
    next: Option<i64>,
}

impl Plan {
    /// With what is stored.
    pub fn new(progress: BTreeMap<String, Progress>) -> Self {
        Self {
            progress,
            ..Self::default()
        }
    }

    /// From now on these schedules are there, and no others. Those that are `held` get no job until they are put again:
    /// what is due meanwhile is not lost.
    pub fn put(&mut self, schedules: &[Arc<Schedule>], held: &BTreeSet<String>, now: i64) {
        self.heap.clear();
        self.schedules.clear();
        for schedule in schedules.iter().filter(|schedule| schedule.is_active) {
            let Kind::Timed(timing) = &schedule.kind else {
                continue;
            };
            let name = &schedule.name;
            let reached = self.reached(name, timing, now);
            let next = match held.contains(name) {
                true => None,
                false => timing.next_after(reached),
            };
            if let Some(next) = next {
                self.heap.push(Reverse((next, name.clone())));
            }
            let entry = Entry {
                schedule: Arc::clone(schedule),
                timing: timing.clone(),
                next,
            };
            self.schedules.insert(name.clone(), entry);
        }
        for (name, progress) in &mut self.progress {
            if progress.gone.is_none() && !self.schedules.contains_key(name) {
                progress.gone = Some(now);
                self.unstored.insert(name.clone());
            }
        }
    }

    /// Until when a schedule has come, which is there now.
    fn reached(&mut self, name: &str, timing: &Timing, now: i64) -> i64 {
        let text = timing.to_string();
        let known = self.progress.get(name);
        let until = match (known, timing) {
            // One time is due once, whatever became of its schedule in between.
            (Some(known), Timing::At(_)) if known.timing == text => known.until,
            (_, Timing::At(_)) => None,
            (Some(known), _) if known.timing == text && known.gone.is_none() => known.until,
            // What was due while it was not there, or was another, is none of its times.
            _ => Some(now),
        };
        let progress = Progress {
            timing: text,
            until,
            gone: None,
        };
        if known != Some(&progress) {
            self.progress.insert(name.to_owned(), progress);
            self.unstored.insert(name.to_owned());
        }
        until.unwrap_or(i64::MIN)
    }

    /// When the next one is due.
    pub fn next(&mut self) -> Option<i64> {
        loop {
            let Reverse((due, name)) = self.heap.peek()?;
            if self.is_next(name, *due) {
                return Some(*due);
            }
            self.heap.pop();
        }
    }

    /// When this one is due next.
    pub fn next_of(&self, name: &str) -> Option<i64> {
        self.schedules.get(name)?.next
    }

    /// Whether this one is due once in all.
    pub fn is_once(&self, name: &str) -> bool {
        self.schedules
            .get(name)
            .is_some_and(|entry| entry.timing.is_once())
    }

    /// What was due of this one until when.
    pub fn progress(&self, name: &str) -> Option<&Progress> {
        self.progress.get(name)
    }

    fn is_next(&self, name: &str, due: i64) -> bool {
        self.schedules
            .get(name)
            .is_some_and(|entry| entry.next == Some(due))
    }

    /// At most so many jobs that are due by now, the oldest first. What was due before `since`, when nobody ran, is
    /// missed. They count as done: whoever cannot store that begins anew from what is stored.
    pub fn take(&mut self, now: i64, since: i64, most: usize) -> Vec<Job> {
        let mut jobs = Vec::new();
        while jobs.len() < most && self.next().is_some_and(|due| due <= now) {
            let Some(Reverse((due, name))) = self.heap.pop() else {
                break;
            };
            let Some(entry) = self.schedules.get_mut(&name) else {
                continue;
            };
            let missed = entry.schedule.missed;
            let until = match missed {
                Missed::Once | Missed::Skip if due < since => {
                    entry.timing.latest(due - 1, since - 1).unwrap_or(due)
                }
                _ => due,
            };
            if missed != Missed::Skip || due >= since {
                jobs.push(Job {
                    schedule: Arc::clone(&entry.schedule),
                    due: until,
                });
            }
            entry.next = entry.timing.next_after(until);
            if let Some(next) = entry.next {
                self.heap.push(Reverse((next, name.clone())));
            }
            if let Some(progress) = self.progress.get_mut(&name) {
                progress.until = Some(until);
            }
            self.unstored.insert(name);
        }
        jobs
    }

    /// Takes the progress that is to be stored, at most so much; none stands for what need not be kept.
    pub fn take_unstored(&mut self, most: usize) -> Vec<(String, Option<Progress>)> {
        let names = self.unstored.iter().take(most).cloned();
        let names: Vec<_> = names.collect();
        let of = |name: String| {
            self.unstored.remove(&name);
            let progress = self.progress.get(&name).cloned();
            (name, progress)
        };
        names.into_iter().map(of).collect()
    }

    /// Forgets what has been gone for long.
    pub fn forget(&mut self, now: i64) {
        let is_old = |progress: &Progress| progress.gone.is_some_and(|gone| now - gone > KEPT);
        let old = self
            .progress
            .iter()
            .filter(|(_, progress)| is_old(progress));
        let old: Vec<_> = old.map(|(name, _)| name.clone()).collect();
        for name in old {
            self.progress.remove(&name);
            self.unstored.insert(name);
        }
    }
}

#[cfg(test)]
mod tests;
