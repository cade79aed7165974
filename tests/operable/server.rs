//! The HTTP server under clients that behave badly.

use crate::support::{PATIENCE, Setup, Tailwater, eventually, http};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn idle() -> (Tailwater, SocketAddr) {
    let mut tailwater = Setup::empty()
        .env("MONGODB_URI", "mongodb://127.0.0.1:1/none")
        .env("KAFKA_BROKERS", "127.0.0.1:1")
        .env("ENABLE_CHANGE_STREAMS", "false")
        .spawn();
    tailwater.wait_for_event("nothing_watched").await;
    let addr = tailwater.http_addr().unwrap();
    (tailwater, addr)
}

#[tokio::test]
async fn a_thousand_idle_connections_leave_room_for_a_probe() {
    let (tailwater, addr) = idle().await;
    let mut idle = Vec::new();
    for _ in 0..1_000 {
        idle.push(TcpStream::connect(addr).await.unwrap());
    }
    let probe = http::get(addr, "/health").await.unwrap();
    assert_eq!(probe.status, 200);
    let scrape = http::get(addr, "/metrics").await.unwrap();
    let fds = scrape
        .body
        .lines()
        .find_map(|line| line.strip_prefix("process_open_fds "))
        .unwrap();
    assert!(
        fds.parse::<u32>().unwrap() < 400,
        "{fds} descriptors are open"
    );
    // And none of them is held for long.
    let mut last = idle.pop().unwrap();
    let mut byte = [0];
    let read = tokio::time::timeout(PATIENCE, last.read(&mut byte)).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "still open");
    tailwater.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_harms_nothing() {
    let (tailwater, addr) = idle().await;
    let huge = format!("GET /health HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET /health HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    for (request, wanted) in [
        ("nonsense\r\n\r\n", &[400][..]),
        ("\u{1}\u{2}\u{3}\r\n\r\n", &[400]),
        (huge.as_str(), &[400, 431]),
        (many.as_str(), &[400, 431]),
        ("GET /nowhere HTTP/1.0\r\n\r\n", &[404]),
        ("DELETE /health HTTP/1.0\r\n\r\n", &[405]),
        ("GET /admin/pause HTTP/1.0\r\n\r\n", &[405]),
    ] {
        // A refusal while the client still sends may be cut off by a reset.
        if let Ok(reply) = http::send(addr, request).await {
            assert!(
                wanted.contains(&reply.status),
                "{} {request:.40}",
                reply.status
            );
            if matches!(reply.status, 404 | 405) {
                let body = reply.json();
                assert_eq!(body["status"], "error", "{body}");
                assert!(body["message"].as_str().unwrap().contains("path"), "{body}");
            }
        }
        let probe = http::get(addr, "/health/live").await.unwrap();
        assert_eq!(probe.status, 200);
    }
    let big = "x".repeat(1 << 20);
    if let Ok(reply) = http::post(addr, "/admin/log-level", "", &big).await {
        assert_eq!(reply.status, 413);
        assert_eq!(reply.json()["status"], "error");
    }
    let reply = http::post(addr, "/admin/stop?wait=perhaps", "", "").await;
    let reply = reply.unwrap();
    assert_eq!(
        (reply.status, &reply.json()["status"]),
        (400, &"error".into())
    );
    tailwater.stop().await;
}

/// The head has a deadline of its own, which is shorter than that of the whole request.
#[tokio::test]
async fn a_client_that_sends_nothing_is_dropped_before_one_that_is_slow_with_its_body() {
    let (tailwater, addr) = idle().await;
    let mut slow = TcpStream::connect(addr).await.unwrap();
    let head = "POST /admin/log-level HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut silent = TcpStream::connect(addr).await.unwrap();
    let mut byte = [0];
    let dropped = tokio::time::timeout(PATIENCE, silent.read(&mut byte)).await;
    assert!(matches!(dropped, Ok(Ok(0) | Err(_))), "{dropped:?}");
    // The slow one may still come to its end.
    slow.write_all(br#"{"level":"debug"}"#).await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    tailwater.stop().await;
}

#[tokio::test]
async fn a_client_that_sends_letter_by_letter_is_dropped() {
    let (tailwater, addr) = idle().await;
    let mut slow = TcpStream::connect(addr).await.unwrap();
    eventually(PATIENCE, "the slow client is dropped", async || {
        let sent = slow.write_all(b"G").await;
        let mut byte = [0];
        let answered = slow.try_read(&mut byte);
        let is_open = answered
            .as_ref()
            .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        (sent.is_err() || !is_open).then_some(())
    })
    .await;
    assert_eq!(http::get(addr, "/health").await.unwrap().status, 200);
    tailwater.stop().await;
}
