//! Clients that read nothing: each is cut, told so, and goes on exactly where it was.

use super::socket::Socket;
use super::{Client, serving};
use crate::support::{self, Database, PATIENCE, Tailwater, eventually};
use bson::doc;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// More than the server keeps for a client and the network has room for, together.
const DOCUMENTS: i64 = 150;
const BYTES: usize = 200_000;

async fn write(db: &Database) {
    let text = "x".repeat(BYTES);
    let documents: Vec<_> = (0..DOCUMENTS)
        .map(|n| doc! {"_id": n, "n": n, "text": &text})
        .collect();
    for some in documents.chunks(50) {
        db.documents("msgs").insert_many(some).await.unwrap();
    }
}

async fn wait_until(tailwater: &Tailwater, metric: &str, value: f64) {
    eventually(PATIENCE, &format!("{metric} is {value}"), async || {
        let page = tailwater.get("/metrics").await;
        (page.metric(metric, &[]) == Some(value)).then_some(())
    })
    .await;
}

/// What comes until the connection ends, up to so many; where it was then, and whether it was told that it is cut.
async fn read(client: &mut Client, seen: &mut Vec<i64>) -> bool {
    let mut is_told = false;
    while (seen.len() as i64) < DOCUMENTS
        && let Some(event) = client.next().await
    {
        match event.name.as_str() {
            "" => seen.push(event.number()),
            "cut" => is_told = true,
            _ => panic!("{event:?}"),
        }
    }
    is_told
}

#[tokio::test]
async fn one_who_reads_nothing_is_cut_and_goes_on_where_it_was() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let mut tailwater = serving(&db, kafka).start().await;
    let addr = tailwater.live_addr().await;
    let mut slow = Client::open(addr, "?collection=msgs", "").await;
    write(&db).await;
    wait_until(&tailwater, "tailwater_live_clients", 0.0).await;
    // What was on its way can still be read, and the rest by whoever comes back.
    let mut seen = Vec::new();
    read(&mut slow, &mut seen).await;
    assert!((seen.len() as i64) < DOCUMENTS);
    let mut last = slow.last_id;
    while (seen.len() as i64) < DOCUMENTS {
        // On a busy machine it may be too slow again, and comes back again; each time it comes further.
        let before = seen.len();
        let resumed = format!("last-event-id: {last}\r\n");
        let mut again = Client::open(addr, "?collection=msgs", &resumed).await;
        read(&mut again, &mut seen).await;
        assert!(seen.len() > before, "{seen:?}");
        last = again.last_id;
    }
    assert_eq!(seen, Vec::from_iter(0..DOCUMENTS));
    tailwater.stop().await;
}

/// As a WebSocket's frames: the numbers, and the code with which it was closed before all had come.
async fn frames(socket: &mut Socket, seen: &mut Vec<i64>, last: &mut Value) -> Option<u16> {
    while (seen.len() as i64) < DOCUMENTS {
        match socket.next().await {
            Ok(frame) => {
                assert_eq!(frame["type"], "change", "{frame}");
                seen.push(frame["data"]["fullDocument"]["n"].as_i64().unwrap());
                *last = frame["position"].clone();
            }
            Err(code) => return Some(code),
        }
    }
    None
}

async fn subscribed(addr: SocketAddr, position: &Value) -> (Socket, Value) {
    let mut socket = Socket::open(addr, "").await;
    let asked = json!({"type": "subscribe", "id": "a", "collection": "msgs", "position": position});
    let subscribed = socket.ask(asked).await;
    assert_eq!(subscribed["type"], "subscribed", "{subscribed}");
    (socket, subscribed["position"].clone())
}

#[tokio::test]
async fn a_websocket_that_reads_nothing_is_closed_with_4408_and_goes_on_where_it_was() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let mut tailwater = serving(&db, kafka).start().await;
    let addr = tailwater.live_addr().await;
    let (mut slow, mut last) = subscribed(addr, &Value::Null).await;
    write(&db).await;
    wait_until(&tailwater, "tailwater_live_cut_total", 1.0).await;
    let mut seen = Vec::new();
    assert_eq!(frames(&mut slow, &mut seen, &mut last).await, Some(4408));
    while (seen.len() as i64) < DOCUMENTS {
        let before = seen.len();
        let (mut again, _) = subscribed(addr, &last).await;
        if let Some(code) = frames(&mut again, &mut seen, &mut last).await {
            assert_eq!(code, 4408);
        }
        assert!(seen.len() > before, "{seen:?}");
    }
    assert_eq!(seen, Vec::from_iter(0..DOCUMENTS));
    tailwater.stop().await;
}
