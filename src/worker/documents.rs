//! Handlers in the documents of listeners: read at the start, and again after each change of one.

use super::handler::{self, Handler, Handlers};
use crate::change::namespace::Namespace;
use crate::error::Error;
use crate::listener::entry;
use crate::listener::handler::{FIELD, NO_OBJECT};
use crate::mongo::heard::{self, Changes, Watched};
use crate::source::listeners::collection;
use crate::status::worker::Board;
use crate::tasks;
use bson::{Bson, Document};
use mongodb::Client;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often they are read while changes are not heard, or could not be read.
const LOOK: Duration = Duration::from_secs(1);
/// How long they are left alone after they were read: they are read as a whole.
const REST: Duration = Duration::from_millis(200);

/// What is to be done about each job.
#[derive(Debug, Default)]
pub struct Known {
    pub handlers: Handlers,
    /// Jobs whose handler is wrong, and why.
    pub wrong: BTreeMap<Arc<str>, String>,
}

/// Where the documents are.
#[derive(Debug)]
pub struct Place {
    pub client: Client,
    pub at: Namespace,
}

/// The documents of the listeners, and the handlers of the file: those come first.
#[derive(Debug)]
pub struct Documents {
    place: Place,
    of_file: Handlers,
    allows_private: bool,
    /// What was read last, so that a handler that has not changed stays the same one.
    last: BTreeMap<Arc<str>, (Document, Arc<Handler>)>,
    changes: Arc<Changes>,
    listening: JoinHandle<()>,
}

impl Drop for Documents {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Documents {
    pub fn new(place: Place, of_file: Handlers, allows_private: bool) -> Self {
        // What streams write of listeners changes no handler.
        let changes = Arc::new(Changes::beside(&["status", "lockInfo"]));
        let documents = collection::collection(&place.client, &place.at);
        let watched = Watched {
            what: "listeners",
            meanwhile: "their handlers are read every second",
        };
        let listening = heard::follow(documents, &[], Arc::clone(&changes), watched);
        let listening = tasks::spawn(listening);
        Self {
            place,
            of_file,
            allows_private,
            last: BTreeMap::new(),
            changes,
            listening,
        }
    }

    /// Reads them for the first time, and waits while that cannot be done: without them a job would have no handler.
    pub async fn first(&mut self, board: &Board) -> Known {
        loop {
            match self.read(board).await {
                Ok(known) => return known,
                Err(()) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Tells of what they say after each change. Without an end.
    pub async fn follow(mut self, tell: watch::Sender<Arc<Known>>, board: &Board) {
        loop {
            let is_heard = self.changes.is_heard();
            tokio::select! {
                () = self.changes.next() => tokio::time::sleep(REST).await,
                () = tokio::time::sleep(LOOK), if !is_heard => {}
            }
            // What was read last is in force still.
            while let Err(()) = self.read(board).await.map(|known| {
                tell.send_if_modified(|former| {
                    let has_changed = !is_same(former, &known);
                    if has_changed {
                        *former = Arc::new(known);
                    }
                    has_changed
                });
            }) {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Why it cannot be read is told.
    async fn read(&mut self, board: &Board) -> Result<Known, ()> {
        match collection::all(&self.place.client, &self.place.at).await {
            Ok(documents) => {
                board.go_on("listeners");
                Ok(self.understand(&documents, board))
            }
            Err(error) => {
                self.tell(&error, board);
                Err(())
            }
        }
    }

    fn tell(&self, why: &Error, board: &Board) {
        let sentence = format!("the handlers in {} cannot be read: {why}", self.place.at);
        board.wait("listeners", sentence);
    }

    /// The handler of a document, the one from before where nothing has changed.
    fn handler(&self, job: &str, document: &Document) -> Result<(Document, Arc<Handler>), String> {
        let same = self.last.get(job).filter(|(last, _)| last == document);
        if let Some(same) = same {
            return Ok(same.clone());
        }
        let read = handler::of_document(job, document, Some(self.allows_private))?;
        Ok((document.clone(), Arc::new(read)))
    }

    fn understand(&mut self, documents: &[Document], board: &Board) -> Known {
        let mut known = Known {
            handlers: self.of_file.clone(),
            wrong: BTreeMap::new(),
        };
        let mut read: BTreeMap<Arc<str>, (Document, Arc<Handler>)> = BTreeMap::new();
        let mut given: BTreeMap<&str, (&Bson, String)> = BTreeMap::new();
        let mut problems = Vec::new();
        let mut named: Vec<_> = documents.iter().map(|it| (entry::name(it), it)).collect();
        named.sort_by(|one, other| one.0.cmp(&other.0));
        for (id, document) in named {
            let given_here = document.get(FIELD).filter(|it| !matches!(it, Bson::Null));
            let (Ok(job), Some(value)) = (document.get_str("jobName"), given_here) else {
                continue;
            };
            if self.of_file.contains_key(job) {
                continue;
            }
            if let Some((former, of)) = given.get(job) {
                if *former != value {
                    problems.push(format!(
                        "the listeners {of} and {id} give different handlers for the job {job}, and that of {of} is in force"
                    ));
                }
                continue;
            }
            given.insert(job, (value, id.clone()));
            let found = match value {
                Bson::Document(handler) => self.handler(job, handler),
                _ => Err(NO_OBJECT.to_owned()),
            };
            match found {
                Ok(found) => {
                    let job = Arc::clone(&found.1.job);
                    known
                        .handlers
                        .insert(Arc::clone(&job), Arc::clone(&found.1));
                    read.insert(job, found);
                }
                Err(wrong) => {
                    let sentence = format!("the handler of the listener {id} is wrong: {wrong}");
                    problems.push(sentence.clone());
                    known.wrong.insert(job.into(), sentence);
                }
            }
        }
        self.last = read;
        match problems.is_empty() {
            true => {
                board.go_on("handlers");
            }
            false => board.wait("handlers", problems.join("; ")),
        }
        known
    }
}

fn is_same(one: &Known, other: &Known) -> bool {
    one.wrong == other.wrong
        && one.handlers.len() == other.handlers.len()
        && one
            .handlers
            .iter()
            .zip(&other.handlers)
            .all(|(one, other)| one.0 == other.0 && Arc::ptr_eq(one.1, other.1))
}
