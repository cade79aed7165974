//! The calls under `/api`, and `/graphql`: what an operator, a script and the page may ask and change. `docs/api.md` is their page,
//! `/api/openapi.json` their description.
//!
//! Who may call is decided before a request comes here (`admin::guard`). What shows no more than health and metrics do
//! is apart from the others, because it is as open as they are.

mod body;
mod checkpoints;
mod dead_letters;
mod document;
mod etag;
mod graphql;
mod id;
mod instances;
mod jobs;
mod listeners;
mod problem;
mod query;
mod remedy;
mod samples;
mod schedules;
mod snapshots;
pub(crate) mod steering;
mod streams;
mod tail;
pub(crate) mod time;

pub use document::Described;
pub use graphql::HasToken;
pub use id::escaped;
pub use problem::{PROBLEM_JSON, Problem};

use crate::config::{Kafka, Mongo};
use crate::coordination::Coordination;
use crate::error::{Code, Error};
use crate::schedule::Desk;
use crate::status::samples::Samples;
use crate::status::worker::Board;
use crate::stream::streams::Streams;
use crate::tasks;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::response::Response;
use mongodb::Client;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

/// How many calls may read or write topics at a time: each has a client of its own.
const AT_ONCE: usize = 2;

/// How many live tails there may be.
const TAILS: usize = 4;

/// What the calls are carried out with.
#[derive(Debug)]
pub struct Context {
    pub streams: Arc<Streams>,
    pub kafka: Arc<Kafka>,
    pub mongo: Arc<Mongo>,
    /// The process's client of MongoDB; none before there is one.
    pub client: watch::Receiver<Option<Client>>,
    /// Who runs which stream; none before this instance knows.
    pub coordination: watch::Receiver<Option<Coordination>>,
    pub log: crate::log::Handle,
    pub samples: Arc<Samples>,
    /// The schedules, where there are any.
    pub schedules: Option<Arc<Desk>>,
    /// What a worker does, where this process is one.
    pub worker: Option<Arc<Board>>,
    /// Cancelled when the process is stopping.
    pub stop: CancellationToken,
    /// `ENABLE_CHANGE_STREAMS`.
    pub is_enabled: bool,
    /// Whether several instances share the streams.
    pub is_shared: bool,
    /// `ADMIN_SHOW_DOCUMENTS`.
    pub shows_documents: bool,
    pub reading: Reading,
}

/// Bounds what reads topics at a time.
#[derive(Debug)]
pub struct Reading {
    any: Arc<Semaphore>,
    tails: Arc<Semaphore>,
    replay: Arc<Semaphore>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            any: Arc::new(Semaphore::new(AT_ONCE)),
            tails: Arc::new(Semaphore::new(TAILS)),
            replay: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Reading {
    /// One more live tail; none where there are enough.
    fn tailing(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.tails).try_acquire_owned().ok()
    }

    /// The turn of the one replay that may run.
    fn replaying(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.replay).try_acquire_owned().ok()
    }
}

/// What is not shown.
fn hidden() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "documents_hidden",
        "documents are shown only with ADMIN_SHOW_DOCUMENTS=true",
    )
}

type Answer = Result<Response, Problem>;

impl Context {
    fn client(&self) -> Result<Client, Problem> {
        let client = self.client.borrow().clone();
        client.ok_or_else(|| {
            Problem::unavailable(match self.is_enabled {
                true => "this instance has not connected to MongoDB yet; try again",
                false => "ENABLE_CHANGE_STREAMS=false: this instance does not connect to MongoDB",
            })
        })
    }

    /// The name of this instance; none before it has one.
    fn instance(&self) -> Option<String> {
        let coordination = self.coordination.borrow();
        coordination
            .as_ref()
            .map(|coordination| coordination.instance().to_owned())
    }
}

/// Runs what blocks, where not too much of it runs already.
async fn background<T: Send + 'static>(
    context: &Context,
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let Ok(turn) = Arc::clone(&context.reading.any).try_acquire_owned() else {
        let detail = format!("{AT_ONCE} calls read topics already; try again when they have ended");
        return Err(Error::new(Code::SinkUnavailable, detail));
    };
    // It ends with the work, which continues where nobody waits for the answer any more.
    let work = move || {
        let _turn = turn;
        work()
    };
    tasks::blocking(what, work).await
}

/// Declares the routes: those that anybody may ask, the others, and for the tests the lists of both.
macro_rules! routes {
    ($($router:ident, $served:ident { $($path:literal: $($method:ident $handler:path),+;)* })*) => {$(
        fn $router() -> Router<Arc<Context>> {
            let router = Router::new();
            $(let router = router.route($path, axum::routing::MethodRouter::new()$(.$method($handler))+);)*
            router
        }

        /// Path and method of each.
        #[cfg(test)]
        const $served: &[(&str, &str)] = &[$($(($path, stringify!($method))),+),*];
    )*};
}

routes! {
    // They show no document, filter of a document, key or secret, and change nothing.
    open_routes, OPEN {
        "/api/streams": get streams::list;
        "/api/streams/{name}": get streams::show;
        "/api/samples": get samples::get;
        "/api/snapshots": get snapshots::list;
        "/api/instances": get instances::list;
        "/api/openapi.json": get document::serve;
    }
    guarded_routes, GUARDED {
        "/api/streams/{name}/pause": post streams::steer::pause;
        "/api/streams/{name}/resume": post streams::steer::resume;
        "/api/streams/{name}/move": post streams::steer::move_to;
        "/api/streams/{name}/release": post streams::steer::release;
        "/api/streams/{name}/checkpoint": get checkpoints::show, post checkpoints::move_to;
        "/api/streams/{name}/dead-letters": get dead_letters::list;
        "/api/streams/{name}/dead-letters/replay": post dead_letters::again::replay;
        "/api/snapshots": post snapshots::start;
        "/api/snapshots/stop": post snapshots::stop;
        "/api/snapshots/pause": post snapshots::pause;
        "/api/snapshots/resume": post snapshots::resume;
        "/api/tail": get tail::tail;
        "/api/log-level": post streams::steer::log_level;
        "/api/listeners": get listeners::read::list, post listeners::write::create_one;
        "/api/listener-changes": get listeners::history::list;
        "/api/listeners/test": post listeners::trial::test;
        "/api/listeners/{id}":
            get listeners::read::show,
            put listeners::write::replace,
            patch listeners::write::patch,
            delete listeners::write::delete;
        "/api/jobs": get jobs::list;
        "/api/jobs/failed": get jobs::failed::list;
        "/api/jobs/failed/retry": post jobs::failed::retry;
        "/api/jobs/{id}": get jobs::show;
        "/api/schedules": get schedules::list, post schedules::create;
        "/api/schedules/{id}":
            get schedules::show,
            put schedules::replace,
            patch schedules::patch,
            delete schedules::delete;
        "/api/schedules/{id}/run": post schedules::run;
        "/graphql": post graphql::ask;
    }
}

/// The calls that anybody may make who may ask for health, and those that need more.
#[derive(Debug)]
pub struct Calls<S> {
    pub open: Router<S>,
    pub guarded: Router<S>,
}

/// The calls.
pub fn calls<S: Clone + Send + Sync + 'static>(context: &Arc<Context>) -> Calls<S> {
    let with_context = |routes: Router<Arc<Context>>| {
        let limit = DefaultBodyLimit::max(body::LIMIT);
        routes.layer(limit).with_state(Arc::clone(context))
    };
    Calls {
        open: with_context(open_routes()),
        guarded: with_context(guarded_routes()),
    }
}

/// Whether an error under this path is told as a problem document. What was there before has its own form.
pub fn is_of_api(path: &str) -> bool {
    let is_older = path == "/api/health" || path.starts_with("/api/health/");
    (path.starts_with("/api/") && !is_older) || path == "/graphql"
}

#[cfg(test)]
mod tests;
