//! A row as an event: what the pump makes a record of.

use crate::change::event::{Event, Operation};
use crate::change::position::ClusterTime;
use crate::change::raw::{self, Element};
use crate::config::RowOperation;
use crate::encode::headers::ROW_SEPARATOR;
use bson::spec::ElementType;
use sha2::{Digest, Sha256};

/// Bytes of the hash that names a row within its snapshot.
const ID_BYTES: usize = 16;

/// Makes rows events. What an event borrows that is not in the row is kept here and used again.
#[derive(Debug, Default)]
pub struct Rows {
    /// `{_data: "<snapshot>/<hash of the row's namespace and _id>"}`: the same whenever the row is read.
    token: Vec<u8>,
    /// `{_id: …}`.
    key: Vec<u8>,
}

impl Rows {
    /// The event of a row that was read at `time`; none for what has no `_id`.
    pub fn event<'a>(
        &'a mut self,
        snapshot: &str,
        operation: RowOperation,
        (database, collection): (&'a str, &'a str),
        row: &'a [u8],
        time: Option<ClusterTime>,
    ) -> Option<Event<'a>> {
        let id = raw::find(row, "_id").ok()??;
        write_token(&mut self.token, snapshot, database, collection, id);
        write_element(&mut self.key, id);
        Some(Event {
            raw: row,
            token: &self.token,
            operation: Operation::Read,
            cluster_time: time,
            document_key: Some(&self.key),
            full_document: Some(Element {
                kind: ElementType::EmbeddedDocument,
                name: b"fullDocument",
                value: row,
            }),
            ..Event::about(operation.name(), database, collection)
        })
    }
}

/// The row as a whole event, of the shape of a server's own: what a dead letter holds.
pub fn whole(row: &Event<'_>) -> Vec<u8> {
    let mut out = vec![0; 4];
    let mut put = |kind: ElementType, name: &str, value: &[u8]| {
        out.push(kind as u8);
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        out.extend_from_slice(value);
    };
    let text = |text: &str| {
        let mut value = (text.len() as u32 + 1).to_le_bytes().to_vec();
        value.extend_from_slice(text.as_bytes());
        value.push(0);
        value
    };
    put(ElementType::EmbeddedDocument, "_id", row.token);
    put(ElementType::String, "operationType", &text("read"));
    if let Some(time) = row.cluster_time {
        let time = u64::from(time.seconds) << 32 | u64::from(time.increment);
        put(ElementType::Timestamp, "clusterTime", &time.to_le_bytes());
    }
    let mut namespace = vec![0; 4];
    for (name, value) in [("db", row.database), ("coll", row.collection)] {
        namespace.push(ElementType::String as u8);
        namespace.extend_from_slice(name.as_bytes());
        namespace.push(0);
        namespace.extend_from_slice(&text(value));
    }
    close(&mut namespace);
    put(ElementType::EmbeddedDocument, "ns", &namespace);
    if let Some(key) = row.document_key {
        put(ElementType::EmbeddedDocument, "documentKey", key);
    }
    if let Some(document) = row.full_document {
        put(document.kind, "fullDocument", document.value);
    }
    close(&mut out);
    out
}

/// A document of this element alone.
fn write_element(out: &mut Vec<u8>, element: Element<'_>) {
    out.clear();
    out.extend_from_slice(&[0; 4]);
    out.push(element.kind as u8);
    out.extend_from_slice(element.name);
    out.push(0);
    out.extend_from_slice(element.value);
    close(out);
}

fn write_token(
    out: &mut Vec<u8>,
    snapshot: &str,
    database: &str,
    collection: &str,
    id: Element<'_>,
) {
    let mut hash = Sha256::new();
    for part in [database.as_bytes(), b"\0", collection.as_bytes(), b"\0"] {
        hash.update(part);
    }
    hash.update([id.kind as u8]);
    hash.update(id.value);
    let hash = hash.finalize();
    out.clear();
    out.extend_from_slice(&[0; 4]);
    out.push(ElementType::String as u8);
    out.extend_from_slice(b"_data\0");
    let len = snapshot.len() + 1 + 2 * ID_BYTES + 1;
    out.extend_from_slice(&(len as u32).to_le_bytes());
    out.extend_from_slice(snapshot.as_bytes());
    out.push(ROW_SEPARATOR);
    for byte in &hash[..ID_BYTES] {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    out.push(0);
    close(out);
}

fn close(out: &mut Vec<u8>) {
    out.push(0);
    let len = (out.len() as u32).to_le_bytes();
    out[..4].copy_from_slice(&len);
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{RawDocumentBuf, doc};

    #[test]
    fn a_row_is_an_event_with_an_id_of_its_own() {
        let row = RawDocumentBuf::try_from(&doc! {"a": 1, "_id": {"x": "y"}}).unwrap();
        let mut rows = Rows::default();
        let place = ("shop", "orders");
        let id = |rows: &mut Rows, snapshot, row: &RawDocumentBuf| {
            let event = rows.event(snapshot, RowOperation::Read, place, row.as_bytes(), None);
            event.unwrap().token_data().unwrap().to_owned()
        };
        let first = id(&mut rows, "1f", &row);
        assert!(
            first.starts_with("1f/") && first.len() == 3 + 2 * ID_BYTES,
            "{first}"
        );
        assert_eq!(first, id(&mut Rows::default(), "1f", &row));
        let other = RawDocumentBuf::try_from(&doc! {"_id": {"x": "z"}}).unwrap();
        assert_ne!(first, id(&mut rows, "1f", &other));
        let event = rows.event("1f", RowOperation::Insert, place, row.as_bytes(), None);
        let event = event.unwrap();
        assert_eq!(
            (event.operation, event.operation_name),
            (Operation::Read, "insert")
        );
        let id = event.document_id().unwrap();
        assert_eq!(id.to_bson(), Some(doc! {"x": "y"}.into()));
        let time = Some(ClusterTime::new(7, 2));
        let event = rows.event("1f", RowOperation::Insert, place, row.as_bytes(), time);
        let raw = whole(&event.unwrap());
        let again = Event::parse(&raw).unwrap();
        assert_eq!(
            (again.operation, again.cluster_time),
            (Operation::Read, time)
        );
        assert_eq!((again.database, again.collection), place);
        assert_eq!(again.full_document.unwrap().value, row.as_bytes());
        assert!(again.token_data().unwrap().starts_with("1f/"));
        let without = RawDocumentBuf::try_from(&doc! {"a": 1}).unwrap();
        let event = rows.event("1f", RowOperation::Read, place, without.as_bytes(), None);
        assert!(event.is_none());
    }
}
