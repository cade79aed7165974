//! Where a stream begins when there is no checkpoint: `START_AT`.

use super::cursor::Start;
use super::errors::{self, Moment};
use super::oplog;
use crate::config::StartAt;
use crate::error::{Code, Error};
use crate::position::ClusterTime;
use mongodb::Client;

/// The start for a stream without a checkpoint.
///
/// # Errors
/// [`Code::SourceRefused`] when `earliest` needs the oplog and it may not be read.
pub async fn without_checkpoint(client: &Client, start_at: &StartAt) -> Result<Start, Error> {
    Ok(match start_at {
        StartAt::Now => Start::Now,
        StartAt::Time(seconds) => Start::At(ClusterTime::new(*seconds, 1)),
        StartAt::Token(token) => Start::After(token.clone()),
        StartAt::Earliest => Start::At(oldest(client, "START_AT=earliest").await?),
    })
}

/// The time of the oplog's oldest entry; `purpose` begins the sentence of an error.
///
/// # Errors
/// What the server answers, with the privilege it takes.
pub async fn oldest(client: &Client, purpose: &str) -> Result<ClusterTime, Error> {
    let oldest = oplog::oldest(client).await.map_err(|error| {
        let attempt =
            format!("{purpose} takes reading local.oplog.rs (grant the role `read` on `local`)");
        errors::error(&attempt, &error, Moment::Other)
    })?;
    oldest.map(|oldest| oldest.time).ok_or_else(|| {
        let detail =
            format!("{purpose}: there is no oplog here (a sharded cluster has one per shard)");
        Error::new(Code::SourceRefused, detail)
    })
}
