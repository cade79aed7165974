//! Socket.IO: its own client, as front ends have it, and its packets where that client would not send them.

use super::{alone, behind_proxy, serving, token, write_to_rooms};
use crate::support::{self, Node, PATIENCE, Process, eventually, http};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message, client::IntoClientRequest};

/// What the program has printed: a kind, and what was told.
fn told(program: &Process) -> Vec<(String, Value)> {
    let output = program.output();
    let lines = output.lines().map(|line| {
        let [kind, told]: [Value; 2] =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        (kind.as_str().unwrap().to_owned(), told)
    });
    lines.collect()
}

/// Waits until this was told so often; the last of them.
async fn wait_for(program: &Process, kind: &str, times: usize) -> Value {
    eventually(PATIENCE, &format!("{kind} is told"), async || {
        let told = told(program);
        let mut of_kind = told.into_iter().filter(|(name, _)| name == kind);
        of_kind.nth(times - 1).map(|(_, told)| told)
    })
    .await
}

#[tokio::test]
async fn a_front_end_gets_every_change_of_its_room_once_over_a_cut_and_a_restart() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let tailwater = serving(&db, kafka).start().await;
    let (setup, live, proxy) = behind_proxy(&db, kafka).await;
    let room = json!({"id": "room", "collection": "msgs", "where": {"room": "r1"}}).to_string();
    let url = format!("http://{}", proxy.addr());
    let program = Node::with("tests/live/node").start(&["socketio.mjs", &url, &room], &[]);
    assert_eq!(wait_for(&program, "joined", 1).await["status"], "ok");

    let messages = db.documents("msgs");
    let write = async |numbers| write_to_rooms(&messages, numbers).await;
    write(0..20).await;
    wait_for(&program, "change", 20).await;
    proxy.drop_connections();
    write(20..40).await;
    wait_for(&program, "change", 40).await;
    // It is told, and comes back to the next instance.
    live.stop().await;
    let close = wait_for(&program, "close", 1).await;
    assert!(
        close["reason"].as_str().unwrap().contains("stopping"),
        "{close}"
    );
    write(40..60).await;
    let mut live = setup.spawn();
    wait_for(&program, "change", 60).await;
    live.kill9();
    write(60..80).await;
    let mut live = setup.spawn();
    live.live_addr().await;
    write(80..100).await;
    wait_for(&program, "change", 100).await;

    let told = told(&program);
    let changes = told.iter().filter(|(kind, _)| kind == "change");
    let numbers = changes.map(|(_, told)| told["data"]["fullDocument"]["n"].as_i64().unwrap());
    assert_eq!(Vec::from_iter(numbers), Vec::from_iter(0..100));
    let count = |wanted: &str| told.iter().filter(|(kind, _)| kind == wanted).count();
    assert_eq!((count("joined"), count("disconnect")), (4, 3), "{told:?}");
    assert_eq!(count("error") + count("gap") + count("cut"), 0, "{told:?}");
    live.stop().await;
    tailwater.stop().await;
}

#[tokio::test]
async fn a_front_end_without_a_valid_token_is_told_by_connect_error() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let mut live = alone(&db, kafka)
        .env("LIVE_JWT_SECRET", super::SECRET)
        .spawn();
    let url = format!("http://{}", live.live_addr().await);
    let node = Node::with("tests/live/node");
    let start = |token: &str| node.start(&["socketio.mjs", &url, r#"{"id":"a"}"#, token], &[]);
    let mut forged = start("forged");
    let error = wait_for(&forged, "connect_error", 1).await;
    assert_eq!(error["status"], 401, "{error}");
    // It does not try again with the same token, so nothing keeps it.
    assert!(forged.wait_exit(PATIENCE).await.success());
    let nothing = start(&token(json!({"sub": "u1"})));
    assert_eq!(wait_for(&nothing, "connect_error", 1).await["status"], 403);
    let right = start(&token(json!({"databases": ["*"]})));
    assert_eq!(wait_for(&right, "joined", 1).await["status"], "ok");
    live.stop().await;
}

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    /// Connects, and not yet to a namespace.
    async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let url = format!("ws://{addr}/socket.io/?EIO=4&transport=websocket");
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        let mut socket = Self(socket);
        let open = socket.next().await.unwrap();
        assert!(
            open.starts_with("0{") && open.contains("\"upgrades\":[]"),
            "{open}"
        );
        socket
    }

    /// The next packet; of a close, its code.
    async fn next(&mut self) -> Result<String, u16> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await;
            match message.expect("something comes") {
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                Some(Ok(Message::Close(frame))) => {
                    return Err(frame.map_or(0, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(0),
            }
        }
    }

    async fn ask(&mut self, packet: &str) -> Result<String, u16> {
        self.0.send(Message::text(packet)).await.unwrap();
        self.next().await
    }

    /// What is answered to an event.
    async fn emit(&mut self, name: &str, argument: Value) -> Value {
        let answer = self
            .ask(&format!("427{}", json!([name, argument])))
            .await
            .unwrap();
        let list: Vec<Value> = serde_json::from_str(answer.strip_prefix("437").unwrap()).unwrap();
        list[0].clone()
    }
}

#[tokio::test]
async fn what_a_front_end_may_not_do_is_refused() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let mut live = alone(&db, kafka)
        .env("LIVE_JWT_SECRET", super::SECRET)
        .env("LIVE_MAX_SUBSCRIPTIONS", "1")
        .spawn();
    let addr = live.live_addr().await;
    let polling =
        format!("GET /socket.io/?EIO=4&transport=polling HTTP/1.0\r\nhost: {addr}\r\n\r\n");
    let refused = http::send(addr, &polling).await.unwrap();
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("transports"), "{}", refused.body);
    let url = format!("ws://{addr}/socket.io/?EIO=4&transport=websocket");
    let mut evil = url.into_client_request().unwrap();
    let origin = "https://evil.example".parse().unwrap();
    evil.headers_mut().insert("origin", origin);
    let stream = TcpStream::connect(addr).await.unwrap();
    match tokio_tungstenite::client_async(evil, stream).await {
        Err(tungstenite::Error::Http(response)) => assert_eq!(response.status(), 403),
        other => panic!("{other:?}"),
    }

    let right = token(json!({"databases": ["*"], "collections": ["msgs"]}));
    let mut socket = Socket::open(addr).await;
    let elsewhere = socket.ask("40/admin,").await.unwrap();
    assert!(elsewhere.starts_with("44/admin,{"), "{elsewhere}");
    let connected = socket
        .ask(&format!("40{}", json!({ "token": right })))
        .await;
    assert!(connected.unwrap().starts_with("40{\"sid\":"));
    for (name, argument, status) in [
        (
            "join",
            json!({"id": "a", "collection": "users"}),
            json!(403),
        ),
        ("join", json!({"id": "a", "colection": "msgs"}), json!(400)),
        ("join", json!("a"), json!(400)),
        (
            "join",
            json!({"id": "a", "collection": "msgs"}),
            json!("ok"),
        ),
        ("join", json!({"id": "a", "collection": "msgs"}), json!(409)),
        ("join", json!({"id": "b", "collection": "msgs"}), json!(429)),
        ("leave", json!("b"), json!(404)),
        ("leave", json!("a"), json!("ok")),
        ("dance", json!(1), json!(400)),
    ] {
        let answer = socket.emit(name, argument).await;
        assert_eq!(answer["status"], status, "{name} {answer}");
    }
    // Who wants no answer is told of a refusal nevertheless.
    let error = socket.ask("42[\"dance\"]").await.unwrap();
    assert!(error.starts_with("42[\"error\",{"), "{error}");
    let joined = socket
        .emit("join", json!({"id": "a", "collection": "msgs"}))
        .await;
    assert_eq!(joined["status"], "ok");
    let narrow = token(json!({"databases": ["other"]}));
    let ended = socket
        .ask(&format!("42{}", json!(["access_token", narrow])))
        .await
        .unwrap();
    assert!(ended.starts_with("42[\"unsubscribed\",{"), "{ended}");

    let mut early = Socket::open(addr).await;
    assert_eq!(early.ask("42[\"join\",{\"id\":\"a\"}]").await, Err(1002));
    let mut wrong = Socket::open(addr).await;
    assert_eq!(wrong.ask("40{").await, Err(1002));
    live.stop().await;
    let close = socket.next().await.unwrap();
    assert!(close.starts_with("42[\"close\",{"), "{close}");
    assert_eq!(socket.next().await, Err(1001));
}
