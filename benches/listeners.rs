//! What an event costs by the number of active listeners: `cargo bench --bench listeners`.

use bson::{Document, RawDocumentBuf, doc};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use std::sync::Arc;
use tailwater::change::event::Event;
use tailwater::config::Config;
use tailwater::listener::{Admission, ListenerRouter, Set};
use tailwater::route::{Route, Router};

fn main() {
    divan::main();
}

const COLLECTIONS: usize = 500;
const LISTENERS: [usize; 4] = [1, 10, 100, 1000];

/// The router with these listeners in force.
fn router(listeners: &[Document]) -> ListenerRouter {
    let loaded = Config::from_vars([
        ("MONGODB_URI", "mongodb://127.0.0.1:1/shop"),
        ("KAFKA_BROKERS", "127.0.0.1:1"),
        ("LISTENERS_COLLECTION", "shop.listeners"),
    ]);
    let config = loaded.expect("the variables are right").config;
    let spec = &config.streams[0];
    let settings = spec.source.listeners.clone().expect("it is set");
    let router = Router::of(spec).expect("the topics are right");
    let admission = Admission(Arc::new(|_| Ok(())));
    let router = ListenerRouter::with(router, settings, admission, Arc::default());
    router.with_set(Set::found("shop.listeners", listeners))
}

fn listener(number: usize, collection: &str, filter: Document) -> Document {
    doc! {
        "_id": format!("listener-{number}"), "collection": collection, "filter": filter,
        "jobName": "process", "operationType": ["insert", "update"],
    }
}

fn event(collection: &str, status: &str, number: i64) -> RawDocumentBuf {
    let event = doc! {
        "_id": {"_data": "82"}, "operationType": "insert", "ns": {"db": "shop", "coll": collection},
        "documentKey": {"_id": number},
        "fullDocument": {
            "_id": number, "customer": "c-17", "amount": 12.5, "tags": ["a", "b"], "status": status,
            "text": "x".repeat(200), "isProcessed": false, "number": number,
        },
    };
    RawDocumentBuf::try_from(&event).expect("it is BSON")
}

fn run(bencher: Bencher<'_, '_>, listeners: &[Document], raw: &[RawDocumentBuf]) {
    let mut router = router(listeners);
    let events: Vec<Event<'_>> = raw
        .iter()
        .filter_map(|raw| Event::parse(raw.as_bytes()).ok())
        .collect();
    bencher
        .counter(ItemsCount::new(events.len()))
        .bench_local(move || {
            for event in &events {
                if router.wants(black_box(event)) {
                    let _ = black_box(router.route(black_box(event), false));
                }
            }
        });
}

/// All on one collection, each for another status: one of them wants the event.
#[divan::bench(args = LISTENERS)]
fn one_collection(bencher: Bencher<'_, '_>, count: usize) {
    let of = |number: usize| {
        let filter = doc! {"status": format!("status-{number}"), "isProcessed": false};
        listener(number, "batches", filter)
    };
    let listeners: Vec<_> = (0..count).map(of).collect();
    let events: Vec<_> = (0..100).map(|n| event("batches", "status-0", n)).collect();
    run(bencher, &listeners, &events);
}

/// Spread over 500 collections; events of all of them.
#[divan::bench(args = LISTENERS)]
fn many_collections(bencher: Bencher<'_, '_>, count: usize) {
    let of = |number: usize| {
        let collection = format!("collection-{}", number % COLLECTIONS);
        listener(number, &collection, doc! {"status": "status-0"})
    };
    let listeners: Vec<_> = (0..count).map(of).collect();
    let events: Vec<_> = (0..COLLECTIONS)
        .map(|n| event(&format!("collection-{n}"), "status-0", 1))
        .collect();
    run(bencher, &listeners, &events);
}

/// Without an equality that an index could use: each is asked.
#[divan::bench(args = LISTENERS)]
fn one_collection_without_equality(bencher: Bencher<'_, '_>, count: usize) {
    let of = |number: usize| {
        let filter = doc! {"number": {"$gt": i64::try_from(number).unwrap_or(0) + 1000}};
        listener(number, "batches", filter)
    };
    let listeners: Vec<_> = (0..count).map(of).collect();
    let events: Vec<_> = (0..100).map(|n| event("batches", "status-0", n)).collect();
    run(bencher, &listeners, &events);
}
