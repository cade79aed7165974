//! The documented calls: `/api` and `/graphql`.

mod callers;
mod graphql;
mod listeners;
mod secrets;
mod streams;

use crate::support::{Database, Kafka, Reply, Setup, Tailwater, http, unique};

const TOKEN: &str = "0123456789abcdef";

/// A setup with the listeners of `db` itself, and a token.
fn listening(db: &Database, kafka: &Kafka) -> Setup {
    Tailwater::on(db, kafka)
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()))
        .env("LISTENERS_TOPICS", "jobs.*")
        .env("RESUME_TOPIC", unique("checkpoints"))
        .env("COMMIT_INTERVAL_MS", "50")
        .env("ADMIN_TOKEN", TOKEN)
}

/// The topic of a listener of this test.
fn topic(db: &Database, id: &str) -> String {
    format!("jobs.{}.{id}", db.name())
}

/// A call with the token.
async fn call(tailwater: &Tailwater, method: &str, path: &str, body: &str) -> Reply {
    call_with(tailwater, method, path, "", body).await
}

/// A call with the token and more header lines, each ended by `\r\n`.
async fn call_with(
    tailwater: &Tailwater,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Reply {
    let headers = format!("authorization: Bearer {TOKEN}\r\n{headers}");
    raw(tailwater, method, path, &headers, body).await
}

/// A call as it is written here.
async fn raw(tailwater: &Tailwater, method: &str, path: &str, headers: &str, body: &str) -> Reply {
    let addr = tailwater.http_addr().expect("its HTTP server listens");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\
         content-type: application/json\r\n{headers}\r\n{body}"
    );
    http::send(addr, &request)
        .await
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// The value of a header.
fn header<'a>(reply: &'a Reply, name: &str) -> &'a str {
    let found = reply.headers.iter().find(|(known, _)| known == name);
    found.map_or("", |(_, value)| value.as_str())
}

/// That it is a problem document with this status and code; its sentence.
#[track_caller]
fn problem(reply: &Reply, status: u16, code: &str) -> String {
    assert_eq!(reply.status, status, "{}", reply.body);
    assert_eq!(header(reply, "content-type"), "application/problem+json");
    let said = reply.json();
    assert_eq!(said["code"], code, "{}", reply.body);
    assert_eq!(said["status"], status, "{}", reply.body);
    said["detail"].as_str().unwrap().to_owned()
}
