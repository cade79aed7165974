//! The documents of the schedules: read as a whole, at the start and after each change, and told how they are.

use crate::change::namespace::Namespace;
use crate::error::Error;
use crate::mongo::describe::{custom, describe};
use crate::mongo::errors::{self, Phase, SourceFault, Stage};
use crate::mongo::heard::{self, Changes, Watched};
use crate::source::documents::{self, Unwritten};
use bson::{Bson, Document, doc};
use mongodb::Client;
use std::sync::Arc;
use std::time::Duration;

/// How long one answer to a read may take: the driver waits for it as long as the connection seems to be there, and what
/// is due by the clock waits, too.
const ANSWER: Duration = Duration::from_secs(60);

/// How many documents are told of in one write.
pub const AT_ONCE: usize = 200;

/// Every document that is there; of one that cannot be read there is only the `_id`, and why.
///
/// # Errors
/// What the server answers, with the privilege it takes.
pub async fn all(client: &Client, at: &Namespace) -> Result<Vec<Document>, Error> {
    let attempt = "reading the schedules (SCHEDULES_COLLECTION)";
    let found = answer(documents::all(client, at)).await;
    found.map_err(|error| failed_on(attempt, at, &error))
}

/// Waits for an answer, and not for ever.
///
/// # Errors
/// The driver's, and one of ours in its place where there is no answer.
pub async fn answer<T>(
    asked: impl IntoFuture<Output = mongodb::error::Result<T>>,
) -> mongodb::error::Result<T> {
    let answer = tokio::time::timeout(ANSWER, asked.into_future()).await;
    answer.unwrap_or_else(|_elapsed| {
        let seconds = ANSWER.as_secs();
        Err(custom(&format!("no answer in {seconds} s")))
    })
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

/// Listens until it is dropped.
pub async fn listen(client: Client, at: Namespace, changes: Arc<Changes>) {
    let collection = client.database(&at.database).collection(&at.collection);
    let watched = Watched {
        what: "schedules",
        meanwhile: "the schedules are read every second",
    };
    heard::follow(collection, &[], changes, watched).await;
}

/// Writes the status of at most [`AT_ONCE`] documents. One that is gone stays gone.
///
/// # Errors
/// A sentence.
pub async fn tell(client: &Client, at: &Namespace, all: &[(Bson, Document)]) -> Result<(), String> {
    let updates = all
        .iter()
        .map(|(id, status)| doc! {"q": {"_id": id}, "u": {"$set": {"status": status}}});
    let written = documents::update(client, at, updates.collect()).await;
    written.map(drop).map_err(|error| match error {
        Unwritten::Refused(error) => describe(&error),
        Unwritten::Silent(sentence) => sentence,
    })
}
