//! The schedules of `SCHEDULES_FILE`.

use super::set::schedule;
use crate::config::{Bootstrap, Schedules};
use crate::error::{Code, Error};
use crate::listener::file::value;
use bson::{Bson, Document};
use std::collections::BTreeSet;

/// The documents of the file; none where there is no file.
///
/// # Errors
/// [`Code::Config`] with everything that is wrong.
pub fn documents(config: &Schedules) -> Result<Vec<Document>, Error> {
    let Some(file) = &config.file else {
        return Ok(Vec::new());
    };
    read(file, config).map_err(|wrong| {
        let path = file.path.display();
        Error::new(
            Code::Config,
            format!("SCHEDULES_FILE: {path}: {}", wrong.join("; also: ")),
        )
    })
}

fn read(file: &Bootstrap, config: &Schedules) -> Result<Vec<Document>, Vec<String>> {
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
        match schedule(&document, config) {
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
