//! Tailwater's own ceiling: a server's reply in memory, each event read, routed, encoded, weighed and
//! tracked, and acknowledged at once, with neither socket nor broker: `cargo bench --bench way`.

use bson::oid::ObjectId;
use bson::{Bson, DateTime, Document, RawDocumentBuf, Timestamp, doc};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use std::time::{Duration, Instant};
use tailwater::change::event::Event;
use tailwater::change::extra::Extra;
use tailwater::change::position::{Position, ResumeToken, Seq};
use tailwater::change::raw;
use tailwater::config::{Batching, RecordTimestamp, Topics};
use tailwater::encode::format::Format;
use tailwater::encode::json::JsonMode;
use tailwater::encode::record::Encoder;
use tailwater::flow::batch::Fill;
use tailwater::flow::budget::Budget;
use tailwater::flow::tracker::Tracker;
use tailwater::flow::watermark::Seal;
use tailwater::route::{Route, Router};

fn main() {
    divan::main();
}

const EVENTS: u32 = 1_000;
const BATCHING: Batching = Batching {
    events: 50,
    bytes: 1 << 20,
    timeout: Duration::from_millis(20),
};

/// An insert of about 1 KB with its event.
fn event(n: u32, text: &str) -> Document {
    let mut id = [0x65; 12];
    id[8..].copy_from_slice(&n.to_be_bytes());
    let id = ObjectId::from_bytes(id);
    let data = format!("8265A1B2C3{n:08X}2B022C0100296E5A1004{n:032X}46645F696400{n:024X}0004");
    doc! {
        "_id": { "_data": data }, "operationType": "insert",
        "clusterTime": Timestamp { time: 1_705_000_000, increment: n },
        "wallTime": DateTime::from_millis(1_705_000_000_000 + i64::from(n)),
        "fullDocument": {
            "_id": id, "status": "open", "total": f64::from(n) / 100.0, "count": i64::from(n),
            "createdAt": DateTime::from_millis(1_704_000_000_000),
            "customer": { "name": "Ada Lovelace", "email": format!("customer{n}@example.com"), "vip": true },
            "lines": [
                { "sku": format!("SKU-{n:06}"), "quantity": 2, "price": 12.5, "title": "Stainless steel bottle" },
                { "sku": format!("SKU-{n:06}"), "quantity": 1, "price": 149.0, "title": "Headphones" },
            ],
            "tags": ["web", "newsletter", "gift"], "text": text, "discount": null,
        },
        "ns": { "db": "shop", "coll": "orders" },
        "documentKey": { "_id": id },
    }
}

fn reply(text: &str) -> RawDocumentBuf {
    let events: Vec<Bson> = (0..EVENTS).map(|n| event(n, text).into()).collect();
    let reply = doc! { "cursor": { "nextBatch": events, "id": 1_i64, "ns": "shop.$cmd.aggregate" }, "ok": 1.0 };
    RawDocumentBuf::try_from(&reply).expect("a reply is BSON")
}

fn router() -> Router {
    let topic = || "database.changes".to_owned();
    let topics = Topics {
        insert: topic(),
        update: topic(),
        replace: topic(),
        delete: topic(),
        ddl: None,
        bounds: None,
        rows: None,
        dead_letter: None,
    };
    Router::new(&topics, &[]).expect("the topic is right")
}

#[divan::bench(args = [300, 20_000])]
fn events_of_one_reply(bencher: Bencher<'_, '_>, text: usize) {
    let reply = reply(&"a quiet harbour before the morning tide. ".repeat(text / 41));
    let mut router = router();
    let mut encoder = Encoder::new(
        Format::tailwater("bench", JsonMode::Simple),
        RecordTimestamp::Change,
    );
    let budget = Budget::new(1 << 30);
    let tracker = Tracker::new(budget.clone());
    let mut seq = Seq(1);
    bencher
        .counter(ItemsCount::new(EVENTS))
        .counter(BytesCount::new(reply.as_bytes().len()))
        .bench_local(move || {
            let cursor = raw::find(reply.as_bytes(), "cursor").ok().flatten();
            let batch = raw::find(
                cursor.and_then(|c| c.as_document()).unwrap_or(&[]),
                "nextBatch",
            );
            let batch = batch
                .ok()
                .flatten()
                .and_then(|b| b.as_array())
                .unwrap_or(&[]);
            let mut fill = Fill::new(Instant::now());
            let mut entry = tracker.open(seq);
            for raw in raw::walk(batch).expect("an array").map_while(Result::ok) {
                let event = Event::parse(raw.as_document().unwrap_or(&[])).expect("an event");
                let targets = router.route(&event, true);
                assert_eq!(black_box(&targets).len(), 1);
                let encoded = encoder.encode(&event, seq).expect("an event with a record");
                let headers = encoded.headers();
                let weight = black_box(encoded.record(c"database.changes", &headers)).weight();
                let taken = budget.try_take(weight);
                assert!(taken, "nothing is held back here");
                fill.record(weight);
                fill.events += 1;
                tracker.acked(entry, 1);
                seq = seq.next();
                if fill.closed_by(&BATCHING, Instant::now()).is_some() {
                    let position = ResumeToken::from_bytes(event.token).map(|token| Position {
                        token,
                        seq,
                        time_millis: event.timestamp_millis(),
                        cluster_time: event.cluster_time,
                        extra: Extra::default(),
                    });
                    let (records, bytes) = (fill.records, fill.bytes);
                    tracker.seal(
                        entry,
                        Seal {
                            records,
                            bytes,
                            position,
                        },
                    );
                    entry = tracker.open(seq);
                    fill = Fill::new(Instant::now());
                }
            }
            let (records, bytes, position) = (fill.records, fill.bytes, None);
            tracker.seal(
                entry,
                Seal {
                    records,
                    bytes,
                    position,
                },
            );
        });
}
