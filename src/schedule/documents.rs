//! The documents of the schedules: read as a whole, at the start and after each change, and told how they are.

use crate::change::namespace::Namespace;
use crate::error::Error;
use crate::listener::document;
use crate::mongo::describe::{custom, describe};
use crate::mongo::errors::{self, Phase, SourceFault, Stage};
use bson::{Bson, Document, RawDocumentBuf, doc};
use futures_util::{StreamExt, TryStreamExt};
use mongodb::Client;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType};
use mongodb::options::ReadConcern;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// How long the server holds a question that it has no answer to.
const AWAIT: Duration = Duration::from_secs(10);
/// After how long a watch that ended is tried again.
const PAUSE: Duration = Duration::from_secs(2);
/// How long one write of status may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many documents are told of in one write.
pub const AT_ONCE: usize = 200;

/// Every document that is there; of one that cannot be read there is only the `_id`.
///
/// # Errors
/// What the server answers, with the privilege it takes.
pub async fn all(client: &Client, at: &Namespace) -> Result<Vec<Document>, Error> {
    let collection = client
        .database(&at.database)
        .collection::<RawDocumentBuf>(&at.collection);
    let found = async {
        let find = collection.find(Document::new());
        let cursor = find.read_concern(ReadConcern::majority()).await?;
        cursor.try_collect::<Vec<_>>().await
    };
    let found = found.await.map_err(|error| failed(at, &error))?;
    let read = |raw: &RawDocumentBuf| {
        document::document_of(raw.as_bytes()).or_else(|| {
            let id = Bson::try_from(raw.get("_id").ok()??).ok()?;
            Some(doc! {"_id": id, UNREADABLE: true})
        })
    };
    Ok(found.iter().filter_map(read).collect())
}

/// The field of a document that cannot be read.
pub const UNREADABLE: &str = "\u{0}unreadable";

fn failed(at: &Namespace, error: &mongodb::error::Error) -> Error {
    failed_on("reading the schedules (SCHEDULES_COLLECTION)", at, error)
}

/// Our error for what the server answers to a read of a collection.
pub fn failed_on(what: &str, at: &Namespace, error: &mongodb::error::Error) -> Error {
    let fault = errors::classify(error, Phase::Other);
    let detail = match fault {
        SourceFault::Unauthorized => format!(
            "{what}: {}; grant the user of MONGODB_URI find and changeStream on {at}, as the role read on database {} \
             does",
            describe(error),
            at.database
        ),
        _ => format!("{what} in {at}: {}{}", describe(error), fault.remedy()),
    };
    Error::new(fault.code(), detail).with_policy(fault.policy(Stage::Running, error))
}

/// Tells of changes.
#[derive(Debug, Default)]
pub struct Changes {
    changed: Notify,
    is_heard: AtomicBool,
}

impl Changes {
    /// Waits for the next change; one that came before is not missed.
    pub async fn next(&self) {
        self.changed.notified().await;
    }

    /// Whether changes are heard. Otherwise the documents must be read again and again.
    pub fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::Relaxed)
    }
}

/// Listens until it is dropped.
pub async fn listen(client: Client, at: Namespace, changes: Arc<Changes>) {
    let mut is_told = false;
    loop {
        let ended = heard(&client, &at, &changes, &mut is_told).await;
        changes.is_heard.store(false, Ordering::Relaxed);
        // A drop, a rename: what is there now is read.
        changes.changed.notify_one();
        if let Err(error) = ended
            && !is_told
        {
            is_told = true;
            tracing::warn!(
                collection = %at, error = describe(&error),
                "changes of schedules are not heard; the schedules are read every second meanwhile"
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Until the change stream ends, as with its collection.
async fn heard(
    client: &Client,
    at: &Namespace,
    changes: &Changes,
    is_told: &mut bool,
) -> Result<(), mongodb::error::Error> {
    let collection = client
        .database(&at.database)
        .collection::<Document>(&at.collection);
    // Only whether there was a change counts.
    let slim = doc! {"$project": {"fullDocument": 0}};
    let watch = collection.watch().pipeline([slim]).max_await_time(AWAIT);
    let mut events = watch.await?;
    if std::mem::take(is_told) {
        tracing::info!(collection = %at, "changes of schedules are heard again");
    }
    changes.is_heard.store(true, Ordering::Relaxed);
    // What happened before is read.
    changes.changed.notify_one();
    while let Some(event) = events.next().await {
        let event = event?;
        if !is_of_status(&event) {
            changes.changed.notify_one();
        }
        if event.operation_type == OperationType::Invalidate {
            return Ok(());
        }
    }
    Err(custom("the change stream has ended"))
}

/// Whether it is what [`tell`] wrote.
fn is_of_status(event: &ChangeStreamEvent<Document>) -> bool {
    let Some(description) = event.update_description.as_ref() else {
        return false;
    };
    let is_own = |name: &str| name == "status" || name.starts_with("status.");
    description.updated_fields.keys().all(|name| is_own(name))
        && description.removed_fields.iter().all(|name| is_own(name))
}

/// Writes the status of at most [`AT_ONCE`] documents. One that is gone stays gone.
///
/// # Errors
/// A sentence.
pub async fn tell(client: &Client, at: &Namespace, all: &[(Bson, Document)]) -> Result<(), String> {
    let updates = all
        .iter()
        .map(|(id, status)| doc! {"q": {"_id": id}, "u": {"$set": {"status": status}}});
    let command = doc! {
        "update": &at.collection,
        "updates": updates.collect::<Vec<_>>(),
        "ordered": false,
        "maxTimeMS": PATIENCE.as_millis() as i64,
    };
    let database = client.database(&at.database);
    match tokio::time::timeout(PATIENCE, database.run_command(command)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(describe(&error)),
        Err(_elapsed) => Err(format!("no answer in {} s", PATIENCE.as_secs())),
    }
}
