//! The same over a WebSocket.

use super::{alone, serving, token};
use crate::support::{self, PATIENCE};
use bson::doc;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

pub(super) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub(super) async fn open(addr: SocketAddr, query: &str) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let url = format!("ws://{addr}/live/ws{query}");
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        Self(socket)
    }

    pub(super) async fn send(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame; of a close, its code.
    pub(super) async fn next(&mut self) -> Result<Value, u16> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await;
            match message.expect("something comes") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or(0, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(0),
            }
        }
    }

    pub(super) async fn ask(&mut self, frame: Value) -> Value {
        self.send(&frame).await;
        self.next().await.unwrap()
    }
}

#[tokio::test]
async fn subscriptions_come_and_go_on_one_connection_and_are_resumed_by_their_positions() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let mut tailwater = serving(&db, kafka)
        .env("LIVE_MAX_SUBSCRIPTIONS", "2")
        .start()
        .await;
    let addr = tailwater.live_addr().await;
    let mut socket = Socket::open(addr, "").await;
    assert_eq!(socket.ask(json!({"type": "ping"})).await["type"], "pong");
    let room = socket.ask(json!({"type": "subscribe", "id": "room", "collection": "msgs", "where": {"room": "r1"}})).await;
    assert_eq!(
        (&room["type"], &room["id"]),
        (&json!("subscribed"), &json!("room")),
        "{room}"
    );
    let one = socket
        .ask(json!({"type": "subscribe", "id": "one", "collection": "msgs", "document": 2}))
        .await;
    assert_eq!(one["type"], "subscribed");
    for (frame, status) in [
        (json!({"type": "subscribe", "id": "one"}), 409),
        (json!({"type": "subscribe", "id": "third"}), 429),
        (
            json!({"type": "subscribe", "id": "x", "colection": "a"}),
            400,
        ),
        (json!({"type": "unsubscribe", "id": "other"}), 404),
        (json!({"type": "dance"}), 400),
    ] {
        let answer = socket.ask(frame).await;
        assert_eq!(
            (&answer["type"], &answer["status"]),
            (&json!("error"), &json!(status)),
            "{answer}"
        );
    }
    let messages = db.documents("msgs");
    messages
        .insert_one(doc! {"_id": 1, "room": "r1"})
        .await
        .unwrap();
    messages
        .insert_one(doc! {"_id": 2, "room": "r2"})
        .await
        .unwrap();
    let (first, second) = (socket.next().await.unwrap(), socket.next().await.unwrap());
    let mut seen = [
        (
            first["id"].clone(),
            first["data"]["documentKey"]["_id"].clone(),
        ),
        (
            second["id"].clone(),
            second["data"]["documentKey"]["_id"].clone(),
        ),
    ];
    seen.sort_by_key(|(id, _)| id.to_string());
    assert_eq!(seen, [(json!("one"), json!(2)), (json!("room"), json!(1))]);
    assert_eq!(
        socket
            .ask(json!({"type": "unsubscribe", "id": "one"}))
            .await["type"],
        "unsubscribed"
    );
    // The subscription whose id is free again, from where the room was at first.
    let again = json!({"type": "subscribe", "id": "one", "collection": "msgs", "where": {"room": "r1"}, "position": room["position"]});
    assert_eq!(socket.ask(again).await["type"], "subscribed");
    let told = socket.next().await.unwrap();
    assert_eq!(
        (&told["id"], &told["data"]["documentKey"]["_id"]),
        (&json!("one"), &json!(1))
    );
    tailwater.stop().await;
    assert_eq!(socket.next().await, Err(1001));
}

#[tokio::test]
async fn a_token_comes_in_a_frame_and_is_renewed_there() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let mut live = alone(&db, kafka)
        .env("LIVE_JWT_SECRET", super::SECRET)
        .spawn();
    let addr = live.live_addr().await;
    let subscribe = json!({"type": "subscribe", "id": "a"});
    let mut socket = Socket::open(addr, "").await;
    assert_eq!(socket.ask(subscribe.clone()).await["status"], 401);
    let all = token(json!({"databases": ["*"]}));
    assert_eq!(
        socket
            .ask(json!({"type": "access_token", "token": all}))
            .await["status"],
        "ok"
    );
    assert_eq!(socket.ask(subscribe).await["type"], "subscribed");
    let narrow = token(json!({"databases": ["other"]}));
    assert_eq!(
        socket
            .ask(json!({"type": "access_token", "token": narrow}))
            .await["type"],
        "unsubscribed"
    );
    assert_eq!(socket.next().await.unwrap()["type"], "access_token");
    socket
        .send(&json!({"type": "access_token", "token": "forged"}))
        .await;
    assert_eq!(socket.next().await, Err(4401));
    let nothing = token(json!({"sub": "u1"}));
    assert_eq!(
        Socket::open(addr, &format!("?access_token={nothing}"))
            .await
            .next()
            .await,
        Err(4403)
    );
    let soon = jiff::Timestamp::now().as_second() + 2;
    let short = token(json!({"databases": ["*"], "exp": soon}));
    assert_eq!(
        Socket::open(addr, &format!("?access_token={short}"))
            .await
            .next()
            .await,
        Err(4401)
    );
    let mut many = Socket::open(addr, &format!("?access_token={all}")).await;
    for _ in 0..300 {
        // It may be closed before the last one.
        let _ = many.0.send(Message::text(r#"{"type":"ping"}"#)).await;
    }
    let closed = loop {
        match many.next().await {
            Ok(_) => {}
            Err(code) => break code,
        }
    };
    assert_eq!(closed, 4429);
    live.stop().await;
}
