//! A listener's document as it is held: what of it counts, and how its changes are applied.

mod held;

pub use held::{held, problems, without_fields};

use super::fields;
use crate::change::event::{Event, Operation};
use crate::change::extended_json::Extended;
use crate::change::raw::{self, Element};
use bson::oid::ObjectId;
use bson::{Bson, Document, RawDocument};
use serde::de::IgnoredAny;
use serde_json::Value;

/// A listener's `_id` as text: in headers, metrics and logs. No two `_id`s have the same: a string that another
/// value is written like stands in quotation marks.
pub fn id_text(id: &Bson) -> String {
    match id {
        Bson::ObjectId(id) => id.to_hex(),
        Bson::String(text) if is_written_like_another(text) => {
            plain(&Value::from(text.as_str()).to_string())
        }
        Bson::String(text) => text.clone(),
        other => Extended::relaxed(other).line(),
    }
}

fn is_written_like_another(text: &str) -> bool {
    ObjectId::parse_str(text).is_ok()
        || serde_json::from_str::<IgnoredAny>(text).is_ok()
        // Neither a log nor a terminal is to be written to by whoever writes listeners.
        || text.contains(char::is_control)
}

/// Text of a listener as it is shown: control characters by their numbers.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
    }
    plain
}

/// Why a document, or a field, is left out that the server has and this program cannot read.
pub const UNREADABLE: &str = "cannot be read: it holds text that is not valid UTF-8";

/// An `_id` whose text is longer is no listener's: it becomes a header of each record.
pub const LONGEST_ID: usize = 512;

/// What an event makes of a listener's document.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It holds this now.
    Put(Document),
    /// It is gone.
    Removed,
    /// Nothing that counts has changed, as after a write of the document's status.
    Nothing,
}

/// What an event of the listeners' collection makes of the document that is `held`. An update is applied from
/// its description: a document that the server looks up may be of a later time.
pub fn change(held_before: Option<&Document>, event: &Event<'_>) -> Change {
    match event.operation {
        Operation::Delete => match held_before {
            Some(_) => Change::Removed,
            None => Change::Nothing,
        },
        Operation::Insert | Operation::Replace => {
            let document = event.full_document.and_then(|full| full.as_document());
            let after = match document.map(document_of) {
                Some(Some(document)) => held(&document),
                Some(None) => without(event, UNREADABLE),
                None => without(
                    event,
                    "the document is too large to be sent; make it smaller",
                ),
            };
            after.map_or(Change::Nothing, |after| put(held_before, after))
        }
        Operation::Update => {
            let Some(before) = held_before else {
                return Change::Nothing;
            };
            let mut after = before.clone();
            if let Some(description) = event.update_description {
                update(&mut after, description);
            }
            put(held_before, held::bounded(after))
        }
        _ => Change::Nothing,
    }
}

/// What is held where an event does not tell what the document is.
fn without(event: &Event<'_>, why: &str) -> Option<Document> {
    without_fields(&event.document_id()?.to_bson()?, why)
}

/// Whether two documents are the same: also the order of their fields counts, as to a filter, and a number that is
/// none equals itself.
pub fn is_same(one: &Document, other: &Document) -> bool {
    one.to_vec().ok() == other.to_vec().ok()
}

fn put(before: Option<&Document>, after: Document) -> Change {
    match before.is_some_and(|before| is_same(before, &after)) {
        true => Change::Nothing,
        false => Change::Put(after),
    }
}

/// A document of these bytes; none where it cannot be read.
pub fn document_of(bytes: &[u8]) -> Option<Document> {
    Document::try_from(RawDocument::from_bytes(bytes).ok()?).ok()
}

/// Applies an `updateDescription`.
fn update(document: &mut Document, description: &[u8]) {
    let part = |name| raw::find(description, name).ok().flatten();
    let paths = part("disambiguatedPaths").and_then(|paths| paths.as_document());
    for each in elements(part("truncatedArrays").and_then(|list| list.as_array())) {
        let each = each.as_document().unwrap_or_default();
        let field = raw::find(each, "field").ok().flatten();
        let size = raw::find(each, "newSize").ok().flatten();
        if let (Some(field), Some(size)) = (
            field.and_then(|field| field.as_str()),
            size.and_then(|size| size.as_i64()),
        ) && let Some(names) = names_of(document, field, paths)
            && let Some(Bson::Array(array)) = find(document, &names)
        {
            array.truncate(usize::try_from(size).unwrap_or_default());
        }
    }
    for removed in elements(part("removedFields").and_then(|list| list.as_array())) {
        if let Some(path) = removed.as_str()
            && let Some(names) = names_of(document, path, paths)
            && reaches(document, &names)
            && let Some((last, parents)) = names.split_last()
        {
            match find(document, parents) {
                Some(Bson::Document(parent)) => {
                    parent.remove(last.as_str());
                }
                None if parents.is_empty() => {
                    document.remove(last.as_str());
                }
                _ => {}
            }
        }
    }
    for updated in elements(part("updatedFields").and_then(|fields| fields.as_document())) {
        if let Ok(path) = std::str::from_utf8(updated.name)
            && let Some(names) = names_of(document, path, paths)
            && reaches(document, &names)
        {
            match updated.to_bson() {
                Some(value) => set(document, &names, value),
                None => held::leave_out(document, &names[0], UNREADABLE),
            }
        }
    }
}

/// Whether what the names lead to can be changed: not a part of what is left out. A field as a whole always can.
fn reaches(document: &mut Document, names: &[String]) -> bool {
    match names {
        [] => false,
        [field] => {
            held::set_anew(document, field);
            true
        }
        [field, ..] => !held::is_left_out(document, field),
    }
}

fn elements(document: Option<&[u8]>) -> impl Iterator<Item = Element<'_>> {
    document
        .and_then(|document| raw::walk(document).ok())
        .into_iter()
        .flatten()
        .map_while(Result::ok)
}

/// The names that a dotted path consists of; none for a path into what does not count.
///
/// A name may hold dots itself, as in the filter `{"customer.country": "DE"}`. The server says which where it
/// tells them apart (6.1 with expanded events); otherwise a name that is there is taken for what is meant.
fn names_of(document: &Document, path: &str, disambiguated: Option<&[u8]>) -> Option<Vec<String>> {
    let first = path.split('.').next().unwrap_or_default();
    if !fields::held().any(|field| field == first) {
        return None;
    }
    let told = disambiguated.and_then(|paths| raw::find(paths, path).ok().flatten());
    if let Some(told) = told.and_then(|told| told.as_array()) {
        let name = |element: Element<'_>| match element.as_str() {
            Some(name) => Some(name.to_owned()),
            None => element.as_i64().map(|index| index.to_string()),
        };
        return elements(Some(told)).map(name).collect();
    }
    let mut names = Vec::new();
    let mut rest = path;
    let mut inner = Some(document);
    while !rest.is_empty() {
        let known = inner.and_then(|inner| {
            let is_known = |end: &usize| inner.contains_key(&rest[..*end]);
            let ends = rest.match_indices('.').map(|(at, _)| at);
            Vec::from_iter(ends.chain([rest.len()]))
                .into_iter()
                .rev()
                .find(is_known)
        });
        let end = known.unwrap_or_else(|| rest.find('.').unwrap_or(rest.len()));
        let name = &rest[..end];
        inner = match inner.and_then(|inner| inner.get(name)) {
            Some(Bson::Document(next)) => Some(next),
            _ => None,
        };
        names.push(name.to_owned());
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    Some(names)
}

/// The value that the names lead to; none for no names.
fn find<'a>(document: &'a mut Document, names: &[String]) -> Option<&'a mut Bson> {
    let (first, rest) = names.split_first()?;
    let mut value = document.get_mut(first.as_str())?;
    for name in rest {
        value = match value {
            Bson::Document(inner) => inner.get_mut(name.as_str())?,
            Bson::Array(array) => array.get_mut(name.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

/// More elements than a listener's array has: an index beyond does not count.
const LONGEST_ARRAY: usize = 10_000;

fn set(document: &mut Document, names: &[String], value: Bson) {
    let Some((first, rest)) = names.split_first() else {
        return;
    };
    if rest.is_empty() {
        document.insert(first.as_str(), value);
        return;
    }
    if !document.contains_key(first.as_str()) {
        document.insert(first.as_str(), Document::new());
    }
    if let Some(inner) = document.get_mut(first.as_str()) {
        set_within(inner, rest, value);
    }
}

fn set_within(within: &mut Bson, names: &[String], value: Bson) {
    match within {
        Bson::Document(inner) => set(inner, names, value),
        Bson::Array(array) => {
            let Some((first, rest)) = names.split_first() else {
                return;
            };
            let Some(index) = first.parse().ok().filter(|at| *at < LONGEST_ARRAY) else {
                return;
            };
            if array.len() <= index {
                array.resize(index + 1, Bson::Null);
            }
            match rest.is_empty() {
                true => array[index] = value,
                false => set_within(&mut array[index], rest, value),
            }
        }
        // What the description speaks of was a document or array: the parts tell no more.
        other => {
            let mut inner = Document::new();
            set(&mut inner, names, value);
            *other = Bson::Document(inner);
        }
    }
}

#[cfg(test)]
mod tests;
