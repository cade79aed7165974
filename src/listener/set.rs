//! The listeners at one position of a stream: their documents as they were there.

use super::document::{self, Change, held};
use crate::change::event::Event;
use crate::change::extra::Extra;
use crate::change::raw;
use crate::error::{Code, Error};
use bson::{Bson, Document, doc};
use std::collections::BTreeMap;

/// What all documents of a set may have together, in bytes of BSON: a checkpoint in MongoDB is one document of
/// 16 MiB at most.
const MOST: usize = 8 << 20;

/// How many documents a set has at most: with each change all of them are looked at.
const MOST_DOCUMENTS: usize = 20_000;

/// What is said of a document for which there is no room.
const NO_ROOM: &str =
    "the listeners have more than 8 MiB together; remove some, then replace this one";

/// An `_id`: its type, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(Vec<u8>);

impl Id {
    fn of(element: &raw::Element<'_>) -> Self {
        let mut bytes = vec![element.kind as u8];
        bytes.extend_from_slice(element.value);
        Self(bytes)
    }

    fn of_bson(id: &Bson) -> Option<Self> {
        let bytes = doc! {"v": id}.to_vec().ok()?;
        let element = raw::find(&bytes, "v").ok()??;
        Some(Self::of(&element))
    }
}

/// The documents of all listeners, and of the settings of databases.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    /// The collection, as `database.collection`.
    at: String,
    documents: BTreeMap<Id, Document>,
    bytes: usize,
    /// Whether it was said that there is no room for more.
    is_told_full: bool,
}

impl Set {
    /// What was found in the collection. A read that ends behind a position finds more than was there at it; what
    /// the stream brings since then is applied to it all the same, and leads to the same in the end.
    pub fn found(at: &str, documents: &[Document]) -> Self {
        let mut set = Self {
            at: at.to_owned(),
            documents: BTreeMap::new(),
            bytes: 0,
            is_told_full: false,
        };
        for document in documents {
            if let Some(id) = document.get("_id").and_then(Id::of_bson)
                && let Some(document) = held(document)
            {
                set.put(id, document);
            }
        }
        set
    }

    /// The set of a position; none where it has none.
    ///
    /// # Errors
    /// [`Code::CheckpointFailed`] where it cannot be read.
    pub fn of(extra: &Extra) -> Result<Option<Self>, Error> {
        let Some(part) = extra.get(Extra::LISTENERS) else {
            return Ok(None);
        };
        Self::read(part).map(Some).ok_or_else(|| {
            Error::new(
                Code::CheckpointFailed,
                "the checkpoint's listeners cannot be read; restore it, or remove it to make this a first start",
            )
        })
    }

    fn read(part: &Bson) -> Option<Self> {
        let part = part.as_document()?;
        let documents = part.get_array("set").ok()?.iter();
        let documents: Option<Vec<_>> = documents.map(|each| each.as_document().cloned()).collect();
        let mut set = Self::found(part.get_str("collection").ok()?, &[]);
        for document in documents? {
            set.put(Id::of_bson(document.get("_id")?)?, document);
        }
        Some(set)
    }

    /// As a part of a position.
    pub fn to_bson(&self) -> Bson {
        let documents: Vec<_> = self.documents.values().cloned().map(Bson::from).collect();
        doc! {"collection": &self.at, "set": documents}.into()
    }

    /// The collection that it was read from, as `database.collection`.
    pub fn at(&self) -> &str {
        &self.at
    }

    /// Applies an event of the collection; the id of the document that has changed, if one has, and what it was.
    pub fn apply(&mut self, event: &Event<'_>) -> Option<(Id, Option<Document>)> {
        let id = Id::of(&event.document_id()?);
        let before = match document::change(self.documents.get(&id), event) {
            Change::Nothing => return None,
            Change::Removed => self.remove(&id),
            Change::Put(document) => self.put(id.clone(), document),
        };
        Some((id, before))
    }

    /// Removes all: the collection was dropped.
    pub fn clear(&mut self) {
        self.documents.clear();
        self.bytes = 0;
    }

    fn remove(&mut self, id: &Id) -> Option<Document> {
        let document = self.documents.remove(id)?;
        self.bytes -= size(&document);
        Some(document)
    }

    /// Puts a document where there is room; the one that was there.
    fn put(&mut self, id: Id, document: Document) -> Option<Document> {
        let before = self.remove(&id);
        if self.documents.len() >= MOST_DOCUMENTS {
            if !std::mem::replace(&mut self.is_told_full, true) {
                tracing::warn!(
                    collection = self.at,
                    most = MOST_DOCUMENTS,
                    "there are more listeners than can be served; those that came last are not"
                );
            }
            return before;
        }
        let has_room = self.bytes + size(&document) <= MOST;
        let Some(document) = (match (has_room, document.get("_id")) {
            (false, Some(id)) => document::without_fields(id, NO_ROOM),
            _ => Some(document),
        }) else {
            return before;
        };
        self.bytes += size(&document);
        self.documents.insert(id, document);
        before
    }

    pub fn documents(&self) -> impl Iterator<Item = (&Id, &Document)> {
        self.documents.iter()
    }

    pub fn document(&self, id: &Id) -> Option<&Document> {
        self.documents.get(id)
    }
}

fn size(document: &Document) -> usize {
    document.to_vec().map_or(0, |bytes| bytes.len())
}

#[cfg(test)]
mod tests;
