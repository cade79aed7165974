//! A schedule as its users write it: read and checked, with everything that is wrong at once.

use super::cron::{self, Line};
use super::due::Due;
use super::fields;
use super::timing::Timing;
use crate::config::nearest_of;
use crate::listener::document::{id_text, plain};
use crate::listener::{LONGEST_JOB, Problem, Reading};
use bson::{Bson, Document};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The longest name, in bytes: it is a key of records and a part of `tw-id`.
const LONGEST_NAME: usize = 256;

/// The priorities of jobs that name none.
const OF_INTERVALS: &str = "1";
const OF_TIMES: &str = "5";

/// What becomes of due times that were missed while nobody ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Missed {
    /// The last of them gets a record.
    #[default]
    Once,
    Skip,
    All,
}

/// When jobs are due.
#[derive(Debug, Clone)]
pub enum Kind {
    Timed(Timing),
    /// The documents of a collection say it.
    Due(Box<Due>),
}

/// A schedule that is right in itself.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The document's; null for one of a file.
    pub id: Bson,
    pub name: String,
    pub kind: Kind,
    pub job: String,
    pub topic: String,
    pub payload: Option<Bson>,
    pub priority: String,
    pub is_active: bool,
    pub missed: Missed,
}

impl Schedule {
    /// Reads a schedule's document.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn read(document: &Document) -> Result<Self, Vec<Problem>> {
        let mut reading = Reading::begin(document)?;
        let name = reading.required_text("name", "give the schedule a name of its own");
        if name.len() > LONGEST_NAME || name.contains(char::is_control) {
            reading.wrong(
                "name",
                format!("is no name of at most {LONGEST_NAME} bytes without control characters"),
            );
        }
        let kind = kind(&mut reading);
        let job = reading.required_text("jobName", "give the name of the job");
        if job.len() > LONGEST_JOB {
            reading.wrong(
                "jobName",
                format!("has more than {LONGEST_JOB} bytes; it is a header of each record"),
            );
        }
        let (_, topic) = reading.topic(&job);
        if topic.contains('{') {
            reading.wrong(
                "topic",
                "holds a placeholder; give a schedule one fixed topic",
            );
        }
        let otherwise = match &kind {
            Some(Kind::Timed(timing)) if !timing.is_once() => OF_INTERVALS,
            _ => OF_TIMES,
        };
        let priority = reading.priority().unwrap_or_else(|| otherwise.to_owned());
        let is_active = reading.flag("isActive").unwrap_or(true);
        let missed = missed(&mut reading);
        let payload = reading.value("payload").cloned();
        for sentence in misspelt(document) {
            reading.wrong("", sentence);
        }
        match kind {
            Some(kind) => reading.done(Self {
                id: document.get("_id").cloned().unwrap_or(Bson::Null),
                name,
                kind,
                job,
                topic,
                payload,
                priority,
                is_active,
                missed,
            }),
            None => Err(reading.problems()),
        }
    }

    /// Whether it is due once in all.
    pub fn is_once(&self) -> bool {
        matches!(&self.kind, Kind::Timed(timing) if timing.is_once())
    }

    /// When it is due, in words.
    pub fn timing(&self) -> String {
        match &self.kind {
            Kind::Timed(timing) => timing.to_string(),
            Kind::Due(due) => due.to_string(),
        }
    }
}

/// What a person calls a document, right or wrong.
pub fn title(document: &Document) -> String {
    match (document.get_str("name"), document.get("_id")) {
        (Ok(name), _) => plain(name),
        (Err(_), Some(id)) => id_text(id),
        (Err(_), None) => "?".to_owned(),
    }
}

/// None where it is wrong, which is told.
fn kind(reading: &mut Reading<'_>) -> Option<Kind> {
    let of_due = ["database", "collection", "dueField", "filter"];
    let of_time = ["cron", "every", "at"];
    let given = |reading: &Reading<'_>, names: &[&'static str]| -> Vec<&'static str> {
        let there = names.iter().filter(|name| reading.value(name).is_some());
        there.copied().collect()
    };
    let times = given(reading, &of_time);
    match reading.value("kind") {
        None => {}
        Some(Bson::String(kind)) if kind == "due" => {
            for name in times
                .into_iter()
                .chain(given(reading, &["timezone", "missed"]))
            {
                reading.wrong(
                    name,
                    "does not go together with kind: \"due\"; the documents say when they are due",
                );
            }
            return Due::read(reading).map(|due| Kind::Due(Box::new(due)));
        }
        Some(_) => {
            reading.wrong(
                "kind",
                "is not \"due\"; leave it out for cron, every and at",
            );
            return None;
        }
    }
    for name in given(reading, &of_due) {
        reading.wrong(
            name,
            "has a meaning with kind: \"due\" only; add that, or remove the field",
        );
    }
    if times != ["cron"] && reading.value("timezone").is_some() {
        reading.wrong("timezone", "has a meaning with cron only; remove it");
    }
    match times.as_slice() {
        ["cron"] => cron(reading),
        ["every"] => every(reading),
        ["at"] => at(reading),
        [] => {
            reading.wrong(
                "",
                "says not when it is due; give one of cron, every and at",
            );
            None
        }
        several => {
            let sentence = format!("has {} at once; give one of them", several.join(" and "));
            reading.wrong("", sentence);
            None
        }
    }
    .map(Kind::Timed)
}

fn cron(reading: &mut Reading<'_>) -> Option<Timing> {
    let name = reading.text("timezone").unwrap_or_else(|| "UTC".to_owned());
    let zone = TimeZone::get(&name);
    if zone.is_err() {
        reading.wrong(
            "timezone",
            format!("{name} is no time zone of the IANA database; give one such as Europe/Berlin"),
        );
    }
    let text = reading.text("cron")?;
    let line = match Line::parse(&text, zone.unwrap_or(TimeZone::UTC)) {
        Ok(line) => line,
        Err(sentence) => {
            reading.wrong("cron", sentence);
            return None;
        }
    };
    if line.next_after(Timestamp::now().as_second()).is_none() {
        reading.wrong("cron", format!("{text} never comes; {}", cron::RIGHT));
    }
    Some(Timing::Cron(Box::new(line)))
}

fn every(reading: &mut Reading<'_>) -> Option<Timing> {
    let text = reading.text("every")?;
    match Timing::every(&text) {
        Ok(timing) => Some(timing),
        Err(sentence) => {
            reading.wrong("every", sentence);
            None
        }
    }
}

fn at(reading: &mut Reading<'_>) -> Option<Timing> {
    let at = match reading.value("at")? {
        Bson::DateTime(at) => Some(at.timestamp_millis()),
        Bson::String(text) => text
            .parse::<Timestamp>()
            .ok()
            .map(Timestamp::as_millisecond),
        _ => None,
    };
    // What no calendar here has is none either.
    let at = at.filter(|at| Timestamp::from_millisecond(*at).is_ok());
    if at.is_none() {
        reading.wrong(
            "at",
            "is no time; give a date, or a string such as 2027-01-31T12:00:00Z",
        );
    }
    at.map(Timing::At)
}

fn missed(reading: &mut Reading<'_>) -> Missed {
    match reading.value("missed") {
        None => Missed::Once,
        Some(Bson::String(text)) if text == "once" => Missed::Once,
        Some(Bson::String(text)) if text == "skip" => Missed::Skip,
        Some(Bson::String(text)) if text == "all" => Missed::All,
        Some(_) => {
            reading.wrong("missed", "is none of \"once\", \"skip\" and \"all\"");
            Missed::Once
        }
    }
}

/// Fields that are probably meant for us. Others are the users' own.
fn misspelt(document: &Document) -> Vec<String> {
    let known = || fields::ALL.iter().map(|field| field.name);
    let unknown = document
        .keys()
        .filter(|name| !known().any(|known| known == *name));
    let sentence = |name: &String| {
        let meant = nearest_of(name, known())?;
        Some(format!(
            "{} is no field; did you mean {meant}?",
            plain(name)
        ))
    };
    unknown.filter_map(sentence).collect()
}

#[cfg(test)]
mod tests;
