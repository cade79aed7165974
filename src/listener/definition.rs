//! A listener as its users write it: read and checked, with everything that is wrong at once.

use super::document;
use super::fields::REFUSED;
use super::filter::Filter;
use super::handler;
use crate::change::operations::Operations;
use crate::route::{Template, is_legal};
use bson::{Bson, Document, RawDocumentBuf, doc};
use std::fmt;

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The field; empty for the document as a whole.
    pub field: &'static str,
    pub sentence: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.is_empty() {
            true => f.write_str(&self.sentence),
            false => write!(f, "{}: {}", self.field, self.sentence),
        }
    }
}

/// Problems as one sentence.
pub fn told(problems: &[Problem]) -> String {
    let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
    document::plain(&problems.join("; "))
}

/// A listener that is right in itself. Whether its topic may be used is for the router to say.
#[derive(Debug)]
pub struct Definition {
    pub collection: String,
    /// None: every database that the stream watches.
    pub database: Option<String>,
    /// None: as the database's settings say.
    pub operations: Option<Operations>,
    pub filter: Filter,
    /// Decides on an event's key; none takes every document.
    pub document_key: Option<Filter>,
    pub job: String,
    pub topic: Template,
    /// The topic as it was written.
    pub topic_text: String,
    pub priority: Option<String>,
    pub is_active: bool,
}

/// The longest name of a job, in bytes.
pub const LONGEST_JOB: usize = 512;

/// What a job's topic is called where the listener names none.
const JOBS: &str = "jobs.";

impl Definition {
    /// Reads a listener's document.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn read(document: &Document) -> Result<Self, Vec<Problem>> {
        let mut reading = Reading::begin(document)?;
        let collection = reading.required_text("collection", "give a collection's name");
        if collection.starts_with("system.") {
            reading.wrong("collection", "collections of the server are never watched");
        }
        let database = reading.text("database");
        let operations = reading.operations();
        let filter = reading.filter();
        let document_key = reading.document_key();
        let job = reading.required_text("jobName", "give the name of the job");
        if job.len() > LONGEST_JOB {
            reading.wrong(
                "jobName",
                format!("has more than {LONGEST_JOB} bytes; it is a header of each record"),
            );
        }
        let (topic, topic_text) = reading.topic(&job);
        let priority = reading.priority();
        let is_active = reading.flag("isActive").unwrap_or(true);
        if let Some(unknown) = REFUSED
            .into_iter()
            .find(|name| document.contains_key(*name))
        {
            reading.wrong("", format!("{unknown} is not supported; remove it"));
        }
        for problem in handler::problems(document) {
            reading.wrong(problem.field, problem.sentence);
        }
        match (filter, document_key, topic) {
            (Some(filter), Some(document_key), Some(topic)) => reading.done(Self {
                collection,
                database,
                operations,
                filter,
                document_key,
                job,
                topic,
                topic_text,
                priority,
                is_active,
            }),
            _ => Err(reading.problems),
        }
    }
}

/// Reads fields and gathers what is wrong with them: of a listener, and of whatever else users write as one.
pub struct Reading<'a> {
    document: &'a Document,
    problems: Vec<Problem>,
}

impl<'a> Reading<'a> {
    /// # Errors
    /// What cannot be held of the document: nothing else is looked at then.
    pub fn begin(document: &'a Document) -> Result<Self, Vec<Problem>> {
        let problems = document::problems(document);
        let reading = Self { document, problems };
        match reading.problems.is_empty() {
            true => Ok(reading),
            false => Err(reading.problems),
        }
    }

    /// Takes note of what is wrong with a field.
    pub fn wrong(&mut self, field: &'static str, sentence: impl Into<String>) {
        let sentence = sentence.into();
        self.problems.push(Problem { field, sentence });
    }

    /// What was read.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn done<T>(self, read: T) -> Result<T, Vec<Problem>> {
        match self.problems.is_empty() {
            true => Ok(read),
            false => Err(self.problems),
        }
    }

    /// Everything that is wrong so far.
    pub fn problems(self) -> Vec<Problem> {
        self.problems
    }

    /// A field that is null is one that is not there.
    pub fn value(&self, field: &str) -> Option<&'a Bson> {
        let value = self.document.get(field);
        value.filter(|value| !matches!(value, Bson::Null))
    }

    /// A string that is not empty.
    pub fn text(&mut self, field: &'static str) -> Option<String> {
        match self.value(field)? {
            Bson::String(text) if !text.trim().is_empty() => Some(text.clone()),
            Bson::String(_) => {
                self.wrong(field, "is empty; give a name, or remove the field");
                None
            }
            _ => {
                self.wrong(field, "is no string; give a string");
                None
            }
        }
    }

    /// The same of a field that must be there; `right` says what would be right.
    pub fn required_text(&mut self, field: &'static str, right: &str) -> String {
        if self.value(field).is_none() {
            self.wrong(field, format!("is missing; {right}"));
        }
        self.text(field).unwrap_or_default()
    }

    /// True or false.
    pub fn flag(&mut self, field: &'static str) -> Option<bool> {
        match self.value(field)? {
            Bson::Boolean(flag) => Some(*flag),
            _ => {
                self.wrong(field, "is neither true nor false");
                None
            }
        }
    }

    /// A string, or a number that becomes one.
    pub fn priority(&mut self) -> Option<String> {
        let text = match self.value("priority")? {
            Bson::String(text) => text.clone(),
            Bson::Int32(number) => number.to_string(),
            Bson::Int64(number) => number.to_string(),
            Bson::Double(number) => number.to_string(),
            _ => {
                self.wrong("priority", "is neither a string nor a number");
                return None;
            }
        };
        if text.len() > 200 {
            self.wrong(
                "priority",
                "has more than 200 characters; it is a header of each record",
            );
            return None;
        }
        Some(text)
    }

    pub(super) fn operations(&mut self) -> Option<Operations> {
        match Operations::read(self.value("operationType")?) {
            Ok(operations) => Some(operations),
            Err(sentence) => {
                self.wrong("operationType", sentence);
                None
            }
        }
    }

    /// The filter; one that is not there matches everything. None when it is wrong.
    pub fn filter(&mut self) -> Option<Filter> {
        let parsed;
        let query = match self.value("filter") {
            None => {
                parsed = Document::new();
                &parsed
            }
            Some(Bson::Document(query)) => query,
            // Some object mappers refuse names that begin with `$`.
            Some(Bson::String(text)) => {
                let json = serde_json::from_str(text).ok();
                match json.map(|json: serde_json::Value| Bson::try_from(json)) {
                    Some(Ok(Bson::Document(query))) => {
                        parsed = query;
                        &parsed
                    }
                    _ => {
                        self.wrong(
                            "filter",
                            "is a string that is no JSON object; give a query as a document, or as \
                             Extended JSON",
                        );
                        return None;
                    }
                }
            }
            Some(_) => {
                self.wrong(
                    "filter",
                    "is no document; give a query, such as {status: \"received\"}",
                );
                return None;
            }
        };
        self.compiled("filter", query)
    }

    fn compiled(&mut self, field: &'static str, query: &Document) -> Option<Filter> {
        let compiled = match RawDocumentBuf::try_from(query) {
            Ok(raw) => Filter::compile(&raw).map_err(|error| match error.at() {
                "" => error.problem().to_owned(),
                at => format!("at {at}: {}", error.problem()),
            }),
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        match compiled {
            Ok(filter) => Some(filter),
            Err(sentence) => {
                self.wrong(field, sentence);
                None
            }
        }
    }

    /// The outer `None` is one that is wrong.
    fn document_key(&mut self) -> Option<Option<Filter>> {
        let id = match self.value("documentKey") {
            None => return Some(None),
            Some(Bson::Document(key)) => match key.get("_id") {
                Some(id) => id.clone(),
                None => {
                    self.wrong("documentKey", "has no _id; give {_id: …} or the _id itself");
                    return None;
                }
            },
            Some(Bson::RegularExpression(_)) => {
                self.wrong(
                    "documentKey",
                    "is a regular expression; give one document's _id",
                );
                return None;
            }
            Some(id) => id.clone(),
        };
        self.compiled("documentKey", &doc! {"_id": {"$eq": id}})
            .map(Some)
    }

    /// The topic, or that of the job where none is named; none where it is wrong. And as it was written.
    pub fn topic(&mut self, job: &str) -> (Option<Template>, String) {
        let (field, text) = match self.text("topic") {
            Some(text) => ("topic", text),
            None => ("jobName", format!("{JOBS}{job}")),
        };
        let illegal = |c: char| !is_legal(c) && !matches!(c, '{' | '}');
        if let Some(c) = text.chars().find(|c| illegal(*c)) {
            let right = match field {
                "topic" => "use letters, digits, ., _ and -",
                _ => "set topic, or give the job a name of letters, digits, ., _ and -",
            };
            self.wrong(
                field,
                format!("Kafka allows no {c:?} in a topic's name; {right}"),
            );
            return (None, text);
        }
        match Template::parse(&text) {
            Ok(template) => (Some(template), text),
            Err(sentence) => {
                self.wrong(field, sentence);
                (None, text)
            }
        }
    }
}

#[cfg(test)]
mod tests;
