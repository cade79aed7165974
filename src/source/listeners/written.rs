//! What is written back to the listeners: how they do, and who serves them. Nothing else of theirs is touched, and
//! one that is gone stays gone.

use super::collection::told;
use crate::change::namespace::Namespace;
use crate::source::documents::{self, Unwritten};
use crate::status::listeners::Shown;
use bson::{Bson, DateTime, Document, doc};
use mongodb::Client;

/// How many listeners are told of in one write.
pub const AT_ONCE: usize = 200;

/// Who serves the listeners of a stream.
#[derive(Debug, Clone)]
pub struct Server {
    /// The stream, as a field's name.
    field: String,
    instance: String,
    epoch: i64,
    since: DateTime,
}

impl Server {
    pub fn new(stream: &str, instance: &str, epoch: u64) -> Self {
        Self {
            field: stream.replace(['.', '$', '\0'], "_"),
            instance: instance.to_owned(),
            epoch: i64::try_from(epoch).unwrap_or(i64::MAX),
            since: DateTime::now(),
        }
    }

    /// What is written of one listener: its status, and who serves it.
    fn told(&self, shown: &Shown) -> (Document, Document) {
        let count = |count: u64| Bson::Int64(i64::try_from(count).unwrap_or(i64::MAX));
        let time =
            |millis: Option<i64>| millis.map_or(Bson::Null, |at| DateTime::from_millis(at).into());
        let status = doc! {
            "state": shown.state.name(),
            "reason": shown.state.reason(),
            "since": time(Some(shown.since_millis)),
            "matched": count(shown.matched),
            "produced": count(shown.produced),
            "undecided": count(shown.undecided),
            "refused": count(shown.refused),
            "lastEventAt": time(shown.last_event_millis),
        };
        let lock = doc! {
            "instanceId": &self.instance,
            "acquiredAt": self.since,
            "epoch": self.epoch,
        };
        (status, lock)
    }

    /// The update of one listener, beside what other streams write.
    fn update(&self, shown: &Shown) -> Document {
        let ((status, lock), field) = (self.told(shown), &self.field);
        doc! {"$set": {format!("status.streams.{field}"): status, format!("lockInfo.streams.{field}"): lock}}
    }

    /// The same where somebody has put something else in the place of these fields.
    fn whole_update(&self, shown: &Shown) -> Document {
        let ((status, lock), field) = (self.told(shown), &self.field);
        doc! {"$set": {"status": {"streams": {field: status}}, "lockInfo": {"streams": {field: lock}}}}
    }

    /// Writes to at most [`AT_ONCE`] listeners; the names of those of which the server refuses it.
    ///
    /// # Errors
    /// A sentence, where none can be written.
    pub async fn write(
        &self,
        client: &Client,
        at: &Namespace,
        all: &[&Shown],
    ) -> Result<Vec<String>, String> {
        let refused = run(client, at, all, |shown| self.update(shown)).await?;
        if refused.is_empty() {
            return Ok(Vec::new());
        }
        let left = run(client, at, &refused, |shown| self.whole_update(shown)).await?;
        Ok(left.iter().map(|shown| shown.name.clone()).collect())
    }
}

/// Updates these listeners; those of which the server has refused it.
async fn run<'a>(
    client: &Client,
    at: &Namespace,
    all: &[&'a Shown],
    update: impl Fn(&Shown) -> Document,
) -> Result<Vec<&'a Shown>, String> {
    let updates = all
        .iter()
        .map(|shown| doc! {"q": {"_id": &shown.id}, "u": update(shown)});
    let written = documents::update(client, at, updates.collect()).await;
    let reply = written.map_err(|error| match error {
        Unwritten::Refused(error) => told("update", at, &error),
        Unwritten::Silent(sentence) => sentence,
    })?;
    let errors = reply.get_array("writeErrors").into_iter().flatten();
    let place = |error: &Bson| usize::try_from(error.as_document()?.get_i32("index").ok()?).ok();
    Ok(errors
        .filter_map(place)
        .filter_map(|place| all.get(place).copied())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_one_field() {
        let server = Server::new("tailwater:shop.eu$1", "i", 3);
        assert_eq!(server.field, "tailwater:shop_eu_1");
    }
}
