//! A record of the stream's topics, as far as it is needed to fold the state.

use super::entry::{Entry, Hash, Kind, hash};
use super::names::Definition;
use crate::change::namespace::Namespace;
use crate::encode::headers;
use crate::encode::json::scan;
use crate::sink::replay::REPLAYED;
use bson::Document;
use rdkafka::message::{Headers, Message};
use std::str;

/// What a record is.
#[derive(Debug)]
pub enum Read<'a> {
    /// It is about a document.
    Document(Change<'a>),
    /// It is about a collection or a database.
    Definition { seq: u64, definition: Definition },
    /// What lies between two times was lost.
    Gap,
    /// An event that changes no state, or a record of a listener.
    Nothing,
    /// It has another stream's `tw-stream`.
    OfAnotherStream,
    /// It is not in Tailwater's format.
    Foreign,
}

/// A change of a document.
#[derive(Debug)]
pub struct Change<'a> {
    /// `database.collection`.
    pub namespace: &'a str,
    pub id: Hash,
    pub seq: u64,
    pub kind: Kind,
    pub content: Hash,
    /// The id of the snapshot that it is a row of.
    pub snapshot: Option<&'a str>,
}

impl Change<'_> {
    /// As it is kept: with the numbers of its namespace and topic, and where its record is.
    pub fn entry(&self, namespace: u32, topic: u32, message: &impl Message) -> Entry {
        Entry {
            id: self.id,
            namespace,
            topic,
            partition: message.partition(),
            offset: u64::try_from(message.offset()).unwrap_or_default(),
            seq: self.seq,
            kind: self.kind,
            content: self.content,
        }
    }
}

/// Reads a record of the stream of this id.
pub fn read<'a>(message: &'a impl Message, stream: &str) -> Read<'a> {
    let (mut seq, mut operation, mut namespace, mut of) = (None, None, None, None);
    let (mut snapshot, mut is_replayed) = (None, false);
    // Borrowed from the message as a whole, and not from what is iterated over.
    let Some(list) = message.headers() else {
        return Read::Foreign;
    };
    for index in 0..list.count() {
        let header = list.get(index);
        let text = header.value.and_then(|value| str::from_utf8(value).ok());
        match header.key {
            headers::SEQ => seq = text.and_then(|text| text.parse::<u64>().ok()),
            headers::OPERATION => operation = text,
            headers::NAMESPACE => namespace = text,
            headers::STREAM => of = text,
            headers::LISTENER => return Read::Nothing,
            headers::SNAPSHOT => snapshot = text,
            REPLAYED => is_replayed = true,
            _ => {}
        }
    }
    let (Some(seq), Some(operation), Some(namespace), Some(of)) = (seq, operation, namespace, of)
    else {
        return Read::Foreign;
    };
    if of != stream {
        return Read::OfAnotherStream;
    }
    let document = |kind| {
        let Some(id) = message.key().and_then(|key| scan::member(key, "_id")) else {
            return Read::Foreign;
        };
        let content = message.payload().filter(|_| kind == Kind::Whole);
        let content = content.and_then(|value| scan::member(value, "fullDocument"));
        let (kind, content) = match (kind, content) {
            (Kind::Whole, None | Some(b"null")) => (Kind::Partial, Hash::default()),
            (Kind::Whole, Some(text)) if is_replayed => (Kind::Replayed, hash(text)),
            (Kind::Whole, Some(text)) => (Kind::Whole, hash(text)),
            (kind, _) => (kind, Hash::default()),
        };
        Read::Document(Change {
            namespace,
            id: hash(id),
            seq,
            kind,
            content,
            snapshot,
        })
    };
    match operation {
        _ if message.payload().is_none() => document(Kind::Tombstone),
        "insert" | "update" | "replace" | "read" => document(Kind::Whole),
        "delete" => document(Kind::Gone),
        "gap" => Read::Gap,
        _ => match definition(operation, namespace, message.payload().unwrap_or_default()) {
            Some(definition) => Read::Definition { seq, definition },
            None => Read::Nothing,
        },
    }
}

fn definition(operation: &str, namespace: &str, value: &[u8]) -> Option<Definition> {
    let of = || {
        let (database, collection) = namespace.split_once('.')?;
        Some(Namespace {
            database: database.to_owned(),
            collection: collection.to_owned(),
        })
    };
    Some(match operation {
        "drop" => Definition::Drop(of()?),
        "dropDatabase" => {
            let database = namespace.split('.').next().unwrap_or_default();
            Definition::DropDatabase(database.to_owned())
        }
        "create" => Definition::Create(of()?),
        "rename" => {
            let to = scan::member(value, "to")?;
            let name = |part| serde_json::from_slice(scan::member(to, part)?).ok();
            let to = Namespace {
                database: name("database")?,
                collection: name("collection")?,
            };
            Definition::Rename(of()?, to)
        }
        _ => return None,
    })
}

/// The `_id` of a record's key; none where it cannot be read.
pub fn id_of(key: &[u8]) -> Option<bson::Bson> {
    let id = scan::member(key, "_id")?;
    let text = [br#"{"_id":"#.as_slice(), id, b"}"].concat();
    // A document is read in its own order, which counts for an `_id` of several fields.
    let mut document: Document = serde_json::from_slice(&text).ok()?;
    document.remove("_id")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Bson, doc};
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    fn message(operation: &str, value: Option<&str>, more: &[(&str, &str)]) -> OwnedMessage {
        let of_all = [
            ("tw-seq", "7"),
            ("tw-op", operation),
            ("tw-ns", "shop.orders"),
            ("tw-stream", "s"),
        ];
        let all = of_all.iter().chain(more);
        let headers = all.fold(OwnedHeaders::new(), |headers, (key, value)| {
            let value = Some(*value);
            headers.insert(Header { key, value })
        });
        let key = br#"{"database":"shop","collection":"orders","_id":{"b":1,"a":{"$oid":"65bc9fb6c485f419a7a877fe"}}}"#;
        let time = Timestamp::NotAvailable;
        let value = value.map(|value| value.as_bytes().to_vec());
        OwnedMessage::new(
            value,
            Some(key.to_vec()),
            "t".into(),
            time,
            0,
            0,
            Some(headers),
        )
    }

    fn kind(message: &OwnedMessage) -> Kind {
        match read(message, "s") {
            Read::Document(change) => change.kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_record_says_what_it_knows_of_its_document() {
        let whole = Some(r#"{"operationType":"insert","fullDocument":{"_id":1}}"#);
        assert_eq!(kind(&message("insert", whole, &[])), Kind::Whole);
        assert_eq!(kind(&message("read", whole, &[])), Kind::Whole);
        let replayed = message("insert", whole, &[("tw-replayed", "1")]);
        assert_eq!(kind(&replayed), Kind::Replayed);
        for partial in [r#"{"fullDocument":null}"#, r#"{"updateDescription":{}}"#] {
            assert_eq!(kind(&message("update", Some(partial), &[])), Kind::Partial);
        }
        assert_eq!(kind(&message("delete", Some("{}"), &[])), Kind::Gone);
        assert_eq!(kind(&message("delete", None, &[])), Kind::Tombstone);
        let snapshot = message("read", whole, &[("tw-snapshot", "1")]);
        assert!(matches!(read(&snapshot, "s"), Read::Document(it) if it.snapshot == Some("1")));
    }

    #[test]
    fn what_is_not_of_the_stream_is_left_out() {
        let whole = Some("{}");
        let of_listener = message("insert", whole, &[("tw-listener", "x")]);
        assert!(matches!(read(&of_listener, "s"), Read::Nothing));
        let insert = message("insert", whole, &[]);
        assert!(matches!(read(&insert, "t"), Read::OfAnotherStream));
        let index = message("createIndexes", whole, &[]);
        assert!(matches!(read(&index, "s"), Read::Nothing));
        let rename = r#"{"to":{"database":"shop","collection":"new.ones"}}"#;
        let rename = message("rename", Some(rename), &[]);
        assert!(matches!(
            read(&rename, "s"),
            Read::Definition { seq: 7, definition: Definition::Rename(_, to) } if to.collection == "new.ones"
        ));
    }

    #[test]
    fn an_id_is_read_with_its_types_and_in_its_order() {
        let insert = message("insert", Some("{}"), &[]);
        let id = bson::oid::ObjectId::parse_str("65bc9fb6c485f419a7a877fe").unwrap();
        assert_eq!(
            id_of(insert.key().unwrap()),
            Some(Bson::Document(doc! {"b": 1, "a": id}))
        );
        assert_eq!(id_of(b"{}"), None);
    }
}
