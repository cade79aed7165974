//! What Kafka tells the agent, and the threads that listen.

use super::record::Entry;
use crate::error::{Code, Error};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;
use tracing::Span;

/// What comes from Kafka. Partitions are given as their streams.
#[derive(Debug)]
pub enum Heard {
    /// A record of the registry.
    Read(Entry),
    /// A record could not be written: nothing that is on its way will arrive.
    Unwritten(Failed),
    /// By the group.
    Assigned(BTreeSet<String>),
    Revoked(BTreeSet<String>),
    /// Reading the registry, or being a member of the group.
    Failed(Failed),
}

/// What went wrong with a topic.
#[derive(Debug)]
pub struct Failed {
    pub error: Error,
    /// The topic is not there any more.
    pub is_missing: bool,
}

/// A client that a thread of its own polls. Dropping this ends both, soon.
#[derive(Debug)]
pub struct Listening(Arc<AtomicBool>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Listening {
    /// Calls `poll` again and again, for as long as somebody hears what it tells.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(
        thread: &str,
        heard: mpsc::Sender<Heard>,
        mut poll: impl FnMut(&mpsc::Sender<Heard>) + Send + 'static,
    ) -> Result<Self, Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, span) = (Arc::clone(&stop), Span::current());
        let run = move || {
            span.in_scope(move || {
                while !told.load(Ordering::Relaxed) && !heard.is_closed() {
                    poll(&heard);
                }
            });
        };
        let builder = std::thread::Builder::new().name(thread.to_owned());
        builder.spawn(run).map_err(|error| {
            let code = Code::of_system(&error, Code::Internal);
            Error::new(code, format!("no thread {thread}")).because(error)
        })?;
        Ok(Self(stop))
    }
}
