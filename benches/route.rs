//! What an event's topic costs: `cargo bench --bench route`.

use bson::{RawDocumentBuf, doc};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tailwater::change::event::Event;
use tailwater::config::Topics;
use tailwater::route::{Route, Router};

fn main() {
    divan::main();
}

const COLLECTIONS: usize = 500;

/// One event of each collection.
fn events() -> Vec<RawDocumentBuf> {
    let operations = ["insert", "update", "replace", "delete"];
    let event = |n: usize| {
        doc! {
            "_id": {"_data": "82"}, "operationType": operations[n % 4],
            "ns": {"db": "dashboard", "coll": format!("collection_number_{n}")},
        }
    };
    (0..COLLECTIONS)
        .filter_map(|n| RawDocumentBuf::try_from(&event(n)).ok())
        .collect()
}

#[divan::bench(args = ["database.insert", "cdc.{database}", "cdc.{database}.{collection}.{operation}"])]
fn topic_of_500_collections(bencher: Bencher<'_, '_>, template: &str) {
    let topics = Topics {
        insert: template.into(),
        update: template.into(),
        replace: template.into(),
        delete: template.into(),
        ddl: None,
        bounds: None,
        rows: None,
        dead_letter: None,
    };
    let raw = events();
    let events: Vec<Event<'_>> = raw
        .iter()
        .filter_map(|raw| Event::parse(raw.as_bytes()).ok())
        .collect();
    let mut router = Router::new(&topics, &[]).expect("the templates are right");
    bencher
        .counter(ItemsCount::new(events.len()))
        .bench_local(move || {
            for event in &events {
                let _ = black_box(router.route(black_box(event), true));
            }
        });
}
