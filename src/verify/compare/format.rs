//! What the records of different watchers say: which document, what happened, what it is now.

use super::loose;
use crate::encode::headers;
use crate::encode::json::scan;
use rdkafka::message::{Headers, Message};
use std::borrow::Cow;

/// Whose records they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    Tailwater,
    Debezium,
    MongoKafka,
    Custom(Map),
}

/// What happened, as far as every watcher tells it: an update and a replacement are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    Insert = 0,
    Change = 1,
    Delete = 2,
}

impl Action {
    pub fn of_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Insert,
            1 => Self::Change,
            _ => Self::Delete,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Change => "update",
            Self::Delete => "delete",
        }
    }

    /// By any of the names that watchers use.
    fn of(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "insert" | "inserted" | "c" | "create" | "created" | "added" | "i" => Self::Insert,
            "update" | "updated" | "u" | "replace" | "replaced" | "modified" | "change"
            | "changed" => Self::Change,
            "delete" | "deleted" | "d" | "remove" | "removed" => Self::Delete,
            _ => return None,
        })
    }
}

/// A change of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub database: String,
    pub collection: String,
    /// In the common notation.
    pub id: Vec<u8>,
    pub action: Action,
    /// As it is after the change, in the common notation; none where the record does not say.
    pub document: Option<Vec<u8>>,
    /// In milliseconds since the Unix epoch.
    pub time: i64,
    /// Tailwater's `tw-seq`.
    pub seq: Option<u64>,
}

/// What a record is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Change(Change),
    /// A row of a snapshot, a tombstone, an event about a collection: nothing that can be compared.
    LeftOut,
    /// It is not in this format.
    Foreign,
}

/// Where a home-made envelope has what is compared: `name=path` each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Map(Vec<(Part, String)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Operation,
    Database,
    Collection,
    Id,
    Document,
    Time,
}

const PARTS: [(&str, Part, &str); 6] = [
    ("operation", Part::Operation, "operationType"),
    ("database", Part::Database, "database"),
    ("collection", Part::Collection, "collection"),
    ("id", Part::Id, "documentKey._id"),
    ("document", Part::Document, "fullDocument"),
    ("time", Part::Time, "timestamp"),
];

impl Map {
    /// Reads `operation=op,id=key.id,database==shop`.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn read(parts: &[String]) -> Result<Self, String> {
        let mut map = Self::default();
        for text in parts {
            let known = text.split_once('=').and_then(|(name, path)| {
                let part = PARTS.iter().find(|(known, ..)| *known == name)?.1;
                (!path.is_empty()).then(|| (part, path.to_owned()))
            });
            let Some(known) = known else {
                return Err(format!(
                    "`{text}` is no mapping: name=path, of operation, database, collection, id, document and time; a path \
                     is of the value (data.after), of the key (key._id), a header (header.op), or a text itself (=shop)"
                ));
            };
            map.0.push(known);
        }
        Ok(map)
    }

    fn path(&self, part: Part) -> &str {
        let given = self.0.iter().find(|(given, _)| *given == part);
        let default = PARTS.iter().find(|(_, known, _)| *known == part);
        given.map_or_else(|| default.map_or("", |it| it.2), |(_, path)| path)
    }

    /// The JSON at the path of a part.
    fn get<'a>(&self, part: Part, message: &'a impl Message) -> Option<Cow<'a, [u8]>> {
        let path = self.path(part);
        let quoted = |text: &str| serde_json::to_vec(text).ok().map(Cow::Owned);
        if let Some(text) = path.strip_prefix('=') {
            return quoted(text);
        }
        if let Some(name) = path.strip_prefix("header.") {
            return quoted(header(message, name)?);
        }
        match path.strip_prefix("key") {
            Some("") => at(message.key()?, ""),
            Some(rest) if rest.starts_with('.') => at(message.key()?, &rest[1..]),
            _ => at(message.payload()?, path),
        }
    }
}

/// What is at a path; JSON that is a string within JSON is looked into.
fn at<'a>(value: &'a [u8], path: &str) -> Option<Cow<'a, [u8]>> {
    let value = unpacked(value);
    if path.is_empty() {
        return Some(value);
    }
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    match value {
        Cow::Borrowed(value) => at(scan::member(value, name)?, rest),
        Cow::Owned(value) => {
            at(scan::member(&value, name)?, rest).map(|it| Cow::Owned(it.into_owned()))
        }
    }
}

/// JSON that stands as a string within JSON, as itself.
fn unpacked(value: &[u8]) -> Cow<'_, [u8]> {
    if value.starts_with(b"\"{")
        && let Some(text) = loose::text(value)
    {
        return Cow::Owned(text.into_bytes());
    }
    Cow::Borrowed(value)
}

/// What Kafka Connect's converter has put around it.
fn payload(value: &[u8]) -> Cow<'_, [u8]> {
    match (
        scan::member(value, "schema"),
        scan::member(value, "payload"),
    ) {
        (Some(_), Some(payload)) => unpacked(payload),
        _ => unpacked(value),
    }
}

fn header<'a>(message: &'a impl Message, name: &str) -> Option<&'a str> {
    let headers = message.headers()?;
    let index = (0..headers.count()).find(|index| headers.get(*index).key == name)?;
    std::str::from_utf8(headers.get(index).value?).ok()
}

impl Format {
    /// Reads a record.
    pub fn read(&self, message: &impl Message) -> Seen {
        let Some(value) = message.payload() else {
            return Seen::LeftOut;
        };
        let read = match self {
            Self::Tailwater => tailwater(message, value),
            Self::Debezium => debezium(message, value),
            Self::MongoKafka => mongo_kafka(message, value),
            Self::Custom(map) => custom(map, message),
        };
        read.unwrap_or(Seen::Foreign)
    }
}

fn tailwater(message: &impl Message, value: &[u8]) -> Option<Seen> {
    let operation = header(message, headers::OPERATION)?;
    let is_left_out = [headers::SNAPSHOT, headers::LISTENER]
        .iter()
        .any(|it| header(message, it).is_some());
    let Some(action) = Action::of(operation).filter(|_| !is_left_out) else {
        return Some(Seen::LeftOut);
    };
    let (database, collection) = header(message, headers::NAMESPACE)?.split_once('.')?;
    Some(change(
        (database, collection),
        scan::member(message.key()?, "_id")?,
        action,
        scan::member(value, "fullDocument"),
        header(message, headers::TIMESTAMP).and_then(|it| it.parse().ok()),
        message,
    ))
}

fn debezium(message: &impl Message, value: &[u8]) -> Option<Seen> {
    let value = payload(value);
    let value = value.as_ref();
    let operation = loose::text(scan::member(value, "op")?)?;
    let Some(action) = Action::of(&operation) else {
        // Rows of a snapshot, and what is about no document.
        return Some(Seen::LeftOut);
    };
    let source = scan::member(value, "source")?;
    let of = |name| loose::text(scan::member(source, name)?);
    let key = payload(message.key()?);
    // Extended JSON in a string.
    let id = loose::text(scan::member(&key, "id")?)?;
    let document = scan::member(value, "after").and_then(loose::text);
    let time = scan::member(source, "ts_ms").and_then(loose::time);
    Some(change(
        (&of("db")?, &of("collection")?),
        id.as_bytes(),
        action,
        document.as_deref().map(str::as_bytes),
        time,
        message,
    ))
}

fn mongo_kafka(message: &impl Message, value: &[u8]) -> Option<Seen> {
    let value = payload(value);
    let value = value.as_ref();
    let operation = loose::text(scan::member(value, "operationType")?)?;
    let Some(action) = Action::of(&operation) else {
        return Some(Seen::LeftOut);
    };
    // A copied document is an insert without a time.
    let time = scan::member(value, "wallTime").or_else(|| scan::member(value, "clusterTime"));
    let Some(time) = time else {
        return Some(Seen::LeftOut);
    };
    let namespace = scan::member(value, "ns")?;
    let of = |name| loose::text(scan::member(namespace, name)?);
    let id = scan::member(scan::member(value, "documentKey")?, "_id")?;
    Some(change(
        (&of("db")?, &of("coll")?),
        id,
        action,
        scan::member(value, "fullDocument"),
        loose::time(time),
        message,
    ))
}

fn custom(map: &Map, message: &impl Message) -> Option<Seen> {
    let text = |part| loose::text(&map.get(part, message)?);
    let operation = text(Part::Operation)?;
    let Some(action) = Action::of(&operation) else {
        return Some(Seen::LeftOut);
    };
    let document = map.get(Part::Document, message);
    let time = map.get(Part::Time, message);
    Some(change(
        (&text(Part::Database)?, &text(Part::Collection)?),
        &map.get(Part::Id, message)?,
        action,
        document.as_deref(),
        time.and_then(|it| loose::time(&it)),
        message,
    ))
}

fn change(
    (database, collection): (&str, &str),
    id: &[u8],
    action: Action,
    document: Option<&[u8]>,
    time: Option<i64>,
    message: &impl Message,
) -> Seen {
    let notation = |value: &[u8]| {
        let mut text = Vec::new();
        loose::write(&mut text, value);
        text
    };
    let document = document.filter(|it| *it != b"null" && action != Action::Delete);
    let time = time.or_else(|| message.timestamp().to_millis());
    Seen::Change(Change {
        database: database.to_owned(),
        collection: collection.to_owned(),
        id: notation(id),
        action,
        document: document.map(|it| notation(&unpacked(it))),
        time: time.unwrap_or_default(),
        seq: header(message, headers::SEQ).and_then(|it| it.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    fn message(key: &str, value: &str, headers: &[(&str, &str)]) -> OwnedMessage {
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| {
                let value = Some(*value);
                all.insert(Header { key, value })
            });
        let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        let time = Timestamp::CreateTime(5);
        OwnedMessage::new(
            Some(value),
            Some(key),
            "t".into(),
            time,
            0,
            0,
            Some(headers),
        )
    }

    fn change(format: &Format, message: &OwnedMessage) -> Change {
        match format.read(message) {
            Seen::Change(change) => change,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_change_is_read_from_every_format() {
        let ours = message(
            r#"{"database":"shop","collection":"users","_id":{"$oid":"65bc9fb6c485f419a7a877fe"}}"#,
            r#"{"operationType":"update","fullDocument":{"_id":"65bc9fb6c485f419a7a877fe","n":7}}"#,
            &[
                ("tw-op", "update"),
                ("tw-ns", "shop.users"),
                ("tw-ts", "1700"),
                ("tw-seq", "9"),
            ],
        );
        let ours = change(&Format::Tailwater, &ours);
        assert_eq!(
            (ours.action, ours.time, ours.seq),
            (Action::Change, 1700, Some(9))
        );
        let debezium = message(
            r#"{"id":"{\"$oid\": \"65bc9fb6c485f419a7a877fe\"}"}"#,
            r#"{"before":null,"after":"{\"_id\": {\"$oid\": \"65bc9fb6c485f419a7a877fe\"},\"n\": {\"$numberLong\": \"7\"}}","updateDescription":null,"source":{"ts_ms":1700,"db":"shop","collection":"users"},"op":"u"}"#,
            &[],
        );
        let mongo_kafka = message(
            r#"{"_id": {"$oid": "65bc9fb6c485f419a7a877fe"}}"#,
            r#"{"_id": {"_data": "82"}, "operationType": "replace", "wallTime": {"$date": 1700}, "fullDocument": {"_id": {"$oid": "65bc9fb6c485f419a7a877fe"}, "n": 7}, "ns": {"db": "shop", "coll": "users"}, "documentKey": {"_id": {"$oid": "65bc9fb6c485f419a7a877fe"}}}"#,
            &[],
        );
        let given = [
            "operation=header.what",
            "database==shop",
            "collection=data.coll",
            "id=key",
            "document=data.doc",
        ];
        let map = Map::read(&given.map(str::to_owned)).unwrap();
        let custom = message(
            "\"65bc9fb6c485f419a7a877fe\"",
            r#"{"data":{"coll":"users","doc":"{\"_id\":\"65bc9fb6c485f419a7a877fe\",\"n\":7}"},"timestamp":1700}"#,
            &[("what", "modified")],
        );
        for (format, message) in [
            (Format::Debezium, debezium),
            (Format::MongoKafka, mongo_kafka),
            (Format::Custom(map), custom),
        ] {
            let theirs = change(&format, &message);
            let seq = ours.seq;
            assert_eq!(Change { seq, ..theirs }, ours, "{format:?}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_left_out_and_what_is_not_of_the_format_is_foreign() {
        let row = message(
            r#"{"id":"1"}"#,
            r#"{"after":"{}","op":"r","source":{}}"#,
            &[],
        );
        assert_eq!(Format::Debezium.read(&row), Seen::LeftOut);
        let row = [("tw-op", "insert"), ("tw-ns", "a.b"), ("tw-snapshot", "1")];
        assert_eq!(
            Format::Tailwater.read(&message("{}", "{}", &row)),
            Seen::LeftOut
        );
        for format in [Format::Tailwater, Format::Debezium, Format::MongoKafka] {
            assert_eq!(format.read(&message("x", "hello", &[])), Seen::Foreign);
        }
        let wrong = Map::read(&["nonsense=a".to_owned()]).unwrap_err();
        assert!(wrong.contains("operation"), "{wrong}");
    }
}
