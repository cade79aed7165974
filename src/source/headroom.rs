//! How long until the checkpoint falls off the oplog: looked at once a minute, from the time the stream
//! is open. The first look is also told in words, as a check of the start that need not be waited for.

use super::oplog::{self, FULL, Oldest};
use crate::mongo::errors::{self, Phase, SourceFault};
use crate::status::Board;
use mongodb::Client;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// One query on the oplog's oldest entry in this time.
const INTERVAL: Duration = Duration::from_secs(60);
/// Before the first checkpoint there is nothing to compare with.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Looks until `done`. Where the user may not read `local.oplog.rs`, or there is none, the headroom stays
/// unknown.
pub async fn watch(client: Client, board: Arc<Board>, done: CancellationToken) {
    let started = Instant::now();
    let mut pause = FIRST_LOOK;
    let mut is_known = true;
    let mut has_room = true;
    let mut is_told = false;
    while done
        .run_until_cancelled(tokio::time::sleep(pause))
        .await
        .is_some()
    {
        // What waited for the start goes first, for a while: on some servers the look reads the whole oplog.
        if pause == FIRST_LOOK && !board.caught_up.get() && started.elapsed() < INTERVAL {
            continue;
        }
        let Some(position) = board
            .committed()
            .and_then(|committed| committed.position.time_millis)
        else {
            continue;
        };
        pause = INTERVAL;
        let oldest = oplog::oldest(&client).await;
        if !is_told && is_worth_telling(&oldest) {
            is_told = true;
            oplog::window(&client, &oldest).await.log();
        }
        let oldest = oldest.ok().flatten();
        if oldest.is_none() && is_known {
            tracing::debug!(
                "how far back the oplog reaches is unknown: local.oplog.rs cannot be read"
            );
        }
        is_known = oldest.is_some();
        let filled = match has_room && is_known {
            true => oplog::filled(&client).await.filter(|filled| *filled < FULL),
            false => None,
        };
        has_room = filled.is_some();
        let now = match has_room {
            true => oplog::now_seconds(&client).await,
            false => 0,
        };
        board.metrics.headroom(oldest.map(|oldest| {
            let oldest = oldest.time.seconds;
            headroom(position, oldest)
                .saturating_add(until_full(now.saturating_sub(oldest), filled))
        }));
    }
}

/// A server that does not answer now will be asked again, and the router of a sharded cluster has no oplog.
fn is_worth_telling(oldest: &mongodb::error::Result<Option<Oldest>>) -> bool {
    match oldest {
        Ok(oldest) => oldest.is_some(),
        Err(error) => errors::classify(error, Phase::Other) == SourceFault::Unauthorized,
    }
}

/// The time between the oplog's oldest entry and the position. The oplog drops its end as fast as changes
/// come in, so that this is also how long it takes to reach a position that stands still.
fn headroom(position_millis: i64, oldest_seconds: u32) -> Duration {
    let millis = position_millis - i64::from(oldest_seconds) * 1000;
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The time until an oplog that took `seconds` to be `filled` as it is drops its first entry, by the rate
/// so far.
fn until_full(seconds: u32, filled: Option<f64>) -> Duration {
    let factor = filled.map_or(0.0, |filled| (FULL / filled - 1.0).max(0.0));
    Duration::try_from_secs_f64(f64::from(seconds) * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_oplog_that_is_not_full_yet_drops_nothing_until_it_is() {
        assert_eq!(until_full(100, None), Duration::ZERO);
        assert_eq!(until_full(100, Some(0.3)), Duration::from_secs(200));
        assert_eq!(until_full(100, Some(0.95)), Duration::ZERO);
    }

    #[test]
    fn a_position_that_has_fallen_off_has_no_headroom() {
        assert_eq!(headroom(10_500, 10), Duration::from_millis(500));
        assert_eq!(headroom(9_000, 10), Duration::ZERO);
    }
}
