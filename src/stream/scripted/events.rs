//! Change events and replies as a server sends them.

use crate::change::position::{ClusterTime, ResumeToken};
use crate::source::reader::Fetched;
use crate::source::reply::Reply;
use bson::{Document, Timestamp, doc};

/// When the events begin, in seconds: no real token is from the first minutes of 1970.
const BEGIN: u32 = 0x6500_0000;

/// The token of the event with this number, of a real server's form: each comes a second later.
pub(in crate::stream) fn token(number: u32) -> ResumeToken {
    ResumeToken::from_data(&data(number))
}

fn data(number: u32) -> String {
    let seconds = BEGIN + number;
    format!("82{seconds:08X}000000012B0229296E04")
}

/// The number of an event.
pub(super) fn number(event: &Document) -> u32 {
    let token = event.get_document("_id").expect("an event has a token");
    let time = ClusterTime::of_token(token.get_str("_data").expect("it is a string"));
    number_at(time.expect("of a real server's form"))
}

/// The number of the event at this time.
pub(in crate::stream) fn number_at(time: ClusterTime) -> u32 {
    time.seconds - BEGIN
}

fn event(number: u32, operation: &str) -> Document {
    doc! {
        "_id": { "_data": data(number) },
        "operationType": operation,
        "clusterTime": Timestamp { time: BEGIN + number, increment: 1 },
        "ns": { "db": "shop", "coll": "orders" },
    }
}

/// An insert of the document `id`.
pub(in crate::stream) fn change(number: u32, id: i32) -> Document {
    let mut event = event(number, "insert");
    event.insert("documentKey", doc! { "_id": id });
    event.insert("fullDocument", doc! { "_id": id, "number": number });
    event
}

pub(in crate::stream) fn delete(number: u32, id: i32) -> Document {
    let mut event = event(number, "delete");
    event.insert("documentKey", doc! { "_id": id });
    event
}

/// An event that makes no record where `KAFKA_TOPIC_DDL` is not set.
pub(in crate::stream) fn drop_collection(number: u32) -> Document {
    event(number, "drop")
}

/// A change that the server sends, and that the filter leaves out on our side.
pub(in crate::stream) fn unwanted(number: u32) -> Document {
    let mut event = change(number, 0);
    event.insert("ns", doc! { "db": "shop", "coll": "system.views" });
    event
}

/// A fragment of an insert that the server has split in two.
pub(in crate::stream) fn fragment(number: u32, id: i32, fragment: i32) -> Document {
    let mut part = match fragment {
        1 => change(number, id),
        _ => doc! { "_id": { "_data": data(number) }, "rest": "x" },
    };
    part.insert("splitEvent", doc! { "fragment": fragment, "of": 2 });
    if fragment > 1 {
        // Fragments of one event are of one time.
        let data = format!("{}{fragment:02}", data(number));
        part.insert("_id", doc! { "_data": data });
    }
    part
}

/// A reply with events, and with the token that stands behind the event of this number.
pub(in crate::stream) fn reply(events: &[Document], post_batch: Option<u32>) -> Fetched {
    reply_at(events, post_batch, None)
}

/// The same, from a server whose clock says that it is time for the event of number `time`.
pub(in crate::stream) fn reply_at(
    events: &[Document],
    post_batch: Option<u32>,
    time: Option<u32>,
) -> Fetched {
    let mut cursor = doc! { "nextBatch": events.to_vec(), "id": 1_i64, "ns": "shop" };
    if let Some(number) = post_batch {
        cursor.insert("postBatchResumeToken", doc! { "_data": data(number) });
    }
    let mut reply = doc! { "cursor": cursor, "ok": 1.0 };
    if let Some(time) = time {
        let time = BEGIN + time;
        reply.insert("operationTime", Timestamp { time, increment: 1 });
    }
    Fetched::Reply(Reply::scripted(&reply))
}
