//! The schedules of `SCHEDULES_FILE`.

use super::definition::Schedule;
use super::set::schedule;
use crate::config::{Bootstrap, Schedules};
use crate::error::{Code, Error};
use crate::listener::file::value;
use crate::listener::told;
use bson::{Bson, Document};
use std::collections::BTreeSet;
use std::path::Path;

/// The documents of the file; none where there is no file.
///
/// # Errors
/// [`Code::Config`] with everything that is wrong.
pub fn documents(config: &Schedules) -> Result<Vec<Document>, Error> {
    let Some(file) = &config.file else {
        return Ok(Vec::new());
    };
    let read = read(file, |document| schedule(document, config));
    read.map_err(|wrong| {
        let path = file.path.display();
        Error::new(
            Code::Config,
            format!("SCHEDULES_FILE: {path}: {}", wrong.join("; also: ")),
        )
    })
}

/// Reads a file without a configuration: what only that allows or refuses is not looked at.
///
/// # Errors
/// Everything that is wrong.
pub fn lint(path: &Path, text: &str) -> Result<Vec<Schedule>, Vec<String>> {
    let file = Bootstrap {
        path: path.to_owned(),
        text: text.to_owned(),
    };
    let right = read(&file, |document| {
        Schedule::read(document).map_err(|problems| told(&problems))
    })?;
    // They were right just now.
    let schedules = right.iter().map(Schedule::read);
    Ok(schedules.filter_map(Result::ok).collect())
}

/// The documents of a file, where all are right.
fn read(
    file: &Bootstrap,
    schedule: impl Fn(&Document) -> Result<Schedule, String>,
) -> Result<Vec<Document>, Vec<String>> {
    let list = match value(&file.path, &file.text).map_err(|sentence| vec![sentence])? {
        Bson::Array(list) => list,
        Bson::Document(mut object) => match object.remove("schedules") {
            Some(Bson::Array(list)) if object.is_empty() => list,
            _ => return Err(vec![SHAPE.to_owned()]),
        },
        _ => return Err(vec![SHAPE.to_owned()]),
    };
    let (mut documents, mut wrong) = (Vec::new(), Vec::new());
    let mut names = BTreeSet::new();
    for (index, each) in list.into_iter().enumerate() {
        let Bson::Document(document) = each else {
            wrong.push(format!(
                "schedules[{index}]: is no object; give a schedule's fields"
            ));
            continue;
        };
        match schedule(&document) {
            Ok(schedule) if !names.insert(schedule.name.clone()) => {
                wrong.push(format!(
                    "schedules[{index}]: another one has the name {}, too",
                    schedule.name
                ));
            }
            Ok(_) => documents.push(document),
            Err(sentence) => wrong.push(format!("schedules[{index}]: {sentence}")),
        }
    }
    match wrong.is_empty() {
        true => Ok(documents),
        false => Err(wrong),
    }
}

/// A document that has an `_id`: its name where it has none.
pub fn with_id(document: Document) -> Document {
    if document.contains_key("_id") {
        return document;
    }
    let name = document.get("name").cloned().unwrap_or(Bson::Null);
    let mut whole = bson::doc! {"_id": name};
    whole.extend(document);
    whole
}

const SHAPE: &str = "holds no schedules; give a list of them, or {schedules: [...]}";
