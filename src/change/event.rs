//! One change event, read in place from the server's reply.

use crate::change::position::{ClusterTime, ResumeToken};
use crate::change::raw::{self, Element, Malformed};

/// What happened. Names are the server's own `operationType`s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    Insert,
    Update,
    Replace,
    Delete,
    /// A row of a snapshot: the document as it was found. No server sends it.
    Read,
    Drop,
    Rename,
    DropDatabase,
    Invalidate,
    /// An expanded event (`create`, `createIndexes`, …); which one is [`Event::operation_name`].
    Other,
}

impl Operation {
    /// Reads the server's `operationType`.
    pub fn from_name(name: &str) -> Self {
        match name {
            "insert" => Self::Insert,
            "update" => Self::Update,
            "replace" => Self::Replace,
            "delete" => Self::Delete,
            "read" => Self::Read,
            "drop" => Self::Drop,
            "rename" => Self::Rename,
            "dropDatabase" => Self::DropDatabase,
            "invalidate" => Self::Invalidate,
            _ => Self::Other,
        }
    }

    /// Whether the event is about one document (and not about a collection or database).
    pub fn is_document(self) -> bool {
        matches!(
            self,
            Self::Insert | Self::Update | Self::Replace | Self::Delete | Self::Read
        )
    }
}

/// A change event whose fields are slices of the server's reply.
///
/// Fields that the event does not have are `None`; a field that is there and null is
/// `Some` with [`ElementType::Null`], as after a look-up that found nothing.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The whole event.
    pub raw: &'a [u8],
    /// `_id`, the resume token document.
    pub token: &'a [u8],
    pub operation: Operation,
    /// The server's `operationType` as sent.
    pub operation_name: &'a str,
    /// `ns.db`; empty on `invalidate`.
    pub database: &'a str,
    /// `ns.coll`; empty on `invalidate` and `dropDatabase`.
    pub collection: &'a str,
    pub cluster_time: Option<ClusterTime>,
    /// `wallTime` in milliseconds since the Unix epoch (server 6.0+).
    pub wall_time: Option<i64>,
    pub document_key: Option<&'a [u8]>,
    pub full_document: Option<Element<'a>>,
    pub full_document_before_change: Option<Element<'a>>,
    pub update_description: Option<&'a [u8]>,
    /// `to` of a rename: the new namespace document.
    pub rename_to: Option<&'a [u8]>,
    /// `operationDescription` of an expanded event.
    pub operation_description: Option<Element<'a>>,
    pub lsid: Option<&'a [u8]>,
    pub txn_number: Option<i64>,
    /// `(fragment, of)` of an event that the server has split.
    pub split: Option<(u32, u32)>,
}

/// Why a document is no change event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoEvent {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A field that every event has is not there, or is of another type.
    #[error("an event came without `{0}`")]
    Without(&'static str),
    #[error("an event came with a `splitEvent` that cannot be read")]
    Split,
}

/// `operationType`s that are known beside those of [`Operation`]: the expanded events, and ours.
pub(super) const EXPANDED: [&str; 11] = [
    "create",
    "createIndexes",
    "dropIndexes",
    "modify",
    "shardCollection",
    "reshardCollection",
    "refineCollectionShardKey",
    "startIndexBuild",
    "abortIndexBuild",
    "endOfTransaction",
    "gap",
];

impl<'a> Event<'a> {
    /// An event of which no more is known than what it is about: what routes and filters look at. The collection
    /// is empty where there is none.
    pub fn about(operation: &'a str, database: &'a str, collection: &'a str) -> Self {
        Self {
            raw: &[],
            token: &[],
            operation: Operation::from_name(operation),
            operation_name: operation,
            database,
            collection,
            cluster_time: None,
            wall_time: None,
            document_key: None,
            full_document: None,
            full_document_before_change: None,
            update_description: None,
            rename_to: None,
            operation_description: None,
            lsid: None,
            txn_number: None,
            split: None,
        }
    }

    /// Reads the event's fields in one pass.
    ///
    /// # Errors
    /// [`NoEvent`] when the bytes are not BSON, or lack what every event has.
    pub fn parse(raw: &'a [u8]) -> Result<Self, NoEvent> {
        let mut event = Self {
            raw,
            ..Self::about("", "", "")
        };
        for element in raw::walk(raw)? {
            let element = element?;
            match element.name {
                b"_id" => event.token = element.as_document().unwrap_or(&[]),
                b"operationType" => {
                    event.operation_name = element.as_str().unwrap_or("");
                    event.operation = Operation::from_name(event.operation_name);
                }
                b"ns" => {
                    for part in raw::walk(element.as_document().unwrap_or(EMPTY))? {
                        let part = part?;
                        match part.name {
                            b"db" => event.database = part.as_str().unwrap_or(""),
                            b"coll" => event.collection = part.as_str().unwrap_or(""),
                            _ => {}
                        }
                    }
                }
                b"clusterTime" => {
                    event.cluster_time =
                        element.as_timestamp().map(|(s, i)| ClusterTime::new(s, i));
                }
                b"wallTime" => event.wall_time = element.as_date_millis(),
                b"documentKey" => event.document_key = element.as_document(),
                b"fullDocument" => event.full_document = Some(element),
                b"fullDocumentBeforeChange" => event.full_document_before_change = Some(element),
                b"updateDescription" => event.update_description = element.as_document(),
                b"to" => event.rename_to = element.as_document(),
                b"operationDescription" => event.operation_description = Some(element),
                b"lsid" => event.lsid = element.as_document(),
                b"txnNumber" => event.txn_number = element.as_i64(),
                b"splitEvent" => event.split = Some(split_of(element)?),
                _ => {}
            }
        }
        // A token of no fields is none.
        if event.token.len() <= EMPTY.len() {
            return Err(NoEvent::Without("_id"));
        }
        // Of a split event, one fragment has it.
        if event.operation_name.is_empty() && event.split.is_none() {
            return Err(NoEvent::Without("operationType"));
        }
        Ok(event)
    }

    /// Whether its `operationType` is none that is known here: new servers bring new events.
    pub fn is_unknown(&self) -> bool {
        self.operation == Operation::Other && !EXPANDED.contains(&self.operation_name)
    }

    /// The change's own time in milliseconds since the Unix epoch: `wallTime`, else `clusterTime`, else
    /// that of the token, where a stage of the user's leaves both out.
    pub fn timestamp_millis(&self) -> Option<i64> {
        self.wall_time
            .or_else(|| self.cluster_time.map(ClusterTime::millis))
            .or_else(|| ClusterTime::of_token(self.token_data()?).map(ClusterTime::millis))
    }

    /// The collection that the event counts for: out of one of the servers' own, which has another name
    /// each time, a rename counts for the collection that comes of it.
    #[inline]
    pub fn counted_for(&self) -> &'a str {
        if self.operation != Operation::Rename || !is_internal(self.collection) {
            return self.collection;
        }
        let to = self.rename_to.and_then(|to| raw::find(to, "coll").ok()?);
        to.and_then(|name| name.as_str()).unwrap_or(self.collection)
    }

    /// `documentKey._id`.
    pub fn document_id(&self) -> Option<Element<'a>> {
        raw::find(self.document_key?, "_id").ok().flatten()
    }

    /// The token's `_data` where it is a string, as on every supported server.
    pub fn token_data(&self) -> Option<&'a str> {
        raw::find(self.token, "_data").ok().flatten()?.as_str()
    }

    /// The token, copied out of the reply.
    pub fn resume_token(&self) -> Option<ResumeToken> {
        ResumeToken::from_bytes(self.token)
    }
}

/// Whether servers make collections of this name for themselves: what `$out` and `mapReduce` write before it
/// takes the place of its target, the copies behind a rename into another database and behind
/// `convertToCapped`, and what Queryable Encryption keeps beside a collection. `system.*` is not among them.
#[inline]
pub fn is_internal(collection: &str) -> bool {
    match collection.as_bytes().first() {
        Some(b't') => is_temporary(collection),
        Some(b'e') => collection.starts_with("enxcol_."),
        _ => false,
    }
}

fn is_temporary(collection: &str) -> bool {
    let Some(rest) = collection.strip_prefix("tmp") else {
        return false;
    };
    if rest.starts_with(".agg_out.") || rest.starts_with(".mr.") {
        return true;
    }
    // Five characters of the server's choice.
    rest.split_at_checked(5).is_some_and(|(chosen, what)| {
        chosen.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && (what == ".renameCollection" || what.starts_with(".convertToCapped."))
    })
}

const EMPTY: &[u8] = &[5, 0, 0, 0, 0];

fn split_of(element: Element<'_>) -> Result<(u32, u32), NoEvent> {
    let document = element.as_document().ok_or(NoEvent::Split)?;
    let number = |name| -> Result<u32, NoEvent> {
        let number = raw::find(document, name)?.and_then(|e| e.as_i64());
        let number = number.and_then(|number| u32::try_from(number).ok());
        number.ok_or(NoEvent::Split)
    };
    Ok((number("fragment")?, number("of")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;
    use bson::spec::ElementType;

    #[test]
    fn an_update_is_read_field_by_field() {
        let raw = bson::RawDocumentBuf::try_from(&doc! {
            "_id": {"_data": "8265"}, "operationType": "update",
            "clusterTime": bson::Timestamp { time: 7, increment: 2 },
            "wallTime": bson::DateTime::from_millis(1234),
            "fullDocument": null, "ns": {"db": "d", "coll": "c.x"},
            "documentKey": {"shard": 1, "_id": "k"},
            "updateDescription": {"updatedFields": {"a": 1}, "removedFields": []},
            "splitEvent": {"fragment": 1, "of": 3},
        })
        .unwrap();
        let event = Event::parse(raw.as_bytes()).unwrap();
        assert_eq!(event.operation, Operation::Update);
        assert_eq!((event.database, event.collection), ("d", "c.x"));
        assert_eq!(event.timestamp_millis(), Some(1234));
        assert_eq!(event.document_id().unwrap().as_str(), Some("k"));
        assert_eq!(event.token_data(), Some("8265"));
        assert_eq!(event.split, Some((1, 3)));
        assert_eq!(event.full_document.map(|e| e.kind), Some(ElementType::Null));
    }

    #[test]
    fn what_lacks_a_field_of_every_event_is_none() {
        let no_event = |document: bson::Document| {
            let raw = bson::RawDocumentBuf::try_from(&document).unwrap();
            Event::parse(raw.as_bytes()).unwrap_err()
        };
        let token = || doc! {"_data": "82"};
        for event in [
            doc! {"operationType": "insert"},
            doc! {"_id": {}, "operationType": "insert"},
            doc! {"_id": 1, "operationType": "insert"},
        ] {
            assert_eq!(no_event(event), NoEvent::Without("_id"));
        }
        for event in [
            doc! {"_id": token()},
            doc! {"_id": token(), "operationType": 1},
        ] {
            assert_eq!(no_event(event), NoEvent::Without("operationType"));
        }
        for split in [
            doc! {},
            doc! {"fragment": -1, "of": 2},
            doc! {"fragment": 1},
        ] {
            let event = doc! {"_id": token(), "operationType": "insert", "splitEvent": split};
            assert_eq!(no_event(event), NoEvent::Split);
        }
    }

    #[test]
    fn an_event_without_its_times_has_that_of_its_token() {
        let time = |event: &bson::Document| {
            let raw = bson::RawDocumentBuf::try_from(event).unwrap();
            Event::parse(raw.as_bytes()).unwrap().timestamp_millis()
        };
        let token = "8265A1B2C3000000012B0229296E04";
        let mut event = doc! {"_id": {"_data": token}, "operationType": "insert"};
        assert_eq!(time(&event), Some(0x65A1_B2C3 * 1000));
        event.insert(
            "clusterTime",
            bson::Timestamp {
                time: 7,
                increment: 2,
            },
        );
        assert_eq!(time(&event), Some(7000));
        // Tokens of another make tell none.
        for other in ["5F0000001273000400000000000000117400030000007F", "82", ""] {
            let event = doc! {"_id": {"_data": other}, "operationType": "insert"};
            assert_eq!(time(&event), None, "{other}");
        }
    }

    #[test]
    fn operations_of_newer_servers_are_told_from_those_that_are_known() {
        let is_unknown = |operation: &str| {
            let event = doc! {"_id": {"_data": "82"}, "operationType": operation};
            let raw = bson::RawDocumentBuf::try_from(&event).unwrap();
            Event::parse(raw.as_bytes()).unwrap().is_unknown()
        };
        assert!(is_unknown("teleport"));
        for known in ["insert", "invalidate", "create", "endOfTransaction", "gap"] {
            assert!(!is_unknown(known), "{known}");
        }
    }

    #[test]
    fn only_names_that_servers_give_are_internal() {
        for name in [
            "tmp.agg_out.2f0b1c5e-58a0-4b1e-9e0a-1f2d3c4b5a69",
            "tmp.mr.orders_0_inc",
            "tmpaB3x9.renameCollection",
            "tmpaB3x9.convertToCapped.orders",
            "enxcol_.patients.esc",
        ] {
            assert!(is_internal(name), "{name}");
        }
        for name in [
            "",
            "t",
            "tmp",
            "tmp.orders",
            "tmp.agg_out",
            "tmporary",
            "tmpaB3x9.orders",
            "tmpä.renameCollection",
            "tmpabc.renameCollection",
            "enxcol",
            "orders.tmp.agg_out.1",
            "mytmp.agg_out.1",
        ] {
            assert!(!is_internal(name), "{name}");
        }
    }

    #[test]
    fn a_rename_out_of_a_temporary_collection_counts_for_what_comes_of_it() {
        let of = |from: &str| {
            let raw = bson::RawDocumentBuf::try_from(&doc! {
                "_id": {"_data": "82"}, "operationType": "rename", "ns": {"db": "d", "coll": from},
                "to": {"db": "d", "coll": "report"},
            })
            .unwrap();
            Event::parse(raw.as_bytes())
                .unwrap()
                .counted_for()
                .to_owned()
        };
        assert_eq!(of("tmp.agg_out.1"), "report");
        assert_eq!(of("people"), "people");
    }

    #[test]
    fn an_event_without_a_token_is_malformed() {
        let raw = bson::RawDocumentBuf::try_from(&doc! {"operationType": "insert"}).unwrap();
        assert!(Event::parse(raw.as_bytes()).is_err());
    }
}
