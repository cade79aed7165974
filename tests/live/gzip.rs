//! Streams that are compressed.

use super::{Client, serving};
use crate::support::{self, PATIENCE, eventually};
use bson::doc;
use flate2::read::GzDecoder;
use std::io::Read;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[tokio::test]
async fn what_many_read_is_compressed_once_and_decodes_to_the_same_events() {
    let (db, kafka) = (support::database().await, support::kafka().await);
    let mut tailwater = serving(&db, kafka).start().await;
    let addr = tailwater.live_addr().await;
    let messages = db.documents("msgs");
    let mut plain = Client::open(addr, "?collection=msgs", "").await;
    let position = plain.last_id.clone();
    let mut zipped = JoinSet::new();
    for _ in 0..32 {
        let stream = request(addr, "").await;
        zipped.spawn(everything(stream));
    }
    eventually(PATIENCE, "all have joined", async || {
        let page = tailwater.get("/metrics").await;
        (page.metric("tailwater_live_clients", &[]) == Some(33.0)).then_some(())
    })
    .await;
    for from in [0, 300] {
        let documents =
            (from..from + 300).map(|n| doc! {"_id": n, "text": "good morning ".repeat(20)});
        messages.insert_many(documents).await.unwrap();
    }
    let told: Vec<_> = plain
        .take(600)
        .await
        .into_iter()
        .map(|event| event.data)
        .collect();
    // One that comes late is told alone first, and then with the others.
    zipped.spawn(everything(
        request(addr, &format!("last-event-id: {position}\r\n")).await,
    ));
    eventually(PATIENCE, "all are told all", async || {
        let page = tailwater.get("/metrics").await;
        let sent = page.metric("tailwater_live_events_sent_total", &[]);
        (sent == Some(34.0 * 600.0)).then_some(())
    })
    .await;
    tailwater.stop().await;
    let mut fewest = usize::MAX;
    while let Some(ended) = zipped.join_next().await {
        let (bytes, text) = ended.unwrap();
        let data = |line: &str| line.strip_prefix("data: ").map(str::to_owned);
        let mut seen: Vec<_> = text.lines().filter_map(data).collect();
        let close = seen.pop().unwrap();
        assert!(close.starts_with("{\"reason\":"), "{close}");
        assert!(seen == told, "{} of {}", seen.len(), told.len());
        fewest = fewest.min(bytes);
    }
    let whole: usize = told.iter().map(String::len).sum();
    assert!(fewest < whole / 3, "{fewest} bytes of {whole}");
}

/// Asks for a compressed stream.
async fn request(addr: SocketAddr, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!(
        "GET /live?collection=msgs HTTP/1.0\r\nhost: {addr}\r\naccept-encoding: br, gzip\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// All that comes, as it comes and decoded, with its checksum compared.
async fn everything(mut stream: TcpStream) -> (usize, String) {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let head = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let said = String::from_utf8_lossy(&answer[..head]).to_lowercase();
    assert!(said.contains("content-encoding: gzip"), "{said}");
    let mut text = String::new();
    GzDecoder::new(&answer[head..])
        .read_to_string(&mut text)
        .unwrap();
    (answer.len(), text)
}
