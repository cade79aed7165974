//! One subscription of a WebSocket: a task that writes frames, until it is dropped.

use super::message;
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
        (id, generation): (String, u64),
        selection: Selection,
        from: Option<Position>,
        cut: CancellationToken,
        sender: mpsc::Sender<Out>,
    ) -> (Self, Option<String>) {
        let mut feed = Feed::open(parts, Arc::new(selection), from, cut);
        let position = feed.position();
        let quoted_id = serde_json::Value::from(id.as_str()).to_string();
        let writer = Writer {
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
                Some(position) => self.send(message::position(&self.id, &position)).await,
                None => true,
            };
        };
        match told {
            Told::Batch(batch) => {
                for entry in &batch.entries {
                    let frame = message::event(
                        &self.quoted_id,
                        batch.id(entry),
                        entry.is_leave,
                        &batch.body(entry),
                    );
                    if !self.send(frame).await {
                        return false;
                    }
                }
                true
            }
            Told::Events(events) => {
                for Event { id, is_leave, body } in &events {
                    if !self
                        .send(message::event(&self.quoted_id, id, *is_leave, body))
                        .await
                    {
                        return false;
                    }
                }
                true
            }
            Told::Gap { from, to } => self.send(message::gap(&self.id, &from, &to)).await,
            Told::Cut => {
                let _ = self.sender.send(Out::Slow).await;
                false
            }
        }
    }

    async fn send(&self, frame: Utf8Bytes) -> bool {
        let id = Arc::clone(&self.id);
        let generation = self.generation;
        self.sender
            .send(Out::Frame {
                id,
                generation,
                frame,
            })
            .await
            .is_ok()
    }
}
