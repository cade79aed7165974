//! What it takes to bring the collection to what a file says, and doing it.

use super::extended::line;
use super::{Place, files};
use crate::cli::ask::NO;
use crate::cli::print;
use crate::error::{Code, Error};
use crate::listener::document::id_text;
use crate::listener::entry;
use crate::listener::handler::{self, masked};
use crate::source::listeners::changes::{self, Change, Done};
use crate::source::listeners::collection;
use bson::{Bson, Document, doc};
use std::fmt::Write as _;
use std::path::Path;

async fn changes(place: &Place, file: &Path, prune: bool) -> Result<Vec<Change>, Error> {
    let items = files::required(file, &place.listeners.topics)?;
    let there = collection::all(&place.client, place.at()).await?;
    let changes = changes::plan(&there, &items, prune);
    for change in &changes {
        let left = match change {
            Change::Create(document) => handler::leftover(document),
            Change::Change { fields, .. } => {
                let set = fields
                    .iter()
                    .filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
                handler::leftover(&set.collect())
            }
            Change::Unchanged(_) | Change::Delete(_) => None,
        };
        if let Some(left) = left {
            return Err(Error::new(
                Code::Config,
                format!("{}: {left}", title(change)),
            ));
        }
    }
    Ok(changes)
}

/// Prints the difference; 1 where there is one.
pub(super) async fn plan(place: &Place, file: &Path, prune: bool) -> Result<u8, Error> {
    let changes = changes(place, file, prune).await?;
    let mut text: String = changes.iter().map(described).collect();
    let count = |is: fn(&Change) -> bool| changes.iter().filter(|change| is(change)).count();
    let unchanged = count(|change| matches!(change, Change::Unchanged(_)));
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "{} to create, {} to change, {} to delete, {unchanged} unchanged",
        count(|change| matches!(change, Change::Create(_))),
        count(|change| matches!(change, Change::Change { .. })),
        count(|change| matches!(change, Change::Delete(_))),
    );
    Ok(match (print(&text), unchanged == changes.len()) {
        (0, false) => NO,
        (printed, _) => printed,
    })
}

/// Does it, one listener after the other; 1 where one was left because somebody else has changed it.
pub(super) async fn apply(place: &Place, file: &Path, prune: bool) -> Result<u8, Error> {
    let changes = changes(place, file, prune).await?;
    let mut overtaken = 0;
    let mut counts = [0; 4];
    for change in &changes {
        let done = change.apply(&place.client, place.at()).await?;
        let (index, word) = match done {
            Done::Created => (0, "created"),
            Done::Changed => (1, "changed"),
            Done::Deleted => (2, "deleted"),
            Done::Unchanged => {
                counts[3] += 1;
                continue;
            }
            Done::Overtaken | Done::Taken => {
                overtaken += 1;
                let title = title(change);
                let why = match done {
                    Done::Taken => "another listener is the same by now",
                    _ => "somebody has changed it meanwhile",
                };
                print(&format!("left       {title}: {why}; run it again\n"));
                continue;
            }
        };
        counts[index] += 1;
        print(&format!("{word:<9}  {}\n", title(change)));
    }
    let [created, changed, deleted, unchanged] = counts;
    let printed = print(&format!(
        "{created} created, {changed} changed, {deleted} deleted, {unchanged} unchanged\n"
    ));
    Ok(match (printed, overtaken) {
        (0, 1..) => NO,
        (printed, _) => printed,
    })
}

fn title(change: &Change) -> String {
    let (Change::Create(document)
    | Change::Unchanged(document)
    | Change::Delete(document)
    | Change::Change { seen: document, .. }) = change;
    with_id(document)
}

fn with_id(document: &Document) -> String {
    let id = id_text(&entry::id_of(document));
    format!("{} ({id})", entry::title(document))
}

/// The lines of one change.
fn described(change: &Change) -> String {
    let title = title(change);
    let mut text = match change {
        Change::Create(_) => format!("create     {title}\n"),
        Change::Change { .. } => format!("change     {title}\n"),
        Change::Unchanged(_) => format!("unchanged  {title}\n"),
        Change::Delete(_) => format!("delete     {title}\n"),
    };
    let shown = |name: &str, value: &Bson| {
        let whole = masked(&doc! {name: value.clone()});
        whole.get(name).map_or_else(String::new, line)
    };
    let value = |name: &str, value: Option<&Bson>| {
        value.map_or_else(|| "(none)".to_owned(), |value| shown(name, value))
    };
    match change {
        Change::Create(document) => {
            for (name, after) in document {
                let _ = writeln!(text, "    {name}: {}", shown(name, after));
            }
        }
        Change::Change { seen, fields } => {
            for (name, after) in fields {
                let before = value(name, seen.get(name.as_str()));
                let _ = writeln!(
                    text,
                    "    {name}: {before} -> {}",
                    value(name, after.as_ref())
                );
            }
        }
        Change::Unchanged(_) | Change::Delete(_) => {}
    }
    text
}
