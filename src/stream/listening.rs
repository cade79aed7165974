//! The listeners of a stream: what each may have of it, and which are in force where it begins.

mod check;
mod prepare;

pub use check::check;
pub use prepare::Missing;

use super::context::StreamContext;
use super::waiting::{pause_before_retry, retrying};
use crate::change::extra::Extra;
use crate::change::position::Position;
use crate::checkpoint::Store;
use crate::config::{Listeners, Scope, StreamSpec};
use crate::error::Error;
use crate::listener::{Admission, Definition, ListenerRouter, Set};
use crate::log::event_id;
use crate::route::{Route, Router};
use crate::source::Filter;
use crate::source::listeners::{bootstrap, collection};
use crate::source::opener::Opener;
use crate::status::listeners::Statuses;
use crate::status::waiting::Awaited;
use futures_util::{FutureExt, TryFutureExt};
use std::sync::Arc;

/// The router of a stream, which tells in `statuses` how its listeners do.
///
/// # Errors
/// As [`Router::of`].
pub fn router(spec: &StreamSpec, statuses: Arc<Statuses>) -> Result<ListenerRouter, Error> {
    let router = Router::of(spec)?;
    Ok(match &spec.source.listeners {
        None => ListenerRouter::without(router),
        Some(listeners) => {
            ListenerRouter::with(router, listeners.clone(), admission(spec), statuses)
        }
    })
}

/// What a listener may have of the stream.
fn admission(spec: &StreamSpec) -> Admission {
    let reach = Filter::of_listeners(spec);
    let scope = spec.source.scope.clone();
    Admission(Arc::new(move |definition: &Definition| {
        let watched = match &scope {
            Scope::Database(name) => name.clone(),
            Scope::Deployment { databases } => databases.join(", "),
        };
        if let Some(database) = &definition.database
            && !scope.holds(database)
        {
            return Err(format!(
                "database: {database} is not watched; this stream watches {watched}"
            ));
        }
        let database = match (&definition.database, &scope) {
            (Some(name), _) | (None, Scope::Database(name)) => name,
            // Which databases it is about shows only with the events.
            (None, Scope::Deployment { .. }) => return Ok(()),
        };
        match reach.watches(database, &definition.collection) {
            true => Ok(()),
            false => Err(format!(
                "collection: {} is excluded, by EXCLUDE_COLLECTIONS or as Tailwater's own",
                definition.collection
            )),
        }
    }))
}

/// The opener, for what listeners want who are in force in `router`.
pub fn opener_for(opener: &Opener, router: &ListenerRouter) -> Opener {
    let mut opener = opener.clone();
    if router.knows_listeners() {
        opener.watch.ask(&router.interest());
    }
    opener
}

/// What a stream begins with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Begun {
    /// Whether the listeners were read anew.
    pub are_read: bool,
    pub missing: Missing,
}

/// Sees to it that a position where a stream begins holds the listeners in force there, and that they are stored
/// before an event is read: a restart from the same position must give its events the same records.
///
/// # Errors
/// What is permanent, or was not over within `RECONNECT_MAX_RETRIES`.
pub async fn begin(
    opener: &Opener,
    listeners: Option<&Listeners>,
    position: &mut Position,
    store: &mut Store,
) -> Result<Begun, Error> {
    let mut begun = Begun::default();
    let Some(listeners) = listeners else {
        // They would be of an older time when they are wanted again.
        position.extra = position.extra.with(Extra::LISTENERS, None);
        return Ok(begun);
    };
    if !opener.board.dry_run.get() {
        begun.missing = prepare::prepare(opener, listeners).await?;
    }
    if let Some(set) = Set::of(&position.extra)?
        && set.at() == listeners.at.to_string()
    {
        return Ok(begun);
    }
    position.extra = read(opener, listeners, &position.extra).await?;
    let mut delays = opener.delays();
    let waiting = [opener.board.waits.begin(Awaited::Checkpoint)];
    while let Err(error) = store.amend(position.extra.clone()).await {
        pause_before_retry(error.into(), &mut delays, &waiting).await?;
    }
    begun.are_read = true;
    Ok(begun)
}

/// The position with the listeners as they are now, where it has none: another collection has taken the place of
/// theirs at it.
///
/// # Errors
/// As [`begin`].
pub async fn known(context: &StreamContext, mut position: Position) -> Result<Position, Error> {
    if let Some(listeners) = &context.spec.source.listeners
        && position.extra.get(Extra::LISTENERS).is_none()
    {
        position.extra = read(&context.opener, listeners, &position.extra).await?;
    }
    Ok(position)
}

/// Reads the file of `LISTENERS_BOOTSTRAP`, for what is wrong with it.
///
/// # Errors
/// [`Code::Config`](crate::error::Code::Config) with everything that is wrong.
pub fn check_bootstrap(spec: &StreamSpec) -> Result<(), Error> {
    let listeners = spec.source.listeners.as_ref();
    match listeners.and_then(|listeners| listeners.bootstrap.as_ref()) {
        Some(bootstrap) => bootstrap::items(bootstrap).map(|_| ()),
        None => Ok(()),
    }
}

/// The parts of a position with the listeners as they are now.
///
/// # Errors
/// As [`begin`].
pub async fn read(opener: &Opener, listeners: &Listeners, extra: &Extra) -> Result<Extra, Error> {
    let waiting = [opener.board.waits.begin(Awaited::MongoDb)];
    let stage = opener.stage();
    let documents = retrying(opener.retry, &waiting, || {
        let read = collection::all_at(&opener.client, &listeners.at, stage);
        read.inspect_err(|error| opener.board.source_error.set(error.detail.as_str()))
            .boxed()
    })
    .await?;
    let at = listeners.at.to_string();
    tracing::info!(
        event_id = event_id::LISTENERS_READ,
        collection = at,
        documents = documents.len(),
        "the listeners were read; from here on they change with the stream"
    );
    let set = Set::found(&at, &documents);
    Ok(extra.with(Extra::LISTENERS, Some(set.to_bson())))
}
