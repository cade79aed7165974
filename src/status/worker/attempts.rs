//! Jobs that run, and what was tried of those that failed: for people who look, not for what the worker does. Bounded.

use super::super::values::now_millis;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

/// So many jobs that failed are remembered.
const JOBS: usize = 1000;
/// So many attempts of each, the last ones.
const ATTEMPTS: usize = 20;
/// So many jobs are remembered as retried by a call.
const RETRIED: usize = 10_000;

/// Which job it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Which {
    /// Its `tw-id`.
    pub id: String,
    /// Its name.
    pub job: String,
    /// The topic, the partition and the offset of its record.
    pub place: String,
}

/// An attempt that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    pub which: Which,
    /// Which attempt it is, from 1 on.
    pub number: u32,
    /// In milliseconds since 1970.
    pub since: i64,
}

/// An attempt that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub number: u32,
    /// When it began, in milliseconds since 1970.
    pub at: i64,
    pub took: Duration,
    /// Why it failed, a stable name; none where it did its work.
    pub reason: Option<&'static str>,
    /// Of the answer, or of the program.
    pub status: Option<i32>,
    /// In words.
    pub detail: Option<String>,
}

/// How a job is that has failed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for its next attempt.
    Waiting,
    Running,
    Completed,
    /// For good.
    Failed,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// A job that has failed once, as far as this worker has tried it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    pub which: Which,
    pub state: State,
    /// When it is tried again, in milliseconds since 1970.
    pub due: Option<i64>,
    pub attempts: VecDeque<Attempt>,
}

#[derive(Debug, Default)]
pub struct Attempts {
    running: BTreeMap<u64, Running>,
    begun: u64,
    tried: HashMap<String, Tried>,
    /// Their ids, the one that failed first at the front.
    order: VecDeque<String>,
    /// When a job was retried by a call, in milliseconds since 1970.
    retried: HashMap<String, i64>,
}

impl Attempts {
    /// An attempt begins; its number here.
    pub fn begin(&mut self, which: Which, number: u32) -> u64 {
        if let Some(tried) = self.tried.get_mut(&which.id) {
            (tried.state, tried.due) = (State::Running, None);
        }
        self.begun += 1;
        let since = now_millis();
        let running = Running {
            which,
            number,
            since,
        };
        self.running.insert(self.begun, running);
        self.begun
    }

    /// It runs no more; what it was.
    pub fn end(&mut self, begun: u64) -> Option<Running> {
        self.running.remove(&begun)
    }

    /// It has failed. What becomes of the job is said behind that.
    pub fn failed(&mut self, which: Which, attempt: Attempt) {
        let tried = self.tried(which);
        tried.state = State::Waiting;
        tried.attempts.push_back(attempt);
        if tried.attempts.len() > ATTEMPTS {
            tried.attempts.pop_front();
        }
    }

    /// It did its work: of interest where it failed before.
    pub fn completed(&mut self, id: &str, attempt: Attempt) {
        if let Some(tried) = self.tried.get_mut(id) {
            (tried.state, tried.due) = (State::Completed, None);
            tried.attempts.push_back(attempt);
        }
    }

    /// When a job is tried again.
    pub fn waits(&mut self, id: &str, due: i64) {
        if let Some(tried) = self.tried.get_mut(id) {
            tried.due = Some(due);
        }
    }

    /// It has failed for good, perhaps without an attempt.
    pub fn gave_up(&mut self, which: Which) {
        let tried = self.tried(which);
        (tried.state, tried.due) = (State::Failed, None);
    }

    fn tried(&mut self, which: Which) -> &mut Tried {
        if !self.tried.contains_key(&which.id) {
            self.order.push_back(which.id.clone());
            if self.order.len() > JOBS
                && let Some(oldest) = self.order.pop_front()
            {
                self.tried.remove(&oldest);
            }
        }
        self.tried.entry(which.id.clone()).or_insert_with(|| Tried {
            which,
            state: State::Waiting,
            due: None,
            attempts: VecDeque::new(),
        })
    }

    /// The attempts that run, those that began first at the front, and how many there are.
    pub fn running(&self, most: usize) -> (Vec<Running>, usize) {
        let some = self.running.values().take(most).cloned();
        (some.collect(), self.running.len())
    }

    /// The jobs that failed once and are not done, the last of them at the front.
    pub fn waiting(&self, most: usize) -> Vec<Tried> {
        let all = self.order.iter().rev().filter_map(|id| self.tried.get(id));
        let open = all.filter(|it| matches!(it.state, State::Waiting | State::Running));
        open.take(most).cloned().collect()
    }

    /// What was tried of a job, where it is remembered.
    pub fn of(&self, id: &str) -> Option<Tried> {
        self.tried.get(id).cloned()
    }

    /// A job was retried by a call, at this time in milliseconds since 1970.
    pub fn note_retried(&mut self, id: &str, at: i64) {
        if self.retried.len() >= RETRIED {
            // Who retries so many has not kept track of each of them.
            self.retried.clear();
        }
        self.retried.insert(id.to_owned(), at);
    }

    /// When that was.
    pub fn retried(&self, id: &str) -> Option<i64> {
        self.retried.get(id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn which(id: &str) -> Which {
        Which {
            id: id.to_owned(),
            job: "mail".to_owned(),
            place: "jobs.mail/0/7".to_owned(),
        }
    }

    fn attempt(number: u32, reason: Option<&'static str>) -> Attempt {
        Attempt {
            number,
            at: 5,
            took: Duration::from_millis(3),
            reason,
            status: None,
            detail: None,
        }
    }

    #[test]
    fn what_failed_is_remembered_until_it_is_done_and_what_did_not_is_no_burden() {
        let mut all = Attempts::default();
        let (good, bad) = (all.begin(which("good"), 1), all.begin(which("bad"), 1));
        assert_eq!((all.running(1).0.len(), all.running(9).1), (1, 2));
        assert_eq!(all.end(good).unwrap().which.id, "good");
        all.completed("good", attempt(1, None));
        all.end(bad);
        all.failed(which("bad"), attempt(1, Some("status")));
        all.waits("bad", 99);
        assert_eq!(all.of("good"), None);
        let waiting = all.waiting(9);
        assert_eq!((waiting.len(), waiting[0].due), (1, Some(99)));
        let again = all.begin(which("bad"), 2);
        let running = all.of("bad").unwrap();
        assert_eq!((running.state, running.due), (State::Running, None));
        all.end(again);
        all.completed("bad", attempt(2, None));
        let done = all.of("bad").unwrap();
        assert_eq!((done.state, done.attempts.len()), (State::Completed, 2));
        assert!(all.waiting(9).is_empty());
        // One that had no handler was never tried.
        all.gave_up(which("none"));
        assert_eq!(all.of("none").unwrap().state, State::Failed);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut all = Attempts::default();
        for number in 0..=JOBS {
            all.failed(which(&number.to_string()), attempt(1, Some("timeout")));
        }
        assert_eq!((all.of("0"), all.tried.len()), (None, JOBS));
        for number in 0..50 {
            all.failed(which("1"), attempt(number, Some("timeout")));
        }
        let attempts = all.of("1").unwrap().attempts;
        assert_eq!((attempts.len(), attempts[0].number), (ATTEMPTS, 30));
    }
}
