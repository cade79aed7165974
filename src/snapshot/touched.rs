//! Which documents the stream has touched since a window was opened.

use super::marks::{Marks, Window};
use crate::change::event::Event;
use crate::change::raw::Element;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

/// So many are remembered at most: beyond, what waits is read again.
const MOST: usize = 500_000;

/// Below this it is not worth looking which are still asked for.
const FEW: usize = 8_192;

/// What the stream has touched. Documents are known by a hash of 128 bits with a secret of this process.
#[derive(Debug)]
pub struct Touched {
    marks: Arc<Marks>,
    keys: HashMap<u128, Touch, foldhash::fast::RandomState>,
    hashes: [foldhash::quality::RandomState; 2],
    /// At how many it is looked again which are asked for.
    limit: usize,
}

/// One touch of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    at: u64,
    /// Whether the stream brought the document whole, or said that it is gone.
    pub is_whole: bool,
}

impl Touched {
    pub fn new(marks: Arc<Marks>) -> Self {
        Self {
            marks,
            keys: HashMap::default(),
            hashes: Default::default(),
            limit: FEW,
        }
    }

    /// Takes note of an event.
    pub fn event(&mut self, event: &Event<'_>) {
        // In this order: a window that does not count the touch is of a later time.
        self.marks.reach(event.cluster_time);
        let at = self.marks.touch();
        let id = event.document_id();
        let is_whole = match id {
            // A whole collection, or a database.
            None => true,
            Some(_) => event.operation_name == "delete" || has_document(event),
        };
        let key = self.key(event.database, event.collection, id);
        self.put(key, Touch { at, is_whole });
        if id.is_none()
            && let Some(to) = event.rename_to
        {
            let name = |part| crate::change::raw::find(to, part).ok()??.as_str();
            let key = self.key(
                name("db").unwrap_or_default(),
                name("coll").unwrap_or_default(),
                None,
            );
            self.put(key, Touch { at, is_whole });
        }
    }

    fn put(&mut self, key: u128, touch: Touch) {
        let touch = match self.keys.get(&key) {
            // A partial change behind a whole one: nothing is missing.
            Some(before) if before.at > self.marks.floor() => Touch {
                is_whole: before.is_whole || touch.is_whole,
                ..touch
            },
            _ => touch,
        };
        self.keys.insert(key, touch);
        if self.keys.len() >= self.limit {
            let floor = self.marks.floor();
            self.keys.retain(|_, touch| touch.at > floor);
            self.limit = (self.keys.len() * 2).max(FEW);
        }
    }

    /// Whether more was touched than is remembered.
    pub fn is_full(&self) -> bool {
        self.keys.len() >= MOST
    }

    /// Whether the collection of a window has become another since it was opened: dropped, renamed, made again.
    pub fn is_void(&self, window: &Window, database: &str, collection: &str) -> bool {
        [collection, ""]
            .iter()
            .any(|name| self.since(window, self.key(database, name, None)).is_some())
    }

    /// The touch of a document since a window was opened.
    pub fn document(
        &self,
        window: &Window,
        database: &str,
        collection: &str,
        id: Element<'_>,
    ) -> Option<Touch> {
        self.since(window, self.key(database, collection, Some(id)))
    }

    fn since(&self, window: &Window, key: u128) -> Option<Touch> {
        self.keys
            .get(&key)
            .filter(|touch| touch.at > window.since)
            .copied()
    }

    fn key(&self, database: &str, collection: &str, id: Option<Element<'_>>) -> u128 {
        let [high, low] = self.hashes.each_ref().map(|state| {
            let mut hasher = state.build_hasher();
            hasher.write(database.as_bytes());
            hasher.write_u8(0);
            hasher.write(collection.as_bytes());
            hasher.write_u8(0);
            if let Some(id) = id {
                hasher.write_u8(id.kind as u8);
                hasher.write(id.value);
            }
            hasher.finish()
        });
        u128::from(high) << 64 | u128::from(low)
    }
}

/// Whether the event has the document whole. A look-up that found nothing is mostly followed by a delete, but not
/// where the update changed the shard key (SERVER-138388).
fn has_document(event: &Event<'_>) -> bool {
    let document = event
        .full_document
        .and_then(|document| document.as_document());
    document.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{RawDocumentBuf, doc};

    fn id(raw: &RawDocumentBuf) -> Element<'_> {
        crate::change::raw::find(raw.as_bytes(), "_id")
            .unwrap()
            .unwrap()
    }

    fn event(operation: &str, id: impl Into<bson::Bson>, more: bson::Document) -> RawDocumentBuf {
        let mut event = doc! {
            "_id": {"_data": "82"}, "operationType": operation,
            "ns": {"db": "shop", "coll": "orders"}, "documentKey": {"_id": id.into()},
        };
        event.extend(more);
        RawDocumentBuf::try_from(&event).unwrap()
    }

    #[test]
    fn a_document_is_touched_for_windows_that_were_open_before() {
        let marks = Arc::new(Marks::default());
        let mut touched = Touched::new(Arc::clone(&marks));
        let before = marks.open();
        let raw = event("insert", 1, doc! {"fullDocument": {"_id": 1}});
        touched.event(&Event::parse(raw.as_bytes()).unwrap());
        let after = marks.open();
        let one = RawDocumentBuf::try_from(&doc! {"_id": 1}).unwrap();
        let long = RawDocumentBuf::try_from(&doc! {"_id": 1_i64}).unwrap();
        let touch = |window, of| touched.document(window, "shop", "orders", id(of));
        assert!(touch(&before, &one).unwrap().is_whole);
        assert!(touch(&before, &long).is_none(), "another document");
        assert!(touch(&after, &one).is_none());
        assert!(!touched.is_void(&before, "shop", "orders"));
    }

    #[test]
    fn a_change_without_the_document_leaves_it_to_be_read_again() {
        let marks = Arc::new(Marks::default());
        let mut touched = Touched::new(Arc::clone(&marks));
        let window = marks.open();
        let raw = event("update", 1, doc! {});
        touched.event(&Event::parse(raw.as_bytes()).unwrap());
        let one = RawDocumentBuf::try_from(&doc! {"_id": 1}).unwrap();
        let is_whole = |touched: &Touched| {
            let touch = touched.document(&window, "shop", "orders", id(&one));
            touch.unwrap().is_whole
        };
        assert!(!is_whole(&touched));
        let raw = event("delete", 1, doc! {});
        touched.event(&Event::parse(raw.as_bytes()).unwrap());
        assert!(is_whole(&touched));
        let raw = event("update", 1, doc! {});
        touched.event(&Event::parse(raw.as_bytes()).unwrap());
        assert!(is_whole(&touched), "the whole one came first");
    }

    #[test]
    fn a_drop_a_rename_and_the_end_of_a_database_make_a_window_void() {
        for (operation, more) in [
            ("drop", doc! {"ns": {"db": "shop", "coll": "orders"}}),
            (
                "rename",
                doc! {"ns": {"db": "shop", "coll": "a"}, "to": {"db": "shop", "coll": "orders"}},
            ),
            ("dropDatabase", doc! {"ns": {"db": "shop"}}),
        ] {
            let marks = Arc::new(Marks::default());
            let mut touched = Touched::new(Arc::clone(&marks));
            let window = marks.open();
            let mut event = doc! {"_id": {"_data": "82"}, "operationType": operation};
            event.extend(more);
            let raw = RawDocumentBuf::try_from(&event).unwrap();
            touched.event(&Event::parse(raw.as_bytes()).unwrap());
            assert!(touched.is_void(&window, "shop", "orders"), "{operation}");
            assert!(!touched.is_void(&window, "other", "orders"), "{operation}");
            assert!(!touched.is_void(&marks.open(), "shop", "orders"));
        }
    }

    #[test]
    fn what_no_window_asks_for_is_forgotten() {
        let marks = Arc::new(Marks::default());
        let mut touched = Touched::new(Arc::clone(&marks));
        for number in 0..3 * FEW {
            let raw = event("insert", number as i32, doc! {});
            touched.event(&Event::parse(raw.as_bytes()).unwrap());
        }
        assert!(touched.keys.len() <= FEW);
    }
}
