//! Who may ask the HTTP server, and what it costs to be asked by those who may not.

use crate::support::{self, PATIENCE, Setup, Tailwater, eventually, http};
use bson::doc;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const TOKEN: &str = "0123456789abcdef";

fn idle() -> Setup {
    Setup::empty()
        .env("MONGODB_URI", "mongodb://127.0.0.1:1/none")
        .env("KAFKA_BROKERS", "127.0.0.1:1")
        .env("ENABLE_CHANGE_STREAMS", "false")
}

async fn status(addr: SocketAddr, method: &str, path: &str, headers: &str) -> u16 {
    let request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
    http::send(addr, &request).await.unwrap().status
}

/// A page whose name leads to this machine by now asks as if it were at home there: no `Origin`.
#[tokio::test]
async fn a_page_can_read_nothing_of_a_server_that_is_for_this_machine() {
    for token in [None, Some(TOKEN)] {
        let mut setup = idle();
        if let Some(token) = token {
            setup = setup.env("ADMIN_TOKEN", token);
        }
        let mut tailwater = setup.spawn();
        tailwater.wait_for_event("nothing_watched").await;
        let addr = tailwater.http_addr().unwrap();
        let own = format!("host: localhost:{}\r\n", addr.port());
        let from_page = format!("{own}origin: http://evil.example\r\n");
        let for_page = format!("{own}sec-fetch-site: cross-site\r\n");
        let paths = [
            "/health",
            "/health/live",
            "/health/ready",
            "/health/detailed",
            "/health/subscriptions",
            "/api/health",
            "/api/health/change-streams",
            "/status",
            "/metrics",
            "/nowhere",
        ];
        for path in paths {
            assert_ne!(status(addr, "GET", path, &own).await, 403, "{path}");
            for page in ["host: evil.example:3001\r\n", &from_page, &for_page] {
                assert_eq!(status(addr, "GET", path, page).await, 403, "{path} {page}");
                for method in ["HEAD", "OPTIONS", "POST", "PUT"] {
                    let refused = status(addr, method, path, page).await;
                    assert_eq!(refused, 403, "{method} {path} {page}");
                }
            }
        }
        if let Some(token) = token {
            // A proxy or a scraper that has it may use any name.
            let proxied = format!("host: tailwater.example\r\nauthorization: Bearer {token}\r\n");
            assert_eq!(status(addr, "GET", "/metrics", &proxied).await, 200);
        }
        tailwater.stop().await;
    }
}

#[tokio::test]
async fn refused_calls_are_two_lines_however_many_they_are() {
    let mut tailwater = idle().spawn();
    tailwater.wait_for_event("nothing_watched").await;
    let addr = tailwater.http_addr().unwrap();
    for _ in 0..300 {
        let host = "host: evil.example\r\n";
        assert_eq!(status(addr, "POST", "/admin/stop", host).await, 403);
    }
    let long = format!("/{}", "x".repeat(10_000));
    let page = "host: localhost\r\norigin: http://evil.example\r\n";
    assert_eq!(status(addr, "GET", &long, page).await, 403);
    let log = tailwater.stop().await.output;
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    // One kind of refusal hides no other.
    assert_eq!(lines("refused a call"), 2, "{log}");
    assert_eq!(lines("refused more calls"), 1, "{log}");
    assert_eq!(lines("calls=299"), 1, "{log}");
    assert!(!log.contains(&"x".repeat(100)), "{log}");
}

#[tokio::test]
async fn idle_clients_leave_descriptors_to_the_stream() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let topic = db.topic("changes");
    let tailwater = Tailwater::on(&db, kafka)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .descriptors(64)
        .spawn();
    let addr = eventually(PATIENCE, "it listens", async || tailwater.http_addr()).await;
    // More than it may have in all, and whoever is dropped comes again.
    let mut idle = JoinSet::new();
    for _ in 0..100 {
        idle.spawn(async move {
            loop {
                if let Ok(mut client) = TcpStream::connect(addr).await {
                    let _ = client.read(&mut [0]).await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    let documents = db.documents("a");
    eventually(PATIENCE, "it runs", async || {
        tailwater.log().contains("to=\"running\"").then_some(())
    })
    .await;
    documents.insert_one(doc! {"_id": 1}).await.unwrap();
    kafka.wait_for_records(&[&topic], 1).await;
    idle.shutdown().await;
    tailwater.stop().await;
}
