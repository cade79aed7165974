//! A change stream over both collections: hand-overs are seen at once, and heartbeats when they happen.
//!
//! It only hastens things. What it says is never decided on without a read, and without it the poll finds
//! the same a little later.

use super::document;
use super::store::{INSTANCES, LEASES, Store};
use crate::mongo::describe::describe;
use ::mongodb::change_stream::event::{ChangeStreamEvent, OperationType};
use ::mongodb::error::Error as MongoError;
use bson::{Document, doc};
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tracing::{info, warn};

/// What was heard.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A document is another one than before.
    Changed,
    Lease {
        stream: String,
        heartbeats: u64,
        time: Option<SystemTime>,
    },
    Instance {
        id: String,
        heartbeats: u64,
        time: Option<SystemTime>,
    },
}

/// How long the server holds a question that it has no answer to.
const AWAIT: Duration = Duration::from_secs(10);

/// Listens until nobody receives any more; after a failure, again after `pause`.
pub async fn watch(store: Arc<Store>, heard: mpsc::Sender<Heard>, pause: Duration) {
    let mut is_told = false;
    loop {
        match listen(&store, &heard, &mut is_told).await {
            Ok(()) => return,
            Err(failed) if !is_told => {
                is_told = true;
                warn!(
                    database = store.database().name(),
                    error = describe(&failed),
                    "changes of leases are not heard; hand-overs are seen with the next poll only"
                );
            }
            Err(_) => {}
        }
        if heard.is_closed() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

async fn listen(
    store: &Store,
    heard: &mpsc::Sender<Heard>,
    is_told: &mut bool,
) -> Result<(), MongoError> {
    let ours = doc! {"$match": {"ns.coll": {"$in": [LEASES, INSTANCES]}}};
    let watch = store.database().watch().pipeline([ours]);
    let mut changes = watch.max_await_time(AWAIT).await?;
    if std::mem::take(is_told) {
        info!(
            database = store.database().name(),
            "changes of leases are heard again"
        );
    }
    // What happened before is read.
    if heard.send(Heard::Changed).await.is_err() {
        return Ok(());
    }
    loop {
        let next = tokio::select! {
            next = changes.next() => next,
            () = heard.closed() => return Ok(()),
        };
        let Some(event) = next.transpose()? else {
            return Err(crate::mongo::describe::custom(
                "the change stream has ended",
            ));
        };
        if heard.send(meaning(&event)).await.is_err() {
            return Ok(());
        }
    }
}

/// What an event says. An update that leaves `revision` as it was is a heartbeat.
fn meaning(event: &ChangeStreamEvent<Document>) -> Heard {
    let read = || {
        if event.operation_type != OperationType::Update {
            return None;
        }
        let updated = &event.update_description.as_ref()?.updated_fields;
        if updated.contains_key("revision") {
            return None;
        }
        let id = event.document_key.as_ref()?.get_str("_id").ok()?.to_owned();
        match event.ns.as_ref()?.coll.as_deref()? {
            LEASES => {
                let heartbeats = document::number(updated, "lockInfo.heartbeats")?;
                let time = document::time(updated, "lockInfo.lastHeartbeat");
                Some(Heard::Lease {
                    stream: id,
                    heartbeats,
                    time,
                })
            }
            _ => {
                let heartbeats = document::number(updated, "heartbeats")?;
                let time = document::time(updated, "lastHeartbeat");
                Some(Heard::Instance {
                    id,
                    heartbeats,
                    time,
                })
            }
        }
    };
    read().unwrap_or(Heard::Changed)
}
