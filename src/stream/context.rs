//! What the parts of one stream share, from its start to its end.

use super::shared::Shared;
use crate::config::StreamSpec;
use crate::route::Router;
use crate::sink::topics::Topics;
use crate::source::opener::Opener;
use crate::status::Board;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The stream context: every incarnation of the stream is built from it.
pub struct StreamContext {
    pub spec: StreamSpec,
    pub shared: Shared,
    pub opener: Opener,
    pub router: Router,
    pub topics: Topics,
    pub board: Arc<Board>,
    pub stop: CancellationToken,
}
