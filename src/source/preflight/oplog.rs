//! How far back the oplog reaches: so long may Tailwater be away.

use crate::preflight::Finding;
use crate::source::errors;
use bson::{Bson, Document, doc};
use mongodb::{Client, Collection};

const NAME: &str = "mongodb.oplog";

/// Below this a restart that takes a while can lose history.
const WARN_BELOW_SECONDS: u32 = 3600;

pub(super) async fn window(client: &Client) -> Finding {
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let (first, last) = match ends(&oplog).await {
        Ok(Some(ends)) => ends,
        Ok(None) => return Finding::ok(NAME, "the oplog is empty or cannot be seen"),
        Err(error) => {
            let sentence = format!(
                "how far back the oplog reaches is unknown: may not read local.oplog.rs ({})",
                errors::describe(&error)
            );
            return Finding::ok(NAME, sentence);
        }
    };
    let is_whole = begins_the_set(&first) || has_room(client).await;
    finding(seconds(&last).saturating_sub(seconds(&first)), is_whole)
}

async fn ends(
    oplog: &Collection<Document>,
) -> mongodb::error::Result<Option<(Document, Document)>> {
    let end = async |order: i32| {
        let fields = doc! {"ts": 1, "op": 1, "o.msg": 1};
        oplog
            .find_one(doc! {})
            .sort(doc! {"$natural": order})
            .projection(fields)
            .await
    };
    Ok(end(1).await?.zip(end(-1).await?))
}

fn seconds(entry: &Document) -> u32 {
    entry.get_timestamp("ts").map_or(0, |ts| ts.time)
}

/// Whether the oplog still begins with the entry of `rs.initiate()`: nothing was dropped from it.
fn begins_the_set(first: &Document) -> bool {
    let message = first.get_document("o").and_then(|o| o.get_str("msg"));
    message.is_ok_and(|message| message == "initiating set")
}

/// Whether it has not grown to its size yet, so that nothing had to be dropped.
async fn has_room(client: &Client) -> bool {
    let stats = client
        .database("local")
        .run_command(doc! {"collStats": "oplog.rs"})
        .await;
    let number = |stats: &Document, name: &str| match stats.get(name)? {
        Bson::Int32(number) => Some(f64::from(*number)),
        Bson::Int64(number) => Some(*number as f64),
        Bson::Double(number) => Some(*number),
        _ => None,
    };
    stats.is_ok_and(|stats| {
        let sizes = number(&stats, "size").zip(number(&stats, "maxSize"));
        sizes.is_some_and(|(size, most)| size > 0.0 && size < 0.9 * most)
    })
}

fn finding(seconds: u32, is_whole: bool) -> Finding {
    let reach = match seconds {
        0..7200 => format!("{} minutes", seconds / 60),
        _ => format!("{:.1} hours", f64::from(seconds) / 3600.0),
    };
    if is_whole {
        let sentence = format!("the oplog reaches back to its beginning, {reach} ago");
        return Finding::ok(NAME, sentence);
    }
    let sentence = format!("the oplog reaches back {reach}");
    if seconds >= WARN_BELOW_SECONDS {
        return Finding::ok(NAME, sentence);
    }
    Finding::warn(
        NAME,
        format!("{sentence}: away for longer, Tailwater loses its place"),
    )
    .remedy(
        "give it more room: \
         db.adminCommand({replSetResizeOplog: 1, size: <MB>, minRetentionHours: 24})",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Severity;

    #[test]
    fn a_short_window_is_warned_of_unless_the_set_is_only_that_old() {
        assert_eq!(finding(600, false).severity, Severity::Warn);
        assert_eq!(finding(600, true).severity, Severity::Ok);
        assert_eq!(
            finding(90_000, false).sentence,
            "the oplog reaches back 25.0 hours"
        );
    }

    #[test]
    fn the_entry_of_the_initiation_is_known() {
        assert!(begins_the_set(
            &doc! {"op": "n", "o": {"msg": "initiating set"}}
        ));
        assert!(!begins_the_set(
            &doc! {"op": "n", "o": {"msg": "periodic noop"}}
        ));
        assert!(!begins_the_set(&doc! {"op": "i"}));
    }
}
