//! The schema of what is written under one subject: of a collection's changes, or of its documents alone.

use super::shape::{
    Drift, Path, Record, Shape, alias, fits_document, free, of_validator, widen_document,
};
use crate::change::event::{Event, Operation};
use crate::change::raw::{Element, Malformed};
use crate::config::SchemaKind;
use bson::Document;
use std::collections::BTreeSet;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The envelope of `FORMAT=tailwater`.
    Change,
    /// `FORMAT=document`.
    Document,
}

/// A collection, or a database where an event is of that.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    pub database: String,
    pub collection: String,
}

impl Place {
    /// `database.collection`.
    pub fn name(&self) -> String {
        match self.collection.is_empty() {
            true => self.database.clone(),
            false => format!("{}.{}", self.database, self.collection),
        }
    }
}

/// What is wrong with a subject that holds the schema of another collection, as the end of a sentence.
pub(super) fn of_another(collection: &str) -> String {
    format!(
        "is of {collection}, and each collection needs a subject of its own: set SCHEMA_SUBJECT=topic_record; where schemas \
         know no difference between two names, such as `a-b` and `a_b`, put {{collection}} into the topic, too"
    )
}

/// The types of everything that a value holds and that depends on the collection.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    pub kind: SchemaKind,
    pub layout: Layout,
    pub place: Place,
    /// Where the types of the schema's language live.
    pub namespace: String,
    /// The document and its image before the change.
    pub document: Record,
    /// `documentKey`, with [`Layout::Change`].
    pub key: Record,
    /// What somebody else's schema holds that is not known here, so that it cannot be written anew.
    pub beyond: Option<String>,
}

impl Schema {
    /// That of a collection of which nothing is known yet but its validator.
    pub fn new(
        kind: SchemaKind,
        layout: Layout,
        place: Place,
        validator: Option<&Document>,
    ) -> Self {
        let parts = [&place.database, &place.collection];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        let mut namespace = String::from("tailwater");
        for part in parts {
            namespace.push('.');
            namespace.push_str(&alias(part.as_bytes()));
        }
        let mut document = Record::new("Document");
        if let Some(validator) = validator {
            of_validator(kind, &mut document, validator);
        }
        let mut schema = Self {
            kind,
            layout,
            place,
            namespace,
            document,
            key: Record::new("DocumentKey"),
            beyond: None,
        };
        schema.name_records();
        schema
    }

    /// The name of what a value is.
    pub fn root(&self) -> &str {
        match self.layout {
            Layout::Change => "Change",
            Layout::Document => &self.document.name,
        }
    }

    /// The same with its namespace: what subjects are named after.
    pub fn full_name(&self) -> String {
        match self.namespace.is_empty() {
            true => self.root().to_owned(),
            false => format!("{}.{}", self.namespace, self.root()),
        }
    }

    /// Makes it wide enough for an event. What had to be changed first; where nothing had, the event fits.
    ///
    /// # Errors
    /// [`Drift`]: it cannot. What the schema is then means nothing.
    pub fn widen(&mut self, event: &Event<'_>) -> Result<Option<Path>, Drift> {
        let changed = self.widen_once(event)?;
        if changed.is_some() {
            // What has become wider at its end may be too narrow for its beginning: no double holds every integer.
            self.widen_once(event)?;
            self.name_records();
        }
        Ok(changed)
    }

    fn widen_once(&mut self, event: &Event<'_>) -> Result<Option<Path>, Drift> {
        let mut changed = None;
        if self.layout == Layout::Change
            && let Some(key) = event.document_key
        {
            changed = widen_document(self.kind, &mut self.key, key, "documentKey")?;
        }
        for (image, path) in self.images(event) {
            if let Some(document) = image.and_then(|image| image.as_document()) {
                let here = widen_document(self.kind, &mut self.document, document, path)?;
                changed = changed.or(here);
            }
        }
        if changed.is_some() {
            self.name_records();
        }
        Ok(changed)
    }

    /// Whether an event can be written by it, in a language that needs no other look at it than this.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn fits(&self, event: &Event<'_>) -> Result<bool, Malformed> {
        if self.layout == Layout::Change
            && let Some(key) = event.document_key
            && !fits_document(self.kind, &self.key, key)?
        {
            return Ok(false);
        }
        for (image, _) in self.images(event) {
            if let Some(document) = image.and_then(|image| image.as_document())
                && !fits_document(self.kind, &self.document, document)?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The documents that a value holds. Deletes have no `fullDocument`, whatever the server sends.
    fn images<'a>(&self, event: &Event<'a>) -> [(Option<Element<'a>>, &'static str); 2] {
        let is_delete = event.operation == Operation::Delete;
        let after = event.full_document.filter(|_| !is_delete);
        let before = event.full_document_before_change;
        let before = before.filter(|_| self.layout == Layout::Change);
        [
            (after, "fullDocument"),
            (before, "fullDocumentBeforeChange"),
        ]
    }

    /// Names the records that have no name yet after their fields, each differently.
    fn name_records(&mut self) {
        let of_language: &[&str] = match self.kind {
            SchemaKind::Avro => &OF_AVRO,
            SchemaKind::JsonSchema | SchemaKind::Protobuf => &[],
        };
        let all = OWN.iter().chain(of_language);
        let mut taken: BTreeSet<String> = all.map(|name| (*name).to_owned()).collect();
        for record in [&self.key, &self.document] {
            taken.insert(record.name.clone());
            names_in(record, &mut taken);
        }
        let last = [&self.key, &self.document].map(last_in);
        let mut names = Names {
            kind: self.kind,
            taken,
            next: last.into_iter().max().unwrap_or_default() + 1,
        };
        names.give(&mut self.key);
        names.give(&mut self.document);
    }
}

/// The names of what is the same in each collection.
const OWN: [&str; 3] = ["Change", "UpdateDescription", "TruncatedArray"];

/// Avro's primitive types, which its specification lets no record be called after: some readers refuse such a schema.
const OF_AVRO: [&str; 8] = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string",
];

fn names_in(record: &Record, taken: &mut BTreeSet<String>) {
    for field in record.fields() {
        if let Some(inner) = inner(&field.slot.shape) {
            if !inner.name.is_empty() {
                taken.insert(inner.name.clone());
            }
            names_in(inner, taken);
        }
    }
}

fn inner(shape: &Shape) -> Option<&Record> {
    match shape {
        Shape::Record(record) => Some(record),
        Shape::Array(slot) | Shape::Map(slot) => inner(&slot.shape),
        _ => None,
    }
}

/// The last of the records in it by their order.
fn last_in(record: &Record) -> usize {
    let inner = record
        .fields()
        .iter()
        .filter_map(|field| inner(&field.slot.shape));
    inner.map(last_in).fold(record.order, usize::max)
}

struct Names {
    kind: SchemaKind,
    taken: BTreeSet<String>,
    /// The place of the next record in the schema's order: new ones come last.
    next: usize,
}

impl Names {
    fn give(&mut self, record: &mut Record) {
        for field in record.fields_mut() {
            let alias = match self.kind {
                // In lower case a name could be that of a type that Protobuf has.
                SchemaKind::Protobuf => capitalized(&field.alias),
                SchemaKind::Avro | SchemaKind::JsonSchema => field.alias.clone(),
            };
            if let Some(inner) = inner_mut(&mut field.slot.shape) {
                if inner.name.is_empty() {
                    inner.name = free(&alias, |name| self.taken.contains(name));
                    self.taken.insert(inner.name.clone());
                    inner.order = self.next;
                    self.next += 1;
                }
                self.give(inner);
            }
        }
    }
}

fn capitalized(alias: &str) -> String {
    let alias = alias.trim_start_matches('_');
    let mut rest = alias.chars();
    match rest.next() {
        Some(first) if first.is_ascii_alphabetic() => {
            format!("{}{}", first.to_ascii_uppercase(), rest.as_str())
        }
        _ => format!("Of{alias}"),
    }
}

fn inner_mut(shape: &mut Shape) -> Option<&mut Record> {
    match shape {
        Shape::Record(record) => Some(record),
        Shape::Array(slot) | Shape::Map(slot) => inner_mut(&mut slot.shape),
        _ => None,
    }
}
