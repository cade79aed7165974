//! The events that a listener is tried on: given ones, or those of a topic's records.

use crate::api::problem::Problem;
use crate::api::{Context, background};
use crate::change::event::Event;
use crate::config::Scope;
use crate::listener::Definition;
use crate::route::Template;
use crate::sink::newest::{self, StoredRecord};
use bson::{Bson, Document, doc};
use std::sync::Arc;

/// An event, and where it was read.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) event: Document,
    pub(super) place: Option<Place>,
    pub(super) time: Option<String>,
}

/// A record's place in its topic.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) offset: i64,
}

impl Told {
    pub(super) fn given(event: Document) -> Self {
        Self {
            event,
            place: None,
            time: None,
        }
    }

    pub(super) fn is_given(&self) -> bool {
        self.place.is_none()
    }

    /// None for a record that holds no event in Tailwater's format.
    fn of(record: &StoredRecord) -> Option<Self> {
        let value: Bson = serde_json::from_slice(record.value.as_deref()?).ok()?;
        let envelope = value.as_document()?;
        let text = |field: &str| envelope.get_str(field).ok();
        let (operation, database) = (text("operationType")?, text("database")?);
        let mut event = doc! {
            "operationType": operation,
            "ns": {"db": database, "coll": text("collection").unwrap_or_default()},
        };
        for field in ["documentKey", "fullDocument", "fullDocumentBeforeChange"] {
            if let Some(Bson::Document(part)) = envelope.get(field) {
                event.insert(field, part.clone());
            }
        }
        Some(Self {
            event,
            place: Some(Place {
                partition: record.partition,
                offset: record.offset,
            }),
            time: text("timestamp").map(str::to_owned),
        })
    }
}

/// The topic whose records are events that the listener may want.
pub(super) fn topic_of(context: &Context, listener: &Definition) -> Result<String, Problem> {
    let handles = context.streams.all();
    let database = listener.database.as_deref();
    let holds = |scope: &Scope| database.is_none_or(|database| scope.holds(database));
    let stream = handles
        .iter()
        .find(|handle| holds(&handle.spec.source.scope));
    let Some(stream) = stream.or(handles.first()) else {
        return Err(Problem::conflict("no stream is configured here"));
    };
    let scope = stream.spec.source.scope.name();
    let is_one = matches!(stream.spec.source.scope, Scope::Database(_));
    let database = database.or(Some(scope).filter(|_| is_one));
    let listeners = stream.spec.source.listeners.as_ref();
    let has_topics = listeners.is_none_or(|listeners| listeners.beside_topics);
    let own = match has_topics && stream.spec.sink.is_own() {
        true => Template::parse(&stream.spec.sink.topics.insert).ok(),
        false => None,
    };
    let template = own.as_ref().unwrap_or(&listener.topic);
    if database.is_none() && template.with_wildcards().contains('*') {
        return Err(Problem::malformed(
            "topic: the topics are named by database, and the listener names none; give the topic to read, or a database in the listener",
        ));
    }
    let event = Event::about("insert", database.unwrap_or_default(), &listener.collection);
    Ok(template.render(Some(&event)))
}

/// The events of the newest records of a topic, the newest first, and how many records hold none.
pub(super) async fn newest(
    context: &Context,
    topic: &str,
    count: usize,
) -> Result<(Vec<Told>, usize), Problem> {
    let (kafka, topic) = (Arc::clone(&context.kafka), topic.to_owned());
    let read = move || newest::newest(&kafka, &topic, count);
    let records = background(context, "a topic", read).await??;
    let all = records.len();
    let events: Vec<_> = records.iter().filter_map(Told::of).collect();
    let left_out = all - events.len();
    Ok((events, left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: Option<&str>) -> StoredRecord {
        StoredRecord {
            partition: 1,
            offset: 2,
            time_millis: None,
            value: value.map(|value| value.as_bytes().to_vec()),
        }
    }

    #[test]
    fn a_record_is_the_event_that_it_was_made_of() {
        let value = r#"{"operationType": "insert", "database": "shop", "collection": "a", "documentKey": {"_id": {"$oid": "507f1f77bcf86cd799439011"}},
            "timestamp": "2026-01-01T00:00:00.000Z", "fullDocument": {"z": 1, "at": {"$date": "2026-01-01T00:00:00Z"}}}"#;
        let told = Told::of(&record(Some(value))).unwrap();
        assert!(matches!(
            told.event.get_document("fullDocument").unwrap().get("at"),
            Some(Bson::DateTime(_))
        ));
        assert_eq!(
            told.event.get_document("ns").unwrap(),
            &doc! {"db": "shop", "coll": "a"}
        );
        for other in [None, Some("7"), Some("{"), Some("{\"a\": 1}")] {
            assert!(Told::of(&record(other)).is_none(), "{other:?}");
        }
    }
}
