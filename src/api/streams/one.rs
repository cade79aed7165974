//! One stream, as it is told.

use super::Owner;
use crate::api::Context;
use crate::api::remedy::{self, Trouble};
use crate::api::time::of_millis;
use crate::status::owner::Ownership;
use crate::stream::streams::Handle;
use serde::Serialize;
use utoipa::ToSchema;

/// A stream.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    #[schema(example = "tailwater:shop")]
    id: String,
    /// Its name in STREAMS; otherwise its database, or its id where it is of several.
    #[schema(example = "shop")]
    name: String,
    /// Whether this instance is configured for it. Of others no more is known than who has them.
    configured: bool,
    /// starting, disabled, standby, unowned, running, recovering, paused, draining, failed or stopped.
    #[schema(value_type = String, example = "running")]
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<Owner>,
    /// What is wrong, the worst first.
    troubles: Vec<Trouble>,
    #[serde(flatten)]
    #[schema(inline)]
    here: Option<Here>,
}

/// What this instance knows of a stream.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Here {
    /// healthy, degraded or unhealthy.
    #[schema(value_type = String, example = "healthy")]
    health: &'static str,
    /// The database that is watched, or `*`.
    #[schema(example = "shop")]
    database: String,
    /// What is watched, in words.
    #[schema(example = "database shop: all collections but audit; only insert, delete")]
    filter: String,
    dry_run: bool,
    events: u64,
    /// Events a second.
    #[schema(example = 12.5)]
    rate: f64,
    /// How far delivery is behind the changes' own time.
    lag_ms: u64,
    in_flight_records: u64,
    in_flight_bytes: u64,
    /// How long the oplog will hold the checkpoint; none where that is not known.
    oplog_headroom_seconds: Option<u64>,
    checkpoint: Option<At>,
    produced: u64,
    acknowledged: u64,
    dead_lettered: u64,
    skipped: u64,
    /// Times the source was opened again.
    reconnects: u64,
    history_gaps: u64,
    /// How many listeners there are in each state; none without LISTENERS_COLLECTION.
    #[serde(skip_serializing_if = "Option::is_none")]
    listeners: Option<ListenerCounts>,
}

/// The last position that was stored.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct At {
    /// The time of the position.
    time: Option<String>,
    /// Its tw-seq.
    seq: u64,
    /// How long ago it was stored.
    age_seconds: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ListenerCounts {
    active: u64,
    disabled: u64,
    invalid: u64,
}

impl Stream {
    pub(in crate::api) fn of(context: &Context, handle: &Handle) -> Self {
        let board = &handle.board;
        let is_disabled = !context.is_enabled;
        Self {
            id: handle.spec.id.clone(),
            name: handle.spec.title().to_owned(),
            configured: true,
            state: board.state().name(),
            owner: board.ownership().as_ref().map(Owner::of),
            troubles: match is_disabled {
                true => Vec::new(),
                false => remedy::of(board),
            },
            here: Some(Here::of(handle)),
        }
    }

    /// One that only other instances are configured for.
    pub(super) fn of_others(id: &str, ownership: &Ownership) -> Self {
        Self {
            id: id.to_owned(),
            name: id.to_owned(),
            configured: false,
            state: ownership.elsewhere().name(),
            owner: Some(Owner::of(ownership)),
            troubles: Vec::new(),
            here: None,
        }
    }

    pub(super) fn is(&self, id: &str) -> bool {
        self.id == id
    }
}

impl Here {
    fn of(handle: &Handle) -> Self {
        let board = &handle.board;
        let states = board.listeners.states();
        let count = |name: &str| states.get(name).copied().unwrap_or_default();
        Self {
            health: board.health().name(),
            database: board.namespace.clone(),
            filter: handle.watches.clone(),
            dry_run: board.dry_run.get(),
            events: board.events.get(),
            rate: board.rate(),
            lag_ms: u64::try_from(board.lag().as_millis()).unwrap_or(u64::MAX),
            in_flight_records: board.in_flight(),
            in_flight_bytes: board.in_flight_bytes(),
            oplog_headroom_seconds: board.headroom().map(|headroom| headroom.as_secs()),
            checkpoint: board.committed().map(|committed| At {
                time: committed.position.time_millis.and_then(of_millis),
                seq: committed.position.seq.0,
                age_seconds: committed.at.elapsed().as_secs(),
            }),
            produced: board.produced.get(),
            acknowledged: board.acked.get(),
            dead_lettered: board.dead_lettered.get(),
            skipped: board.skipped.get(),
            reconnects: board.reconnects.get(),
            history_gaps: board.gaps.get(),
            listeners: board.has_listeners.get().then(|| ListenerCounts {
                active: count("active"),
                disabled: count("disabled"),
                invalid: count("invalid"),
            }),
        }
    }
}
