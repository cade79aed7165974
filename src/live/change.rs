//! A record of the streams' topics, as clients see it.

use super::filter;
use super::position::Place;
use super::redact::Excluded;
use crate::config::JsonMode;
use crate::encode::headers;
use crate::encode::json::scan;
use axum::body::Bytes;
use bson::RawDocumentBuf;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use std::sync::OnceLock;

/// Sets of operations, as `operation` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operations(u8);

const NAMES: [(&str, u8); 6] = [
    ("insert", 1),
    ("update", 2),
    ("replace", 4),
    ("delete", 8),
    ("read", 32),
    ("ddl", 16),
];

impl Operations {
    /// insert, update, replace, delete.
    pub const OF_CHANGES: Self = Self(0b1111);
    /// These, and the rows of snapshots: what a `where` and the rights of a token are held against.
    pub const OF_DOCUMENTS: Self = Self(0b10_1111);

    /// Reads names separated by commas.
    ///
    /// # Errors
    /// A sentence that names what is no operation.
    pub fn read(names: &str) -> Result<Self, String> {
        let mut all = Self(0);
        for name in names.split(',').map(str::trim) {
            let known = NAMES
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(name));
            let Some((_, bit)) = known else {
                let shown: String = name.chars().take(40).collect();
                return Err(format!(
                    "operation: {shown:?} is none; insert, update, replace, delete, read (rows of snapshots) and ddl \
                     (events about collections and databases) are"
                ));
            };
            all.0 |= bit;
        }
        Ok(all)
    }

    /// That of an `operationType`; whatever is not about a document is `ddl`.
    pub fn of(name: &str) -> Self {
        let known = NAMES[..5].iter().find(|(known, _)| *known == name);
        Self(known.map_or(16, |(_, bit)| *bit))
    }

    pub fn hold(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub fn bits(self) -> u8 {
        self.0
    }
}

/// One change, with its place in Kafka.
#[derive(Debug)]
pub struct Change {
    pub place: Place,
    pub offset: i64,
    pub timestamp: i64,
    pub operation: Operations,
    pub name: String,
    pub database: String,
    /// Empty of a `dropDatabase`.
    pub collection: String,
    /// The text of `documentKey._id`.
    pub id: Option<String>,
    /// The envelope.
    pub value: Bytes,
    images: OnceLock<Images>,
}

/// The documents that a `where` asks about.
#[derive(Debug, Default)]
pub struct Images {
    /// As it is after the change.
    pub after: Option<RawDocumentBuf>,
    pub before: Option<RawDocumentBuf>,
}

/// What a record is.
pub enum Read {
    Change(Box<Change>),
    /// A tombstone, or a listener's.
    Nothing,
    /// Not in Tailwater's format.
    Foreign,
}

/// Reads a record; what is excluded is left out from here on.
pub fn read(message: &BorrowedMessage<'_>, place: Place, excluded: &Excluded) -> Read {
    let (mut operation, mut namespace) = (None, None);
    for header in message.headers().into_iter().flat_map(Headers::iter) {
        let text = header
            .value
            .and_then(|value| std::str::from_utf8(value).ok());
        match header.key {
            headers::OPERATION => operation = text,
            headers::NAMESPACE => namespace = text,
            headers::LISTENER => return Read::Nothing,
            _ => {}
        }
    }
    let (Some(operation), Some(namespace)) = (operation, namespace) else {
        return Read::Foreign;
    };
    let Some(value) = message.payload() else {
        return Read::Nothing;
    };
    // On one line, as an event of a stream has to be.
    if value.first() != Some(&b'{') || memchr::memchr2(b'\n', b'\r', value).is_some() {
        return Read::Foreign;
    }
    let (database, collection) = namespace.split_once('.').unwrap_or((namespace, ""));
    let left = excluded.without(database, collection, value);
    let value = left.map_or_else(|| Bytes::copy_from_slice(value), Bytes::from);
    Read::Change(Box::new(Change {
        place,
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or_default(),
        operation: Operations::of(operation),
        name: operation.to_owned(),
        database: database.to_owned(),
        collection: collection.to_owned(),
        id: id_of(&value),
        value,
        images: OnceLock::new(),
    }))
}

fn id_of(value: &[u8]) -> Option<String> {
    let id = scan::member(scan::member(value, "documentKey")?, "_id")?;
    std::str::from_utf8(id).ok().map(str::to_owned)
}

impl Change {
    #[cfg(test)]
    pub fn of_value(place: Place, offset: i64, value: &serde_json::Value) -> Self {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let bytes = Bytes::from(value.to_string());
        Self {
            place,
            offset,
            timestamp: offset,
            operation: Operations::of(&text("operationType")),
            name: text("operationType"),
            database: text("database"),
            collection: text("collection"),
            id: id_of(&bytes),
            value: bytes,
            images: OnceLock::new(),
        }
    }

    /// Whether it is about one document, also where its operation is not known here.
    pub fn is_of_document(&self) -> bool {
        Operations::OF_DOCUMENTS.hold(self.operation) || self.id.is_some()
    }

    /// Its documents, read when they are first asked for.
    pub fn images(&self, mode: JsonMode) -> &Images {
        self.images.get_or_init(|| {
            let mut images = Images::default();
            for (name, value) in scan::members(&self.value) {
                match name {
                    b"fullDocument" => images.after = filter::document(value, mode),
                    b"fullDocumentBeforeChange" => images.before = filter::document(value, mode),
                    _ => {}
                }
            }
            images
        })
    }

    /// The namespace that a rename leads to.
    pub fn renamed_to(&self) -> Option<(String, String)> {
        if self.name != "rename" {
            return None;
        }
        let to = scan::member(&self.value, "to")?;
        let text = |name| serde_json::from_slice::<String>(scan::member(to, name)?).ok();
        Some((text("database")?, text("collection")?))
    }

    /// About how much memory it takes.
    pub fn bytes(&self) -> usize {
        let texts = self.database.len() + self.collection.len() + self.name.len();
        size_of::<Self>() + texts + self.value.len() * 2
    }
}
