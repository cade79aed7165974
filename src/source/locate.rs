//! Where to resume from a resume token that the server does not find (280).
//!
//! A token that names an event is found only behind stages that let the event through. When the filter has
//! been narrowed since, the server answers 280 with the position still in the oplog. So its cluster time
//! decides: as long as the oplog reaches back to it, the stream is opened at that time, and what was read
//! before is left out ([`Reply::leave_out_through`](super::reply::Reply::leave_out_through)).

use super::oplog;
use crate::change::position::ClusterTime;
use mongodb::Client;

/// What is known of a token that the server does not find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Located {
    /// The stream resumes from this time, unless the server says that it is lost.
    At(ClusterTime),
    /// The oplog begins later.
    Lost,
    /// The token tells no time, and none was stored beside it.
    Unknown,
}

/// Looks whether `time`, the cluster time of the token's event, is still in the oplog. Where that cannot be
/// read, as on a sharded cluster, opening the stream at that time will tell.
pub async fn locate(client: &Client, time: Option<ClusterTime>) -> Located {
    let Some(time) = time else {
        return Located::Unknown;
    };
    match oplog::oldest(client).await {
        Ok(Some(oldest)) if oldest.time > time => Located::Lost,
        _ => Located::At(time),
    }
}
