//! As much of HTTP as asking a health endpoint takes.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What an endpoint answered.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// Header names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.body))
    }

    /// The value of the series of this metric that has these labels among others, on a page of metrics.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |series: &str| {
            let rest = series.strip_prefix(name)?;
            let fits =
                |(label, value): &(&str, &str)| rest.contains(&format!("{label}=\"{value}\""));
            (rest.is_empty() || rest.starts_with('{') && labels.iter().all(fits)).then_some(())
        };
        self.body.lines().find_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            has(series)?;
            value.parse().ok()
        })
    }
}

/// `GET path`.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub async fn get(addr: SocketAddr, path: &str) -> std::io::Result<Reply> {
    send(
        addr,
        &format!("GET {path} HTTP/1.0\r\nhost: {addr}\r\nconnection: close\r\n\r\n"),
    )
    .await
}

/// `POST path` with a JSON body and more header lines, each ended by `\r\n`.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub async fn post(
    addr: SocketAddr,
    path: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<Reply> {
    let len = body.len();
    // As `curl -d` sends it.
    let common = "content-type: application/x-www-form-urlencoded\r\nconnection: close";
    let head = format!(
        "POST {path} HTTP/1.0\r\nhost: {addr}\r\n{common}\r\ncontent-length: {len}\r\n{headers}\r\n"
    );
    send(addr, &(head + body)).await
}

/// Sends these bytes and reads the answer to its end.
///
/// # Errors
/// When nobody answers, or not in HTTP.
pub async fn send(addr: SocketAddr, request: &str) -> std::io::Result<Reply> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    let reply = String::from_utf8_lossy(&reply);
    parse(&reply).ok_or_else(|| std::io::Error::other(format!("not an HTTP reply: {reply}")))
}

fn parse(reply: &str) -> Option<Reply> {
    let (head, body) = reply.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    Some(Reply {
        status: lines.next()?.split(' ').nth(1)?.parse().ok()?,
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: body.to_owned(),
    })
}
