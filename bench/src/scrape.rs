//! Somebody who asks for the metrics, as Prometheus does.

use crate::error::Fallible;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Asks until it is dropped.
pub struct Scraper(JoinHandle<()>);

impl Scraper {
    /// Asks `address` every `period`; while nobody listens there, nothing comes of it.
    pub fn start(address: String, period: Duration) -> Self {
        Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(period);
            loop {
                ticks.tick().await;
                let _ = scrape(&address).await;
            }
        }))
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn scrape(address: &str) -> Fallible<usize> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    let mut answer = Vec::new();
    Ok(stream.read_to_end(&mut answer).await?)
}
