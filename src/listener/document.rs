//! A listener's document as it is held: what of it counts, and how its changes are applied.

use super::fields;
use crate::change::event::{Event, Operation};
use crate::change::raw::{self, Element};
use bson::{Bson, Document, RawDocument};

/// What is held of one document at most, in bytes of BSON.
pub const LARGEST: usize = 128 << 10;

/// And as Extended JSON: less than a record of Kafka holds by default, in which it is stored.
const LARGEST_JSON: usize = 900_000;

/// No BSON of this size is longer than that as Extended JSON: a number of nine bytes may have 330 digits.
const SMALL: usize = 16 << 10;

/// The field that stands in a held document for all others where they are too large to be held.
const TOO_LARGE: &str = "tooLarge";

/// A listener's `_id` as text: in headers, metrics and logs.
pub fn id_text(id: &Bson) -> String {
    match id {
        Bson::ObjectId(id) => id.to_hex(),
        Bson::String(text) => text.clone(),
        other => other.clone().into_relaxed_extjson().to_string(),
    }
}

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

/// What a whole document becomes when it is held.
pub fn held(document: &Document) -> Document {
    let mut held = Document::new();
    for field in fields::held() {
        if let Some(value) = document.get(field) {
            held.insert(field, value.clone());
        }
    }
    bounded(held)
}

fn bounded(held: Document) -> Document {
    let bytes = held.to_vec().map_or(usize::MAX, |bytes| bytes.len());
    let as_json = || {
        Bson::Document(held.clone())
            .into_canonical_extjson()
            .to_string()
    };
    if bytes <= SMALL || (bytes <= LARGEST && as_json().len() <= LARGEST_JSON) {
        return held;
    }
    let mut marked = Document::new();
    if let Some(id) = held.get("_id") {
        marked.insert("_id", id.clone());
    }
    marked.insert(TOO_LARGE, true);
    marked
}

/// Whether the document was too large to be held.
pub fn is_too_large(held: &Document) -> bool {
    held.contains_key(TOO_LARGE)
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
            match document.and_then(document_of) {
                Some(document) => put(held_before, held(&document)),
                None => Change::Nothing,
            }
        }
        Operation::Update => {
            let Some(before) = held_before else {
                return Change::Nothing;
            };
            let mut after = before.clone();
            if let Some(description) = event.update_description {
                update(&mut after, description);
            }
            put(held_before, bounded(after))
        }
        _ => Change::Nothing,
    }
}

fn put(before: Option<&Document>, after: Document) -> Change {
    match before == Some(&after) {
        true => Change::Nothing,
        false => Change::Put(after),
    }
}

fn document_of(bytes: &[u8]) -> Option<Document> {
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
            && let Some(value) = value_of(&updated)
        {
            set(document, &names, value);
        }
    }
}

fn elements(document: Option<&[u8]>) -> impl Iterator<Item = Element<'_>> {
    document
        .and_then(|document| raw::walk(document).ok())
        .into_iter()
        .flatten()
        .map_while(Result::ok)
}

fn value_of(element: &Element<'_>) -> Option<Bson> {
    // As the only field of a document, which is what the crate reads.
    let len = 4 + 1 + 2 + element.value.len() + 1;
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&i32::try_from(len).ok()?.to_le_bytes());
    bytes.push(element.kind as u8);
    bytes.extend_from_slice(b"v\0");
    bytes.extend_from_slice(element.value);
    bytes.push(0);
    document_of(&bytes)?.remove("v")
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
