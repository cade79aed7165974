//! Live changes for browsers and services: who sees what, and that nobody misses anything.

mod browser;
mod examples;
mod gzip;
mod keys;
mod resuming;
mod serving;
mod slow;
mod socket;
mod socketio;
mod tokens;

use crate::support::{Database, Kafka, PATIENCE, Proxy, Setup, Tailwater, free_port, http};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bson::{Document, doc};
use mongodb::Collection;
use ring::hmac;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A bridge from `db` with one topic, which serves live changes too.
fn serving(db: &Database, kafka: &Kafka) -> Setup {
    Tailwater::on(db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("COMMIT_INTERVAL_MS", "100")
        .env("LIVE_ADDR", "127.0.0.1:0")
}

/// A server for the same topic without any stream.
fn alone(db: &Database, kafka: &Kafka) -> Setup {
    Setup::empty()
        .env("KAFKA_BROKERS", kafka.brokers())
        .env("KAFKA_DB_CHANGES_TOPIC", db.topic("changes"))
        .env("LIVE_ADDR", "127.0.0.1:0")
        .args(&["live"])
}

/// A server as [`alone`], how to start it again at the same address, and a proxy before it.
async fn behind_proxy(db: &Database, kafka: &Kafka) -> (Setup, Tailwater, Proxy) {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let setup = alone(db, kafka).env("LIVE_ADDR", addr);
    let mut live = setup.spawn();
    live.live_addr().await;
    (setup, live, Proxy::to(addr).await)
}

/// Writes messages into two rooms by turns; `n` counts within a room.
async fn write_to_rooms(messages: &Collection<Document>, numbers: Range<i64>) {
    for n in numbers {
        for room in ["r1", "r2"] {
            let message = doc! {"room": room, "n": n};
            messages.insert_one(message).await.unwrap();
        }
    }
}

/// One event of a stream.
#[derive(Debug, Clone, Default)]
struct Event {
    id: String,
    name: String,
    data: String,
    /// Whether `id` stands before `data`.
    is_id_first: bool,
}

impl Event {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// `fullDocument.n`.
    fn number(&self) -> i64 {
        self.json()["fullDocument"]["n"].as_i64().unwrap()
    }
}

/// A client of server-sent events.
struct Client {
    lines: BufReader<TcpStream>,
    head: String,
    /// The id of the last event, or of the last comment that moved it. As browsers have it, not the id of one that has
    /// not come to its end: who is cut off between id and end has not seen it.
    last_id: String,
}

impl Client {
    /// Connects, and expects a stream.
    async fn open(addr: SocketAddr, query: &str, headers: &str) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        let mut lines = BufReader::new(stream);
        // HTTP/1.0: the stream ends with the connection, and nothing is chunked.
        let request = format!("GET /live{query} HTTP/1.0\r\nhost: {addr}\r\n{headers}\r\n");
        lines.write_all(request.as_bytes()).await.unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = lines.read_line(&mut head).await.unwrap();
            assert!(read > 0, "no answer: {head}");
        }
        assert!(head.starts_with("HTTP/1.0 200"), "{head}");
        let mut client = Self {
            lines,
            head,
            last_id: String::new(),
        };
        // The position is there before anything is written.
        client.block().await.unwrap();
        assert!(!client.last_id.is_empty());
        client
    }

    /// Lines up to the next empty one; none at the end.
    async fn block(&mut self) -> Option<Event> {
        let mut event = Event::default();
        let mut last_id = None;
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(PATIENCE, self.lines.read_line(&mut line)).await;
            if read.expect("something comes").ok()? == 0 {
                return None;
            }
            match line.trim_end_matches('\n').split_once(": ") {
                Some(("id", id)) => {
                    event.is_id_first = event.data.is_empty();
                    id.clone_into(&mut event.id);
                    last_id = Some(id.to_owned());
                }
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("data", data)) => data.clone_into(&mut event.data),
                _ if line == "\n" => {
                    self.last_id = last_id.unwrap_or_else(|| std::mem::take(&mut self.last_id));
                    return Some(event);
                }
                _ => {}
            }
        }
    }

    /// The next event; none at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            if !block.data.is_empty() {
                return Some(block);
            }
        }
    }

    /// The next so many events.
    async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("more events"));
        }
        events
    }
}

/// The status of `GET /live`.
async fn status(addr: SocketAddr, query: &str, headers: &str) -> u16 {
    let mut lines = BufReader::new(TcpStream::connect(addr).await.unwrap());
    let request = format!("GET /live{query} HTTP/1.0\r\nhost: {addr}\r\n{headers}\r\n");
    lines.write_all(request.as_bytes()).await.unwrap();
    let mut first = String::new();
    lines.read_line(&mut first).await.unwrap();
    first.split(' ').nth(1).unwrap().parse().unwrap()
}

/// `GET /live` that is refused: the status, and the sentence.
async fn refused(addr: SocketAddr, query: &str, headers: &str) -> (u16, String) {
    let request = format!("GET /live{query} HTTP/1.0\r\nhost: {addr}\r\n{headers}\r\n");
    let reply = http::send(addr, &request).await.unwrap();
    let sentence = reply.json()["message"].as_str().unwrap().to_owned();
    (reply.status, sentence)
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A token of these claims, valid for a minute.
fn token(mut claims: Value) -> String {
    if claims.get("exp").is_none() {
        claims["exp"] = (jiff::Timestamp::now().as_second() + 60).into();
    }
    signed(SECRET, &claims)
}

fn signed(secret: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!(
        "{}.{}",
        part(&json!({"alg": "HS256", "typ": "JWT"})),
        part(claims)
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()));
    format!("{text}.{signature}")
}

/// A query with a `where`, percent-encoded.
fn room(name: &str) -> String {
    filtered(&json!({ "room": name }))
}

fn filtered(filter: &Value) -> String {
    let text = filter.to_string();
    let encoded = text.bytes().map(|byte| format!("%{byte:02x}"));
    format!("?collection=msgs&where={}", encoded.collect::<String>())
}
