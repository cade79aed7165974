//! The two collections: reading them, heartbeats, and conditional writes.
//!
//! Reads are of the majority and from the primary, and writes wait for a majority: what is decided on is
//! not undone by an election.

use super::document::{self, long};
use super::lease::{Found, Lease, Outcome, Peer, Seen, Write};
use crate::coordination::LeaseSettings;
use crate::error::{Code, Error};
use crate::mongo::codes::{self, DUPLICATE_KEY, Kind, server_code};
use crate::mongo::describe::describe;
use ::mongodb::error::Error as MongoError;
use ::mongodb::options::{
    Acknowledgment, CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use ::mongodb::results::UpdateResult;
use ::mongodb::{Collection, Database};
use bson::{Bson, DateTime, Document, doc};
use futures_util::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tracing::warn;

/// A document a stream.
pub const LEASES: &str = "leases";
/// A document an instance.
pub const INSTANCES: &str = "instances";

#[derive(Debug)]
pub struct Store {
    database: Database,
    leases: Collection<Document>,
    instances: Collection<Document>,
    me: String,
    timeout: Duration,
    started: DateTime,
}

impl Store {
    pub fn new(settings: &LeaseSettings, me: String) -> Self {
        let database = settings.client.database(&settings.database);
        // Whatever the URI says.
        let options = CollectionOptions::builder()
            .write_concern(WriteConcern::builder().w(Acknowledgment::Majority).build())
            .read_concern(ReadConcern::majority())
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        Self {
            leases: database.collection_with_options(LEASES, options.clone()),
            instances: database.collection_with_options(INSTANCES, options),
            database,
            me,
            timeout: settings.times.timeout,
            started: DateTime::now(),
        }
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Our error for one of the driver's.
    pub fn failure(&self, attempt: &str, failed: &MongoError) -> Error {
        let kind = codes::kind(failed);
        let code = match kind {
            Kind::Transient | Kind::Overloaded => Code::SourceUnavailable,
            _ => Code::SourceRefused,
        };
        let name = self.database.name();
        let advice = match kind {
            Kind::Unauthorized => {
                format!("; grant readWrite on database {name}, or name another with LEASE_DATABASE")
            }
            _ => String::new(),
        };
        let sentence = format!("{attempt} database {name}: {}{advice}", describe(failed));
        Error::new(code, sentence)
    }

    /// Both collections, whole.
    pub async fn read(&self) -> Result<Found, MongoError> {
        let leases: Vec<Document> = self.leases.find(doc! {}).await?.try_collect().await?;
        let instances: Vec<Document> = self.instances.find(doc! {}).await?.try_collect().await?;
        let mut found = Found {
            peers: instances.iter().filter_map(document::peer).collect(),
            ..Found::default()
        };
        for lease in &leases {
            match document::lease(lease) {
                Ok(lease) => found.leases.push(lease),
                Err(unreadable) => found.unreadable.push(unreadable),
            }
        }
        Ok(found)
    }

    /// Says that this instance lives, for its registration and for the leases that it has. Returns those
    /// of them that are still its own.
    pub async fn heartbeat(
        &self,
        held: &BTreeMap<String, u64>,
        peer: &Peer,
        is_news: bool,
    ) -> Result<BTreeSet<String>, MongoError> {
        let mut kept = BTreeSet::new();
        if !held.is_empty() {
            let each: Vec<Document> = held
                .iter()
                .map(|(stream, epoch)| doc! {"_id": stream, "lockInfo.epoch": long(*epoch)})
                .collect();
            let ours = doc! {"lockInfo.instanceId": &self.me, "$or": each};
            let update = doc! {
                "$inc": {"lockInfo.heartbeats": 1_i64},
                "$set": {"lockInfo.timeoutMs": self.timeout_ms()},
                "$currentDate": {"lockInfo.lastHeartbeat": true},
            };
            let updated = self.leases.update_many(ours.clone(), update).await?;
            if usize::try_from(updated.matched_count) == Ok(held.len()) {
                kept.extend(held.keys().cloned());
            } else {
                // No lease becomes ours between the two, so that those found now were written before.
                let found: Vec<Document> = self.leases.find(ours).await?.try_collect().await?;
                let ids = found.iter().filter_map(|found| found.get_str("_id").ok());
                kept.extend(ids.map(str::to_owned));
            }
        }
        self.register(peer, is_news).await?;
        Ok(kept)
    }

    async fn register(&self, peer: &Peer, is_news: bool) -> Result<(), MongoError> {
        let streams: Vec<&str> = peer.streams.iter().map(String::as_str).collect();
        let update = doc! {
            "$inc": {"heartbeats": 1_i64, "revision": i64::from(is_news)},
            "$set": {
                "version": &peer.version,
                "streams": streams,
                "leaving": peer.leaving,
                "timeoutMs": self.timeout_ms(),
                "since": self.started,
            },
            "$currentDate": {"lastHeartbeat": true},
        };
        let own = doc! {"_id": &self.me};
        self.instances.update_one(own, update).upsert(true).await?;
        Ok(())
    }

    /// Takes the registration away.
    pub async fn unregister(&self) -> Result<(), MongoError> {
        self.instances.delete_one(doc! {"_id": &self.me}).await?;
        Ok(())
    }

    /// Does one write. What the server refuses for another reason than its condition is told of, and
    /// tried again as if there had been no answer.
    pub async fn write(&self, write: &Write) -> Outcome {
        match self.try_write(write).await {
            Ok(true) => Outcome::Done,
            Ok(false) => Outcome::Refused,
            Err(failed) if server_code(&failed) == Some(DUPLICATE_KEY) => Outcome::Refused,
            Err(failed) => {
                warn!(
                    stream = write.stream(),
                    error = describe(&failed),
                    "a lease could not be written"
                );
                Outcome::Unknown
            }
        }
    }

    async fn try_write(&self, write: &Write) -> Result<bool, MongoError> {
        let updated = match write {
            Write::Create { stream } => {
                let lease = Lease {
                    stream: stream.clone(),
                    ..Lease::default()
                };
                self.leases.insert_one(document::of_lease(&lease)).await?;
                return Ok(true);
            }
            Write::Restore { lease } => {
                let lease = Lease {
                    heartbeats: lease.heartbeats + 1,
                    last_heartbeat: Some(std::time::SystemTime::now()),
                    ..lease.clone()
                };
                self.leases.insert_one(document::of_lease(&lease)).await?;
                return Ok(true);
            }
            Write::Discard { stream } => return self.discard(stream).await,
            Write::Forget { peer, heartbeats } => {
                let dead = doc! {"_id": peer, "heartbeats": long(*heartbeats)};
                return Ok(self.instances.delete_one(dead).await?.deleted_count == 1);
            }
            Write::Take {
                stream,
                seen,
                hand_overs,
                previous,
                pinned,
            } => {
                let mut as_seen = condition(stream, seen);
                as_seen.insert("lockInfo.heartbeats", long(seen.heartbeats));
                let mut unset = doc! {"moveTo": ""};
                if !pinned {
                    unset.insert("pinnedTo", "");
                }
                let mut set = doc! {
                    "lockInfo.instanceId": &self.me,
                    "lockInfo.epoch": long(seen.epoch + 1),
                    "lockInfo.heartbeats": long(seen.heartbeats + 1),
                    "lockInfo.timeoutMs": self.timeout_ms(),
                    "handOvers": long(*hand_overs),
                };
                if let Some(previous) = previous {
                    set.insert("previous", previous);
                }
                let update = doc! {
                    "$set": set,
                    "$unset": unset,
                    "$inc": {"revision": 1_i64},
                    "$currentDate": {"lockInfo.acquiredAt": true, "lockInfo.lastHeartbeat": true},
                };
                self.leases.update_one(as_seen, update).await?
            }
            Write::Offer { stream, epoch, to } => {
                self.change_own(stream, *epoch, doc! {}, to.as_deref())
                    .await?
            }
            Write::Release { stream, epoch, to } => {
                let free = doc! {
                    "lockInfo.instanceId": Bson::Null,
                    "lockInfo.acquiredAt": Bson::Null,
                    "previous": &self.me,
                };
                self.change_own(stream, *epoch, free, to.as_deref()).await?
            }
            Write::Ask { stream, seen, to } => {
                let update = doc! {
                    "$set": {"moveTo": to, "pinnedTo": to},
                    "$inc": {"revision": 1_i64},
                };
                self.leases
                    .update_one(condition(stream, seen), update)
                    .await?
            }
        };
        Ok(updated.matched_count == 1)
    }

    async fn change_own(
        &self,
        stream: &str,
        epoch: u64,
        mut set: Document,
        to: Option<&str>,
    ) -> Result<UpdateResult, MongoError> {
        let own =
            doc! {"_id": stream, "lockInfo.instanceId": &self.me, "lockInfo.epoch": long(epoch)};
        let mut update = doc! {"$inc": {"revision": 1_i64}};
        match to {
            Some(to) => {
                set.insert("moveTo", to);
            }
            None => {
                update.insert("$unset", doc! {"moveTo": ""});
            }
        }
        if !set.is_empty() {
            update.insert("$set", set);
        }
        self.leases.update_one(own, update).await
    }

    /// Removes a document that holds no lease, if it is still none.
    async fn discard(&self, stream: &str) -> Result<bool, MongoError> {
        let Some(found) = self.leases.find_one(doc! {"_id": stream}).await? else {
            return Ok(true);
        };
        if document::lease(&found).is_ok() {
            return Ok(true);
        }
        warn!(stream, collection = %self.leases.namespace(), "the document holds no lease; it is made anew");
        let missing = doc! {"$exists": false};
        let lock = found.get("lockInfo").cloned().unwrap_or(missing.into());
        let same = doc! {"_id": stream, "lockInfo": lock};
        Ok(self.leases.delete_one(same).await?.deleted_count == 1)
    }

    fn timeout_ms(&self) -> i64 {
        i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX)
    }
}

/// The lease still has the owner and the epoch that were seen. Null also finds a field that is missing.
fn condition(stream: &str, seen: &Seen) -> Document {
    doc! {
        "_id": stream,
        "lockInfo.instanceId": seen.owner.as_ref(),
        "lockInfo.epoch": long(seen.epoch),
    }
}
