//! One subscription of a WebSocket: a task that writes frames, until it is dropped.

use super::message::{self, Dialect};
use crate::live::catch_up::CatchUps;
use crate::live::feed::{Event, Feed, Told};
use crate::live::position::Position;
use crate::live::selection::Selection;
use crate::tasks;
use axum::extract::ws::Utf8Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// How often the position is told where nothing else is.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// What a subscription has for the connection.
pub enum Out {
    Frame {
        id: Arc<str>,
        generation: u64,
        frame: Utf8Bytes,
    },
    /// It has been too slow.
    Slow,
}

/// Ends when it is dropped.
pub struct Subscription {
    /// Tells it from an earlier one of the same id, of which frames may still wait.
    pub generation: u64,
    task: AbortHandle,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Subscription {
    /// Begins it, and gives its position.
    pub fn begin(
        parts: &Arc<CatchUps>,
        (dialect, id, generation): (Dialect, String, u64),
        selection: Selection,
        from: Option<Position>,
        cut: CancellationToken,
        sender: mpsc::Sender<Out>,
    ) -> (Self, Option<String>) {
        let mut feed = Feed::open(parts, Arc::new(selection), from, cut);
        let position = feed.position();
        let quoted_id = serde_json::Value::from(id.as_str()).to_string();
        let writer = Writer {
            dialect,
            id: id.into(),
            quoted_id,
            generation,
            sender,
        };
        let task = tasks::spawn(async move { while writer.write(&mut feed).await {} });
        let task = task.abort_handle();
        (Self { generation, task }, position)
    }
}

struct Writer {
    dialect: Dialect,
    id: Arc<str>,
    quoted_id: String,
    generation: u64,
    sender: mpsc::Sender<Out>,
}

impl Writer {
    /// Writes what comes next; whether there can be more.
    async fn write(&self, feed: &mut Feed) -> bool {
        let Ok(told) = tokio::time::timeout(KEEP_ALIVE, feed.next()).await else {
            return match feed.position() {
                Some(position) => {
                    self.send("position", message::position(&self.id, &position))
                        .await
                }
                None => true,
            };
        };
        match told {
            Told::Batch(batch) => {
                for entry in &batch.entries {
                    let (id, body) = (batch.id(entry), batch.body(entry));
                    if !self.event(id, entry.is_leave, &body).await {
                        return false;
                    }
                }
                true
            }
            Told::Events(events) => {
                for Event { id, is_leave, body } in &events {
                    if !self.event(id, *is_leave, body).await {
                        return false;
                    }
                }
                true
            }
            Told::Gap { from, to } => self.send("gap", message::gap(&self.id, &from, &to)).await,
            Told::Cut => {
                let _ = self.sender.send(Out::Slow).await;
                false
            }
        }
    }

    async fn event(&self, position: &str, is_leave: bool, body: &[u8]) -> bool {
        let kind = if is_leave { "leave" } else { "change" };
        self.send(kind, message::event(&self.quoted_id, position, kind, body))
            .await
    }

    async fn send(&self, kind: &str, text: String) -> bool {
        let out = Out::Frame {
            id: Arc::clone(&self.id),
            generation: self.generation,
            frame: self.dialect.frame(kind, text),
        };
        self.sender.send(out).await.is_ok()
    }
}
