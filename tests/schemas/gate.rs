//! A gate in front of the real registry, which gives the answers that a registry gives on a bad day.

use crate::support::{Registry, http};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a request.
pub(super) enum Turn {
    /// The registry answers.
    Pass,
    /// The registry is asked this first, by somebody else, and then answers.
    After(String),
    /// The registry does what it is asked, and this is the answer.
    Instead(String),
    /// This is the answer, and the registry hears nothing.
    Say(String),
    /// Nobody answers.
    Hang,
}

/// An answer in HTTP with a body.
pub(super) fn answer(status: &str, body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {len}\r\nconnection: close\r\n\r\n{body}")
}

type Script = Box<dyn FnMut(&str) -> Turn + Send>;

/// One request for each connection; `script` decides by its first line.
pub(super) struct Gate {
    addr: SocketAddr,
    script: Arc<Mutex<Script>>,
    task: tokio::task::JoinHandle<()>,
}

impl Gate {
    pub(super) async fn before(registry: &Registry) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let pass: Script = Box::new(|_: &str| Turn::Pass);
        let script = Arc::new(Mutex::new(pass));
        let (asked, registry) = (Arc::clone(&script), registry.addr());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(turn(stream, Arc::clone(&asked), registry));
            }
        });
        Self { addr, script, task }
    }

    /// `SCHEMA_REGISTRY_URL`.
    pub(super) fn url(&self) -> String {
        format!("http://{}/apis/ccompat/v7", self.addr)
    }

    pub(super) fn script(&self, script: impl FnMut(&str) -> Turn + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn turn(mut stream: TcpStream, script: Arc<Mutex<Script>>, registry: SocketAddr) {
    let Some(request) = request(&mut stream).await else {
        return;
    };
    let line = request.lines().next().unwrap_or_default().to_owned();
    let turn = (script.lock().unwrap())(&line);
    let said = match turn {
        Turn::Pass => ask(registry, &request).await,
        Turn::After(first) => {
            http::send(registry, &first).await.unwrap();
            ask(registry, &request).await
        }
        Turn::Instead(answer) => {
            ask(registry, &request).await;
            answer.into_bytes()
        }
        Turn::Say(answer) => answer.into_bytes(),
        Turn::Hang => std::future::pending().await,
    };
    let _ = stream.write_all(&said).await;
    let _ = stream.shutdown().await;
}

async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_lowercase();
        let len = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let len: usize = len.map_or(0, |len| len.trim().parse().unwrap());
        if body.len() >= len {
            return Some(text.replacen("\r\n", "\r\nconnection: close\r\n", 1));
        }
    }
}

async fn ask(registry: SocketAddr, request: &str) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut behind = TcpStream::connect(registry).await.unwrap();
    behind.write_all(request.as_bytes()).await.unwrap();
    behind.read_to_end(&mut answer).await.unwrap();
    answer
}

/// A request to register a schema, as somebody else sends it.
pub(super) fn registration(subject: &str, kind: &str, schema: &str) -> String {
    let body = serde_json::json!({"schema": schema, "schemaType": kind}).to_string();
    let len = body.len();
    format!(
        "POST /apis/ccompat/v7/subjects/{subject}/versions HTTP/1.0\r\nhost: registry\r\n\
         content-type: application/json\r\ncontent-length: {len}\r\n\r\n{body}"
    )
}
