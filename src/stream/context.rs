//! What the parts of one stream share, from its start to its end.

use super::listening::{self, Missing};
use super::shared::Shared;
use crate::change::position::Position;
use crate::config::StreamSpec;
use crate::error::Error;
use crate::listener::ListenerRouter;
use crate::sink::topics::Topics;
use crate::snapshot::busy::Busy;
use crate::snapshot::desk::Desk;
use crate::snapshot::reading;
use crate::source::Filter;
use crate::source::opener::Opener;
use crate::status::Board;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The stream context: every incarnation of the stream is built from it.
pub struct StreamContext {
    pub spec: StreamSpec,
    pub shared: Shared,
    pub opener: Opener,
    pub router: ListenerRouter,
    pub topics: Topics,
    /// Where snapshots are asked for.
    pub desk: Arc<Desk>,
    /// What could not be made in the listeners' collection.
    pub missing: Missing,
}

impl StreamContext {
    /// The opener, for what listeners want at a position. By itself it asks for everything.
    ///
    /// # Errors
    /// Where the position's listeners cannot be read.
    pub fn opener_at(&self, position: &Position) -> Result<Opener, Error> {
        let router = self.router.at(&position.extra)?;
        Ok(listening::opener_for(&self.opener, &router))
    }

    /// What is seen of the stream from outside.
    pub fn board(&self) -> &Arc<Board> {
        &self.opener.board
    }

    /// Where the rows of snapshots come from.
    pub fn rows(&self) -> Arc<reading::Source> {
        let spec = &self.spec;
        Arc::new(reading::Source {
            client: self.shared.client.clone(),
            scope: spec.source.scope.clone(),
            filter: Filter::of(spec),
            selection: reading::selection(&self.shared.client, spec.snapshot.read_preference),
            spec: spec.snapshot.clone(),
            budget: self.shared.memory.rows(),
            board: Arc::clone(self.board()),
            retry: self.opener.retry,
            busy: Busy::default(),
        })
    }

    /// Asks the stream to stop.
    pub fn stop(&self) -> &CancellationToken {
        &self.opener.stop
    }
}
