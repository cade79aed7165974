//! How long until the checkpoint falls off the oplog: looked at once a minute.

use crate::status::Board;
use bson::{Document, doc};
use mongodb::Client;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// One query on the oplog's oldest entry in this time.
const INTERVAL: Duration = Duration::from_secs(60);
/// Before the first checkpoint there is nothing to compare with.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Looks until `done`. Where the user may not read `local.oplog.rs`, or there is none, the headroom stays
/// unknown.
pub async fn watch(client: Client, board: Arc<Board>, done: CancellationToken) {
    let mut pause = FIRST_LOOK;
    let mut is_known = true;
    while done
        .run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_some()
    {
        let Some(position) = board
            .committed()
            .and_then(|committed| committed.position.time_millis)
        else {
            continue;
        };
        pause = INTERVAL;
        let oldest = oldest_seconds(&client).await;
        if oldest.is_none() && is_known {
            tracing::debug!(
                "how far back the oplog reaches is unknown: local.oplog.rs cannot be read"
            );
        }
        is_known = oldest.is_some();
        board
            .metrics
            .headroom(oldest.map(|oldest| headroom(position, oldest)));
    }
}

/// The time between the oplog's oldest entry and the position. The oplog drops its end as fast as changes
/// come in, so that this is also how long it takes to reach a position that stands still.
fn headroom(position_millis: i64, oldest_seconds: u32) -> Duration {
    let millis = position_millis - i64::from(oldest_seconds) * 1000;
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

async fn oldest_seconds(client: &Client) -> Option<u32> {
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let oldest = oplog
        .find_one(doc! {})
        .sort(doc! {"$natural": 1})
        .projection(doc! {"ts": 1});
    let entry = oldest.await.ok().flatten()?;
    Some(entry.get_timestamp("ts").ok()?.time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_that_has_fallen_off_has_no_headroom() {
        assert_eq!(headroom(10_500, 10), Duration::from_millis(500));
        assert_eq!(headroom(9_000, 10), Duration::ZERO);
    }
}
