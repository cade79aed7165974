//! What is asked about schedules, and done about them, from outside: by any instance, whichever runs them.

use super::definition::{Kind, Schedule};
use super::documents;
use super::set;
use super::unit::Unit;
use crate::config::Schedules;
use crate::error::Error;
use crate::status::schedules::{Phase, Shown, State};
use bson::Document;
use mongodb::Client;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The schedules of this process, for whoever asks.
#[derive(Debug)]
pub struct Desk {
    pub unit: Arc<Unit>,
    pub config: Arc<Schedules>,
    /// Those of `SCHEDULES_FILE`.
    pub documents: Arc<Vec<Document>>,
}

/// One schedule.
#[derive(Debug)]
pub struct Listed {
    /// The text of its `_id`, or its place in the file.
    pub key: String,
    pub document: Document,
    pub shown: Shown,
    /// When it is due next, in milliseconds since the Unix epoch.
    pub times: Vec<i64>,
}

impl Desk {
    /// All schedules, by the text of their ids, each with so many of its next times.
    ///
    /// # Errors
    /// What the server answers.
    pub async fn list(&self, client: &Client, times: usize) -> Result<Vec<Listed>, Error> {
        let documents = match &self.config.at {
            Some(at) => documents::all(client, at).await?,
            None => self.documents.as_ref().clone(),
        };
        let now = jiff::Timestamp::now().as_millisecond();
        let set = set::read(&documents, &self.config, now);
        let schedules: BTreeMap<&str, &Arc<Schedule>> = set
            .schedules
            .iter()
            .map(|it| (it.name.as_str(), it))
            .collect();
        let is_here = self.unit.board.phase() == Phase::Running;
        let mut board: BTreeMap<String, Shown> = match is_here {
            true => self.unit.board.all().into_iter().collect(),
            false => BTreeMap::new(),
        };
        let mut by_key: BTreeMap<String, Document> = BTreeMap::new();
        for (place, document) in documents.into_iter().enumerate() {
            by_key.insert(set::key(&document, place), document);
        }
        let listed = set.shown.into_iter().filter_map(|(key, read)| {
            let document = by_key.remove(&key)?;
            let shown = match board.remove(&key) {
                // It may have been changed in this moment.
                Some(seen) if seen.timing == read.timing => seen,
                _ => of_status(read, &document),
            };
            let is_right = matches!(shown.state, State::Active | State::Waiting(_));
            let schedule = schedules.get(shown.name.as_str()).filter(|_| is_right);
            let times = schedule.map_or_else(Vec::new, |it| next_times(it, now, times));
            Some(Listed {
                key,
                document,
                shown,
                times,
            })
        });
        Ok(listed.collect())
    }
}

fn next_times(schedule: &Schedule, now: i64, most: usize) -> Vec<i64> {
    let Kind::Timed(timing) = &schedule.kind else {
        return Vec::new();
    };
    let first = timing.next_after(now);
    let all = std::iter::successors(first, |due| timing.next_after(*due));
    all.take(most).collect()
}

/// What the instance that runs it has written into its document.
fn of_status(mut shown: Shown, document: &Document) -> Shown {
    let Ok(status) = document.get_document("status") else {
        return shown;
    };
    let time = |field: &str| {
        status
            .get_datetime(field)
            .ok()
            .map(|at| at.timestamp_millis())
    };
    shown.last = time("lastScheduledFor");
    if shown.state == State::Active {
        shown.next = time("nextAt");
        let reason = status.get_str("reason").unwrap_or_default().to_owned();
        match status.get_str("state") {
            Ok("done") => shown.state = State::Done,
            Ok("waiting") => shown.state = State::Waiting(reason),
            _ => {}
        }
    }
    shown
}
