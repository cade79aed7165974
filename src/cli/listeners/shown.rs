//! The collection as it is.

use super::Place;
use super::extended::{json, text, yaml};
use crate::cli::ask::NO;
use crate::cli::complain;
use crate::cli::{Output, print};
use crate::error::{Code, Error};
use crate::listener::document::plain;
use crate::listener::entry;
use crate::listener::handler::masked;
use crate::source::listeners::changes::of_file;
use crate::source::listeners::collection;
use bson::{Bson, Document, doc};
use std::fmt::Write as _;

/// What the document says, and whether that is right.
fn state(document: &Document) -> String {
    let state = entry::state(document);
    match state.reason() {
        Some(reason) => format!("{}: {reason}", state.name()),
        None => state.name().to_owned(),
    }
}

/// What the streams say of it.
fn statuses(document: &Document) -> Vec<String> {
    let streams = document
        .get_document("status")
        .and_then(|status| status.get_document("streams"));
    let said = |(stream, status): (&String, &Bson)| {
        let status = status.as_document()?;
        let count = |field: &str| match status.get(field) {
            Some(Bson::Int64(count)) => *count,
            Some(Bson::Int32(count)) => i64::from(*count),
            _ => 0,
        };
        let mut text = format!(
            "{stream}: {}, {} matched, {} produced",
            status.get_str("state").unwrap_or("unknown"),
            count("matched"),
            count("produced"),
        );
        for (name, field) in [("undecided", "undecided"), ("refused", "refused")] {
            if count(field) > 0 {
                let _ = write!(text, ", {} {name}", count(field));
            }
        }
        if let Ok(reason) = status.get_str("reason") {
            let _ = write!(text, " ({reason})");
        }
        Some(text)
    };
    streams.into_iter().flatten().filter_map(said).collect()
}

pub(super) async fn list(place: &Place, output: Output) -> Result<u8, Error> {
    let documents = collection::all(&place.client, place.at()).await?;
    if output == Output::Json {
        let all = documents.iter().map(masked).map(Bson::Document).collect();
        return Ok(print(&json(&Bson::Array(all))));
    }
    let mut out = String::new();
    for document in &documents {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{}  {}  {}",
            entry::name(document),
            entry::title(document),
            state(document)
        );
        for status in statuses(document) {
            let _ = writeln!(out, "    {}", plain(&status));
        }
    }
    let _ = writeln!(out, "{} in {}", documents.len(), place.at());
    Ok(print(&out))
}

pub(super) async fn show(place: &Place, id: &str, output: Output) -> Result<u8, Error> {
    let documents = collection::all(&place.client, place.at()).await?;
    let Some(found) = documents
        .iter()
        .find(|document| entry::name(document) == id)
    else {
        complain(&format!(
            "no listener has the _id {id}; `tailwater listeners list` shows them"
        ));
        return Ok(NO);
    };
    Ok(print(&match output {
        Output::Json => json(&Bson::Document(masked(found))),
        Output::Text => format!("# {}\n{}", state(found), text(&masked(found))),
    }))
}

/// What brings an editor to check the file while it is written.
const MODELINE: &str = "# yaml-language-server: $schema=listeners.schema.json\n";

pub(super) async fn export(place: &Place, is_json: bool) -> Result<u8, Error> {
    let documents = collection::all(&place.client, place.at()).await?;
    let (mut listeners, mut databases) = (Vec::new(), Vec::new());
    for document in &documents {
        let said = of_file(&masked(document));
        match said.get_str("kind") {
            Ok("database") => databases.push(said),
            _ => listeners.push(said),
        }
    }
    let whole = Bson::Document(doc! {"listeners": listeners, "databases": databases});
    if is_json {
        return Ok(print(&json(&whole)));
    }
    let text = yaml(&whole).map_err(|problem| {
        let detail = format!("the listeners cannot be written as YAML: {problem}; try --json");
        Error::new(Code::Internal, detail)
    })?;
    Ok(print(&format!("{MODELINE}{text}")))
}
