//! The collection of listeners, as its users have it.

use crate::change::namespace::Namespace;
use crate::error::Error;
use crate::mongo::describe::describe;
use crate::mongo::errors::{self, Phase, SourceFault, Stage};
use crate::source::documents;
use bson::{Bson, Document};
use mongodb::{Client, Collection};

/// The collection, of which only what a majority has is read: it may not be rolled back.
pub fn collection(client: &Client, at: &Namespace) -> Collection<Document> {
    client.database(&at.database).collection(&at.collection)
}

/// Every document that is there. Of one that cannot be read there is only the `_id`, and why.
///
/// # Errors
/// What the server answers, with the privilege it takes.
pub async fn all(client: &Client, at: &Namespace) -> Result<Vec<Document>, Error> {
    all_at(client, at, Stage::Starting).await
}

/// The same for a stream at this stage: one that has run waits for a right that was taken away.
///
/// # Errors
/// As [`all`].
pub async fn all_at(client: &Client, at: &Namespace, stage: Stage) -> Result<Vec<Document>, Error> {
    let found = documents::all(client, at).await;
    found.map_err(|error| failed("reading the listeners", "find", at, stage, &error))
}

/// Our error for what the server answers to a command on the collection, which takes these rights.
pub(super) fn failed(
    attempt: &str,
    rights: &str,
    at: &Namespace,
    stage: Stage,
    error: &mongodb::error::Error,
) -> Error {
    let fault = errors::classify(error, Phase::Other);
    let detail = match is_of_rights(error) {
        true => format!("{attempt}: {}", told(rights, at, error)),
        false => format!(
            "{attempt} in {at} (LISTENERS_COLLECTION): {}{}",
            describe(error),
            fault.remedy()
        ),
    };
    Error::new(fault.code(), detail).with_policy(fault.policy(stage, error))
}

/// Whether the server says that the user may not.
pub(super) fn is_of_rights(error: &mongodb::error::Error) -> bool {
    errors::classify(error, Phase::Other) == SourceFault::Unauthorized
}

/// What went wrong, and what to grant where that is it.
pub(super) fn told(rights: &str, at: &Namespace, error: &mongodb::error::Error) -> String {
    let role = match rights {
        "find" => "read",
        _ => "readWrite",
    };
    match is_of_rights(error) {
        false => describe(error),
        true => format!(
            "{}; grant the user of MONGODB_URI {rights} on {at} (LISTENERS_COLLECTION), as the role {role} on database \
             {} does",
            describe(error),
            at.database
        ),
    }
}

/// The document with one of these ids, as the primary has it now: what is read is about to be changed.
///
/// # Errors
/// As [`all`].
pub async fn one(client: &Client, at: &Namespace, ids: &[Bson]) -> Result<Option<Document>, Error> {
    let found = documents::one(client, at, ids).await;
    found.map_err(|error| failed("reading a listener", "find", at, Stage::Starting, &error))
}
