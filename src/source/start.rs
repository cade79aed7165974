//! Where a stream begins when there is no checkpoint: `START_AT`.

use super::cursor::Start;
use super::oplog;
use crate::change::position::ClusterTime;
use crate::config::StartAt;
use crate::error::{Code, Error};
use crate::mongo::errors::{self, Phase};
use mongodb::Client;

/// The start for a stream without a checkpoint, at the given attempt (from 1 on).
///
/// # Errors
/// [`Code::SourceRefused`] when `earliest` needs the oplog and it may not be read.
pub async fn without_checkpoint(
    client: &Client,
    start_at: &StartAt,
    attempt: u32,
) -> Result<Start, Error> {
    Ok(match start_at {
        StartAt::Now => Start::Now,
        StartAt::Time(seconds) => Start::At(ClusterTime::new(*seconds, 1)),
        StartAt::Token(token) => Start::After(token.clone()),
        StartAt::Earliest => Start::At(beginning(client, "START_AT=earliest", attempt).await?),
    })
}

/// Where a stream from the beginning of the oplog starts at the given attempt ([`oplog::beginning`]);
/// `purpose` begins the sentence of an error.
///
/// # Errors
/// What the server answers, with the privilege it takes.
pub async fn beginning(client: &Client, purpose: &str, attempt: u32) -> Result<ClusterTime, Error> {
    let beginning = oplog::beginning(client, attempt).await.map_err(|error| {
        let attempt =
            format!("{purpose} takes reading local.oplog.rs (grant the role `read` on `local`)");
        errors::error(&attempt, &error, Phase::Other)
    })?;
    beginning.ok_or_else(|| {
        let detail =
            format!("{purpose}: there is no oplog here (a sharded cluster has one per shard)");
        Error::new(Code::SourceRefused, detail)
    })
}
