//! Changing listeners: each change only while the document is still as it was read.

use super::Place;
use crate::api::etag::{self, IfMatch};
use crate::api::problem::Problem;
use crate::listener::Problem as Wrong;
use crate::listener::document::{held, id_text};
use crate::listener::entry::{self, Entry};
use crate::listener::handler;
use crate::source::listeners::changes::{Change, Done, difference, of_file};
use crate::source::listeners::create::{Created, create};
use axum::http::StatusCode;
use bson::{Bson, Document};

/// How often a change that named no state is tried again on the next one.
const TRIES: usize = 5;

/// Creates it; the whole document.
pub(in crate::api) async fn created(place: &Place, sent: &Document) -> Result<Document, Problem> {
    let document = of_file(sent);
    check(place, &document)?;
    match create(&place.client, place.at(), &document).await? {
        Created::New(id) => {
            let id = id_text(&id);
            tracing::info!(
                listener = id,
                "created by a call: {}",
                entry::title(&document)
            );
            place.one(&id).await
        }
        Created::Kept(id) => Err(Problem::new(
            StatusCode::CONFLICT,
            "exists",
            format!(
                "the listener {} has the same _id, or the same database, collection, jobName and documentKey; change that one",
                id_text(&id)
            ),
        )),
    }
}

/// Changes it to what `wanted` makes of it, only while it is as it was read; the whole document.
pub(in crate::api) async fn changed(
    place: &Place,
    id: &str,
    expected: &IfMatch,
    wanted: impl Fn(&Document) -> Document,
) -> Result<Document, Problem> {
    let change = |seen: Document| {
        let there = of_file(&seen);
        let mut wanted = of_file(&wanted(&there));
        handler::restore(&mut wanted, &there);
        if let Some(own) = there.get("_id") {
            match wanted.get("_id") {
                Some(other) if other != own => return Err(other_id(id)),
                _ => wanted.insert("_id", own.clone()),
            };
        }
        check(place, &wanted)?;
        let fields = difference(&there, &wanted);
        Ok(match fields.is_empty() {
            true => Change::Unchanged(seen),
            false => Change::Change { seen, fields },
        })
    };
    match settled(place, id, expected, change).await? {
        Done::Taken => Err(Problem::new(
            StatusCode::CONFLICT,
            "exists",
            "another listener has that database, collection, jobName and documentKey; change that one",
        )),
        done => {
            if done != Done::Unchanged {
                tracing::info!(listener = id, "changed by a call");
            }
            place.one(id).await
        }
    }
}

/// Deletes it, only while it is as it was read.
pub(in crate::api) async fn deleted(
    place: &Place,
    id: &str,
    expected: &IfMatch,
) -> Result<(), Problem> {
    settled(place, id, expected, |seen| Ok(Change::Delete(seen))).await?;
    tracing::info!(listener = id, "deleted by a call");
    Ok(())
}

/// Applies a change to what is read. If somebody was faster, it is tried again on what is there by then, where no state
/// was named.
async fn settled(
    place: &Place,
    id: &str,
    expected: &IfMatch,
    change: impl Fn(Document) -> Result<Change, Problem>,
) -> Result<Done, Problem> {
    for _ in 0..TRIES {
        let seen = place.one(id).await?;
        expected.admit(&seen)?;
        match change(seen)?.apply(&place.client, place.at()).await? {
            Done::Overtaken => match expected {
                IfMatch::These(_) => return Err(etag::changed()),
                IfMatch::Absent | IfMatch::Any => {}
            },
            done => return Ok(done),
        }
    }
    Err(Problem::conflict(
        "others change this listener all the time; read it, and send If-Match",
    ))
}

/// As `tailwater listeners lint` does, with the topics that may be named here.
fn check(place: &Place, document: &Document) -> Result<Entry, Problem> {
    let mut whole = document.clone();
    whole.insert("_id", entry::id_of(document));
    if held(&whole).is_none() {
        return Err(Problem::invalid(&[Wrong {
            field: "_id",
            sentence: "is too large, nested too deep, or looks like Extended JSON; leave it out, or give another"
                .to_owned(),
        }]));
    }
    let entry = entry::read(document).map_err(|problems| Problem::invalid(&problems))?;
    let mut wrong = crate::worker::handler::problems(document);
    wrong.extend(handler::leftover(document));
    if !wrong.is_empty() {
        return Err(Problem::invalid(&wrong));
    }
    match entry::not_allowed(&entry, &place.listeners.topics) {
        None => Ok(entry),
        Some(problem) => Err(Problem::invalid(&[problem])),
    }
}

fn other_id(id: &str) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "invalid_listener",
        format!(
            "_id: is not {id}, and cannot be changed; leave it out, or create another listener"
        ),
    )
}

/// RFC 7396.
pub(in crate::api) fn merged(there: &Document, patch: &Document) -> Document {
    let mut merged = there.clone();
    for (name, value) in patch {
        match value {
            Bson::Null => {
                merged.remove(name);
            }
            Bson::Document(inner) => {
                let before = match merged.get(name) {
                    Some(Bson::Document(before)) => before.clone(),
                    _ => Document::new(),
                };
                merged.insert(name, self::merged(&before, inner));
            }
            other => {
                merged.insert(name, other.clone());
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn a_merge_patch_changes_what_it_names() {
        let there = doc! {"a": 1, "filter": {"x": 1, "y": {"$gt": 2}}, "metadata": {"m": 1}};
        let patch =
            doc! {"a": null, "filter": {"y": {"$lt": 3}}, "metadata": "gone", "b": {"c": null}};
        let wanted =
            doc! {"filter": {"x": 1, "y": {"$gt": 2, "$lt": 3}}, "metadata": "gone", "b": {}};
        assert_eq!(merged(&there, &patch), wanted);
    }
}
