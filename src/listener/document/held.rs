//! What is held of a listener's document: what can be stored beside a position, and read again as it was.
//!
//! Whoever may write listeners must not be able to spoil the checkpoint of their stream. A field that a checkpoint
//! would not give back is left out, and why; the others stay, so that setting that field anew mends the listener.

use super::id_text;
use crate::change::extended_json::Extended;
use crate::listener::definition::Problem;
use crate::listener::fields;
use bson::{Bson, Document, doc};

/// What is held of one document at most, in bytes of BSON.
pub(super) const LARGEST: usize = 128 << 10;

/// And as Extended JSON: less than a record of Kafka holds by default, in which it is stored.
const LARGEST_JSON: usize = 900_000;

/// No BSON of this size is longer than that as Extended JSON: a number of nine bytes may have 330 digits.
const SMALL: usize = 16 << 10;

/// No value is nested deeper: a checkpoint is JSON, of which readers go down about twice as far.
const DEEPEST: usize = 64;

/// An `_id` that is larger, as Extended JSON, is no listener's, not even of an invalid one.
const LARGEST_ID: usize = 4 << 10;

/// The field of a held document that says of others why they are left out, by their names. The empty name stands
/// for the whole document.
const LEFT_OUT: &str = "leftOut";

/// Names that make of a document another value where it is read as Extended JSON.
const EXTENDED: [&str; 17] = [
    "$binary",
    "$code",
    "$date",
    "$dbPointer",
    "$maxKey",
    "$minKey",
    "$numberDecimal",
    "$numberDecimalBytes",
    "$numberDouble",
    "$numberInt",
    "$numberLong",
    "$oid",
    "$regularExpression",
    "$symbol",
    "$timestamp",
    "$undefined",
    "$uuid",
];

/// What a whole document becomes when it is held; none where its `_id` cannot be.
pub fn held(document: &Document) -> Option<Document> {
    let id = document.get("_id")?;
    if !is_fit_as_id(id) {
        tracing::warn!(
            id = id_text(id).chars().take(100).collect::<String>(),
            "a document among the listeners has an _id that none of them may have: it is too large, nested too \
             deep, or looks like Extended JSON; it is not looked at"
        );
        return None;
    }
    let mut held = Document::new();
    for field in fields::held() {
        if let Some(value) = document.get(field) {
            held.insert(field, value.clone());
        }
    }
    Some(bounded(held))
}

fn is_fit_as_id(id: &Bson) -> bool {
    fit(id, 1).is_ok() && json_len(id) <= LARGEST_ID
}

/// A held document that has nothing but its `_id`, and why; none where not even that can be held.
pub fn without_fields(id: &Bson, why: &str) -> Option<Document> {
    is_fit_as_id(id).then(|| doc! {"_id": id, LEFT_OUT: {"": why}})
}

/// Leaves out what cannot be held.
pub(super) fn bounded(mut held: Document) -> Document {
    let values = held.iter().filter(|(name, _)| name.as_str() != LEFT_OUT);
    let unfit = values.filter_map(|(name, value)| Some((name.clone(), fit(value, 1).err()?)));
    for (name, why) in unfit.collect::<Vec<_>>() {
        leave_out(&mut held, &name, &why);
    }
    while !is_small(&held) {
        let values = held
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "_id" | LEFT_OUT));
        let largest = values.max_by_key(|(_, value)| json_len(value));
        let Some(name) = largest.map(|(name, _)| name.clone()) else {
            break;
        };
        let most = LARGEST >> 10;
        let why = format!(
            "is too large: a listener has at most {most} KiB, or 900 kB as JSON; make it smaller, and set it as a whole"
        );
        leave_out(&mut held, &name, &why);
    }
    held
}

fn is_small(held: &Document) -> bool {
    let bytes = held.to_vec().map_or(usize::MAX, |bytes| bytes.len());
    bytes <= SMALL || (bytes <= LARGEST && json_len(&Bson::Document(held.clone())) <= LARGEST_JSON)
}

fn json_len(value: &Bson) -> usize {
    Extended::canonical(value).line().len()
}

/// Whether a value is the same where it was stored as Extended JSON, and read again.
fn fit(value: &Bson, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!(
            "is nested deeper than {DEEPEST} levels; make it flatter"
        ));
    }
    match value {
        Bson::Document(document) => fit_document(document, depth),
        Bson::JavaScriptCodeWithScope(code) => fit_document(&code.scope, depth),
        Bson::Array(list) => list.iter().try_for_each(|value| fit(value, depth + 1)),
        _ => Ok(()),
    }
}

fn fit_document(document: &Document, depth: usize) -> Result<(), String> {
    document.iter().try_for_each(|(name, value)| {
        if EXTENDED.contains(&name.as_str()) {
            return Err(format!(
                "has a document {{{name}: …}}, which only JSON takes for a value; give the value itself, or a filter \
                 as a string of Extended JSON"
            ));
        }
        fit(value, depth + 1)
    })
}

/// Takes a field away, and says why.
pub(super) fn leave_out(held: &mut Document, field: &str, why: &str) {
    held.remove(field);
    if let Ok(reasons) = held.get_document_mut(LEFT_OUT) {
        reasons.insert(field, why);
    } else {
        held.insert(LEFT_OUT, doc! {field: why});
    }
}

/// Takes note that a field is set or removed as a whole: from here on it is what the document says.
pub(super) fn set_anew(held: &mut Document, field: &str) {
    if let Ok(reasons) = held.get_document_mut(LEFT_OUT) {
        reasons.remove(field);
        if reasons.is_empty() {
            held.remove(LEFT_OUT);
        }
    }
}

/// Whether a field is left out, so that a part of it can be neither set nor removed.
pub(super) fn is_left_out(held: &Document, field: &str) -> bool {
    held.get_document(LEFT_OUT)
        .is_ok_and(|reasons| reasons.contains_key(field))
}

/// What cannot be held of a document, whether it is held already or as it is in the collection or a file.
pub fn problems(document: &Document) -> Vec<Problem> {
    let as_held;
    let held = match document.contains_key(LEFT_OUT) {
        true => document,
        false => {
            let fields = fields::held();
            let values =
                fields.filter_map(|name| Some((name.to_owned(), document.get(name)?.clone())));
            as_held = bounded(values.collect());
            &as_held
        }
    };
    let reasons = held.get_document(LEFT_OUT);
    let problem = |(field, why): (&String, &Bson)| Problem {
        field: fields::held().find(|name| name == field).unwrap_or(""),
        sentence: why.as_str().unwrap_or("cannot be held").to_owned(),
    };
    reasons.into_iter().flatten().map(problem).collect()
}
