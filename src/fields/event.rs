//! A change event rewritten: each part of it that holds something of a document.

use super::Fields;
use super::document::{Names, close, copy, name, open, string};
use super::rules::{At, Rules};
use crate::change::event::{Event, Operation};
use crate::change::raw::{self, Element, Malformed};
use crate::encode::json::MAX_DEPTH;
use bson::spec::ElementType;

/// Why nothing of an event may leave the process, or not as it is. Nothing of its document is in the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the document is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error(
        "FIELDS_RENAME calls a field {0}, and there is another of this name beside it; give another name, or leave the \
         other field out by FIELDS_EXCLUDE"
    )]
    Taken(String),
    /// A rule is for a field that is in the key of the document. No record can hide that, and neither can a checkpoint:
    /// the resume token holds it too.
    #[error(
        "FIELDS_EXCLUDE or FIELDS_MASK names {field}, which is in the shard key of {namespace}: it is in the documentKey \
         of each event and in each resume token, and so cannot be hidden; take {field} out of the list, or leave the \
         collection out by EXCLUDE_COLLECTIONS"
    )]
    InKey { field: String, namespace: String },
}

/// Fields of an event that hold nothing of a document. Those that are not known are not among them, as those that a
/// stage of CHANGE_STREAM_PIPELINE adds.
const OF_EVENT: [&[u8]; 13] = [
    b"_id",
    b"operationType",
    b"clusterTime",
    b"wallTime",
    b"ns",
    b"nsType",
    b"to",
    b"documentKey",
    b"collectionUUID",
    b"lsid",
    b"txnNumber",
    b"splitEvent",
    b"operationDescription",
];

impl Fields {
    /// The event as it may leave the process: the same where no rule is for its collection, otherwise one that is written
    /// to `room`.
    ///
    /// # Errors
    /// [`Unfit`]: it can have no record. What is left of it by [`Self::without_documents`] may be told of.
    pub fn apply<'a>(
        &mut self,
        event: &Event<'a>,
        room: &'a mut Vec<u8>,
    ) -> Result<Event<'a>, Unfit> {
        if is_of_definitions(event) {
            return Ok(*event);
        }
        let Some(rules) = self.known(event.database, event.collection) else {
            return Ok(*event);
        };
        rules.check_key(event)?;
        room.clear();
        if event.operation != Operation::Read {
            rules.event(event.raw, true, room)?;
            return Event::parse(room).map_err(broken);
        }
        // A row is no event of the server's: the document is all that there is of it.
        rules.document(event.raw, room)?;
        let raw: &[u8] = room;
        let document = Element {
            kind: ElementType::EmbeddedDocument,
            name: b"fullDocument",
            value: raw,
        };
        Ok(Event {
            raw,
            full_document: event.full_document.map(|_| document),
            ..*event
        })
    }

    /// What is left of an event without everything that rules could be for: its documents, and what a stage of
    /// CHANGE_STREAM_PIPELINE has added. The same where no rule is for its collection.
    pub fn without_documents<'a>(&mut self, event: &Event<'a>, room: &'a mut Vec<u8>) -> Event<'a> {
        if is_of_definitions(event) {
            return *event;
        }
        let Some(rules) = self.known(event.database, event.collection) else {
            return *event;
        };
        room.clear();
        let nothing = Event {
            raw: EMPTY,
            full_document: None,
            full_document_before_change: None,
            update_description: None,
            ..*event
        };
        if event.operation == Operation::Read {
            return nothing;
        }
        match rules.event(event.raw, false, room) {
            Ok(()) => Event::parse(room).unwrap_or(nothing),
            Err(_) => nothing,
        }
    }
}

const EMPTY: &[u8] = &[5, 0, 0, 0, 0];

/// Whether it is about a collection or a database, and holds no document.
fn is_of_definitions(event: &Event<'_>) -> bool {
    !event.operation.is_document() && event.document_key.is_none() && !event.is_unknown()
}

/// What was read before and cannot be read any more.
fn broken<E>(_: E) -> Unfit {
    Unfit::Malformed(Malformed { offset: 0, len: 0 })
}

impl Rules {
    /// # Errors
    /// [`Unfit::InKey`] where a field of the shard key is to be hidden.
    fn check_key(&self, event: &Event<'_>) -> Result<(), Unfit> {
        for element in raw::walk(event.document_key.unwrap_or(EMPTY))? {
            let element = element?;
            if element.name != b"_id" && is_hidden(element, self.start())? {
                return Err(Unfit::InKey {
                    field: String::from_utf8_lossy(element.name).into_owned(),
                    namespace: format!("{}.{}", event.database, event.collection),
                });
            }
        }
        Ok(())
    }

    fn event(&self, event: &[u8], with_documents: bool, out: &mut Vec<u8>) -> Result<(), Unfit> {
        let begin = open(out);
        for element in raw::walk(event)? {
            let element = element?;
            match (element.name, element.kind) {
                (known, _) if OF_EVENT.contains(&known) => copy(element, out),
                _ if !with_documents => {}
                (b"fullDocument" | b"fullDocumentBeforeChange", kind) => match kind {
                    ElementType::EmbeddedDocument => {
                        name(kind, element.name, out);
                        self.document(element.value, out)?;
                    }
                    ElementType::Null => copy(element, out),
                    _ => {}
                },
                (b"updateDescription", ElementType::EmbeddedDocument) => {
                    name(element.kind, element.name, out);
                    self.update_description(element.value, out)?;
                }
                _ => {}
            }
        }
        close(out, begin);
        Ok(())
    }

    fn update_description(&self, description: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        let begin = open(out);
        for part in raw::walk(description)? {
            let part = part?;
            let at = out.len();
            name(part.kind, part.name, out);
            match (part.name, part.kind) {
                (b"updatedFields", ElementType::EmbeddedDocument) => {
                    self.fields(part.value, self.start(), Names::Paths, 0, out)?;
                }
                (b"removedFields", ElementType::Array) => self.removed(part.value, out)?,
                (b"truncatedArrays", ElementType::Array) => self.truncated(part.value, out)?,
                (b"disambiguatedPaths", ElementType::EmbeddedDocument) => {
                    self.disambiguated(part.value, out)?;
                }
                _ if part.kind == ElementType::Null => {}
                _ => out.truncate(at),
            }
        }
        close(out, begin);
        Ok(())
    }

    /// The path as it is to be called; none where nothing is said of it.
    fn path(&self, path: &[u8]) -> Option<Vec<u8>> {
        let at = self.start().enter(path)?;
        if at.is_out() {
            return None;
        }
        let mut renamed = Vec::with_capacity(path.len());
        self.start().rename(path, &mut renamed);
        Some(renamed)
    }

    /// Appends a value that is a path; false where it is left out.
    fn put_path(&self, key: &[u8], path: Element<'_>, out: &mut Vec<u8>) -> bool {
        let path = path.string_bytes().and_then(|path| self.path(path));
        let Some(path) = path else {
            return false;
        };
        name(ElementType::String, key, out);
        put_bytes(&path, out);
        true
    }

    /// `removedFields`: paths.
    fn removed(&self, paths: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        let begin = open(out);
        let mut index = 0;
        for path in raw::walk(paths)? {
            index += usize::from(self.put_path(number(index).as_bytes(), path?, out));
        }
        close(out, begin);
        Ok(())
    }

    /// `truncatedArrays`: documents with a path as their `field`.
    fn truncated(&self, arrays: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        let begin = open(out);
        let mut index = 0;
        for array in raw::walk(arrays)? {
            let Some(array) = array?.as_document() else {
                continue;
            };
            let at = out.len();
            name(ElementType::EmbeddedDocument, number(index).as_bytes(), out);
            let inner = open(out);
            let mut is_in = false;
            for part in raw::walk(array)? {
                let part = part?;
                match part.name {
                    b"field" => is_in |= self.put_path(part.name, part, out),
                    b"newSize" => copy(part, out),
                    _ => {}
                }
            }
            close(out, inner);
            match is_in {
                true => index += 1,
                false => out.truncate(at),
            }
        }
        close(out, begin);
        Ok(())
    }

    /// `disambiguatedPaths`: paths, and the names and indexes that each consists of.
    fn disambiguated(&self, paths: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        let begin = open(out);
        for path in raw::walk(paths)? {
            let path = path?;
            let (Some(renamed), Some(parts)) = (self.path(path.name), path.as_array()) else {
                continue;
            };
            name(path.kind, &renamed, out);
            let inner = open(out);
            let mut at = Some(self.start());
            for part in raw::walk(parts)? {
                let part = part?;
                match part.string_bytes() {
                    Some(text) => {
                        name(part.kind, part.name, out);
                        let mut renamed = Vec::with_capacity(text.len());
                        match at {
                            Some(at) => _ = at.rename(text, &mut renamed),
                            None => renamed.extend_from_slice(text),
                        }
                        put_bytes(&renamed, out);
                        at = at.and_then(|at: At<'_>| at.enter(text));
                    }
                    None => copy(part, out),
                }
            }
            close(out, inner);
        }
        close(out, begin);
        Ok(())
    }
}

/// Whether something of a field of this place is left out or masked.
fn is_hidden(element: Element<'_>, at: At<'_>) -> Result<bool, Unfit> {
    let Some(at) = at.enter(element.name) else {
        return Ok(true);
    };
    let inner = match element.kind {
        _ if at.mask.is_some() => return Ok(true),
        ElementType::EmbeddedDocument | ElementType::Array if at.node.is_some() => element.value,
        _ => return Ok(false),
    };
    for element in raw::walk(inner)? {
        if is_hidden(element?, at)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A string of bytes that need not be UTF-8, as MongoDB may hold them.
fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => string(text, out),
        Err(_) => string(&String::from_utf8_lossy(bytes), out),
    }
}

fn number(index: usize) -> String {
    index.to_string()
}
