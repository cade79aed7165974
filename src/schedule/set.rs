//! What the documents say, all together: which schedules are there, and what is wrong with the others.

use super::definition::{Kind, Schedule, title};
use super::plan::Job;
use super::record::JobRecord;
use super::refused::Refused;
use crate::config::{JsonMode, Schedules};
use crate::listener::document::{id_text, plain};
use crate::listener::told;
use crate::sink::topics::Topics;
use crate::status::schedules::{Shown, State};
use bson::{Bson, Document};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The largest record where a topic does not say how large its may be: what brokers take by default.
const LARGEST: usize = 1_000_000;

/// What one reading of the documents gave.
#[derive(Debug, Default)]
pub struct Set {
    pub schedules: Vec<Arc<Schedule>>,
    /// Those that get no job now; see [`Plan::put`](super::plan::Plan::put).
    pub held: BTreeSet<String>,
    /// Those that wait for their topic.
    pub is_waiting: bool,
    /// How large a record of a topic may be.
    pub rooms: BTreeMap<String, usize>,
    /// What is shown of each, by the text of its id.
    pub shown: Vec<(String, Shown)>,
}

/// A document by the text of its `_id`, or by its place in a file.
pub fn key(document: &Document, place: usize) -> String {
    document
        .get("_id")
        .map_or_else(|| format!("{place}"), id_text)
}

/// Reads all documents.
pub fn read(documents: &[Document], config: &Schedules, now: i64) -> Set {
    let mut set = Set::default();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut ordered: Vec<(String, &Document)> = documents
        .iter()
        .enumerate()
        .map(|(place, document)| (key(document, place), document))
        .collect();
    ordered.sort_by(|one, other| one.0.cmp(&other.0));
    for (key, document) in ordered {
        let read = schedule(document, config).and_then(|schedule| {
            match names.insert(schedule.name.clone(), key.clone()) {
                None => Ok(schedule),
                Some(first) => {
                    let sentence = format!(
                        "name: {} is also the name of the schedule with the _id {first}; give each its own",
                        plain(&schedule.name)
                    );
                    names.insert(schedule.name, first);
                    Err(sentence)
                }
            }
        });
        let mut shown = Shown {
            id: document.get("_id").cloned().unwrap_or(Bson::Null),
            name: title(document),
            timing: String::new(),
            job: String::new(),
            topic: String::new(),
            state: State::Active,
            since: now,
            next: None,
            last: None,
            produced: 0,
        };
        match read {
            Ok(schedule) => {
                shown.timing = schedule.timing();
                shown.job.clone_from(&schedule.job);
                shown.topic.clone_from(&schedule.topic);
                if !schedule.is_active {
                    shown.state = State::Disabled;
                }
                set.schedules.push(Arc::new(schedule));
            }
            Err(reason) => shown.state = State::Invalid(reason),
        }
        set.shown.push((key, shown));
    }
    set
}

/// The schedule of a document, or what is wrong with it as one sentence.
pub fn schedule(document: &Document, config: &Schedules) -> Result<Schedule, String> {
    let schedule = Schedule::read(document).map_err(|problems| told(&problems))?;
    match config.allow(&schedule.topic) {
        true => Ok(schedule),
        false => Err(format!(
            "topic: {} is none that schedules may name; LISTENERS_TOPICS allows {}, but for topics of Tailwater's own",
            schedule.topic,
            config.topics.join(", ")
        )),
    }
}

impl Set {
    /// Looks for the topics of all that are active; holds those whose topic cannot be had.
    pub async fn admit(
        &mut self,
        (topics, refused): (&Topics, &Refused),
        unit: &str,
        mode: JsonMode,
    ) {
        let mut looked: BTreeMap<String, Result<usize, String>> = BTreeMap::new();
        for schedule in &self.schedules {
            if !schedule.is_active || looked.contains_key(&schedule.topic) {
                continue;
            }
            let room = match refused.why(&schedule.topic) {
                Some(why) => Err(why.to_owned()),
                None => {
                    let look = topics.ensure_one(&schedule.topic).await;
                    look.map(|info| info.max_message_bytes.unwrap_or(LARGEST))
                        .map_err(|problem| problem.to_string())
                }
            };
            looked.insert(schedule.topic.clone(), room);
        }
        let mut states = BTreeMap::new();
        for schedule in self.schedules.iter().filter(|schedule| schedule.is_active) {
            let state = match looked.get(&schedule.topic) {
                Some(Err(problem)) => State::Waiting(problem.clone()),
                Some(Ok(room)) if matches!(schedule.kind, Kind::Timed(_)) => {
                    let job = Job {
                        schedule: Arc::clone(schedule),
                        due: 0,
                    };
                    let size = JobRecord::of(&job, unit, mode).size();
                    match size > *room {
                        true => State::Waiting(format!(
                            "payload: makes a record of about {size} bytes, and topic {} takes {room}; make it smaller, \
                             or raise max.message.bytes of the topic",
                            schedule.topic
                        )),
                        false => continue,
                    }
                }
                _ => continue,
            };
            self.held.insert(schedule.name.clone());
            states.insert(schedule.name.clone(), state);
        }
        self.is_waiting = !states.is_empty();
        let rooms = looked
            .into_iter()
            .filter_map(|(topic, room)| Some((topic, room.ok()?)));
        self.rooms = rooms.collect();
        for (_, shown) in &mut self.shown {
            if shown.state == State::Active
                && let Some(state) = states.remove(&shown.name)
            {
                shown.state = state;
            }
        }
    }
}
