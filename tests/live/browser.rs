//! `EventSource` itself, in a real Chromium: what it is told over cuts and restarts, by its own means alone.

use super::{behind_proxy, filtered, serving, write_to_rooms};
use crate::support::{self, Chromium};
use serde_json::{Value, json};

/// Keeps the position and the number of each event, and what else happens.
const FOLLOW: &str = "
    window.seen = [];
    window.told = {opened: 0, broken: 0, closed: 0, other: []};
    window.changes = new EventSource(QUERY);
    changes.onopen = () => told.opened++;
    changes.onerror = () => told.broken++;
    changes.onmessage = (event) => seen.push([event.lastEventId, JSON.parse(event.data).fullDocument.n]);
    changes.addEventListener('close', () => told.closed++);
    for (const name of ['gap', 'cut', 'leave']) changes.addEventListener(name, () => told.other.push(name));
    true";

#[tokio::test]
async fn an_event_source_gets_every_event_once_over_cuts_and_restarts() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = serving(&db, kafka).start().await;
    let (setup, live, proxy) = behind_proxy(&db, kafka).await;
    // A page of the same origin.
    let page = Chromium::open(&format!("http://{}/health", proxy.addr()), (400, 300)).await;
    let query = format!("/live{}", filtered(&json!({"room": "r1"})));
    page.evaluate(&FOLLOW.replace("QUERY", &json!(query).to_string()))
        .await;
    page.until("told.opened === 1").await;

    let messages = db.documents("msgs");
    let write = async |numbers| write_to_rooms(&messages, numbers).await;
    let read = async |count: i64| {
        page.until(&format!("seen.length >= {count}")).await;
    };
    // Cut off while it reads.
    for cut in 0..3 {
        let from = cut * 100;
        tokio::join!(write(from..from + 100), async {
            read(from + 30).await;
            proxy.drop_connections();
        });
        read(from + 100).await;
    }
    // Out of reach for longer than until its first attempt to come back.
    let broken = page.evaluate("told.broken").await.as_i64().unwrap();
    proxy.cut();
    write(300..320).await;
    page.until(&format!("told.broken >= {}", broken + 2)).await;
    proxy.heal();
    read(320).await;
    // The server stops, which it is told, and is started anew while it tries to come back.
    tokio::join!(write(320..400), async {
        read(330).await;
        live.stop().await;
    });
    page.until("told.closed === 1").await;
    let mut live = setup.spawn();
    read(400).await;
    // It is killed.
    live.kill9();
    write(400..420).await;
    let mut live = setup.spawn();
    live.live_addr().await;
    write(420..440).await;
    read(440).await;

    let seen: Vec<(String, i64)> = serde_json::from_value(page.evaluate("seen").await).unwrap();
    let numbers = seen.iter().map(|(_, n)| *n);
    assert_eq!(Vec::from_iter(numbers), Vec::from_iter(0..440));
    let mut positions: Vec<_> = seen.iter().map(|(position, _)| position).collect();
    positions.sort();
    positions.dedup();
    assert_eq!(positions.len(), 440);
    let told: Value = page.evaluate("told").await;
    assert_eq!(told["other"], json!([]), "{told}");
    assert_eq!(page.evaluate("changes.readyState").await, 1);
    assert_eq!(page.faults(), Vec::<String>::new());
    live.stop().await;
    tailwater.stop().await;
}
