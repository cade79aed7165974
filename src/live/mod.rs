//! Live changes in browsers and services, read from Kafka and apart from any stream: any instance serves them, a stream
//! never waits for a client, and a client resumes exactly where it was.
//!
//! One reader follows the ends of the topics (`tail`) and hands each change to the groups of clients that may want it
//! (`hub`, `index`, `group`). A client that comes back is first told what is kept in memory, or by a reader of its own
//! (`catch_up`) what lies before that (`feed`).

mod access;
mod catch_up;
mod change;
mod check;
mod descriptors;
mod ending;
mod feed;
mod fetch;
mod filter;
mod grant;
mod group;
mod gzip;
mod hub;
mod index;
mod jwks;
mod listen;
mod merge;
mod pace;
mod position;
mod redact;
mod selection;
mod sse;
mod tail;
mod threads;
mod token;
mod topics;
mod ws;

use crate::config::{Config, Live};
use crate::error::{Code, Error};
use crate::status::live::Counts;
use crate::tasks;
use access::{Access, Refusal};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use catch_up::CatchUps;
pub use check::check;
use ending::Ending;
use hub::{Bounds, Hub};
use jwks::Jwks;
use redact::Excluded;
use serde_json::json;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use threads::Threads;
use token::Verifier;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use topics::Topics;

/// How often slow clients are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// Over how long clients are told to leave at a stop, at most: they come back to other instances one after the other.
const SPREAD: Duration = Duration::from_secs(5);

/// How long a client waits for an instance that is starting.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before that is looked at again.
const BREATH: Duration = Duration::from_millis(100);

/// What the answers are made from.
#[derive(Debug)]
struct Server {
    parts: Arc<CatchUps>,
    access: Arc<Access>,
    close_after: Duration,
    spread: Duration,
    stop: CancellationToken,
    /// `LIVE_MAX_SUBSCRIPTIONS`.
    max_subscriptions: usize,
    /// WebSockets that are open.
    sockets: TaskTracker,
}

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    pub counts: Arc<Counts>,
    tasks: Vec<JoinHandle<Result<(), Error>>>,
    _threads: Threads,
}

/// Starts the server that is configured. With `stop` its clients are told to leave.
///
/// # Errors
/// [`Code::Config`] when the address cannot be bound, the keys cannot be read or there are too many partitions.
pub async fn serve(
    config: &Config,
    live: &Live,
    stop: CancellationToken,
) -> Result<Running, Error> {
    let wrong = |detail: String| Error::new(Code::Config, detail);
    let threads = Threads::start()?;
    let address = live.addr;
    let bound = threads.handle().spawn(TcpListener::bind(address)).await;
    let bound = bound.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    let listener = bound.map_err(|error| {
        let code = Code::of_system(&error, Code::Config);
        Error::new(
            code,
            format!(
                "LIVE_ADDR={} cannot be bound: {error}; give a free address or `off`",
                live.addr
            ),
        )
    })?;
    let mode = config.json_mode;
    let jwks = match &live.tokens.jwks {
        Some(from) => Some(
            Jwks::read(from.clone())
                .await
                .map_err(|reason| wrong(format!("LIVE_JWKS {reason}")))?,
        ),
        None => None,
    };
    let verifier = live
        .tokens
        .are_required()
        .then(|| Verifier::new(&live.tokens, jwks, mode));
    let counts = Arc::new(Counts::default());
    let bounds = Bounds {
        recent: live.recent_bytes,
        queue: live.queue_bytes,
    };
    let hub = Arc::new(Hub::new(mode, bounds, Arc::clone(&counts)));
    descriptors::provide(live.max_clients);
    let excluded = Excluded::new(&live.exclude);
    let topics = Topics::of(config, live.knows_source);
    let parts = Arc::new(CatchUps::new(
        config.kafka.clone(),
        Arc::clone(&hub),
        excluded,
        topics,
    ));
    let spread = SPREAD.min(config.shutdown_timeout / 2);
    let server = Arc::new(Server {
        parts: Arc::clone(&parts),
        access: Arc::new(Access::new(live, verifier, Arc::clone(&counts))),
        close_after: live.close_after,
        spread,
        stop: stop.clone(),
        max_subscriptions: live.max_subscriptions,
        sockets: TaskTracker::new(),
    });
    let sockets = server.sockets.clone();
    let addr = listener.local_addr().unwrap_or(live.addr);
    tracing::info!(%addr, "live changes are served");
    let patience = spread + Duration::from_secs(1);
    let answers = listen::serve(listener, routes(server), stop.clone());
    let own = threads.handle();
    let _entered = own.enter();
    let answers = tasks::spawn(async move {
        let mut connections = answers.await;
        let ended = async {
            while connections.join_next().await.is_some() {}
            sockets.close();
            sockets.wait().await;
        };
        // Whoever does not take its last words by then goes without.
        let _ = tokio::time::timeout(patience, ended).await;
        Ok(())
    });
    let tail = tasks::spawn(async move {
        let done = stop.clone();
        let read = tasks::blocking("live changes", move || tail::run(&parts, &done)).await;
        // What cannot be served is said at the start, and not only to clients.
        read.flatten().inspect_err(|_| stop.cancel())
    });
    tasks::spawn(async move {
        loop {
            tokio::time::sleep(SWEEP).await;
            hub.sweep();
        }
    });
    Ok(Running {
        counts,
        tasks: vec![tail, answers],
        _threads: threads,
    })
}

impl Running {
    /// Waits until it has ended.
    ///
    /// # Errors
    /// Why it could not serve.
    pub async fn ended(self) -> Result<(), Error> {
        for task in self.tasks {
            // A panic has been reported by the panic hook.
            if let Ok(ended) = task.await {
                ended?;
            }
        }
        Ok(())
    }
}

fn routes(server: Arc<Server>) -> Router {
    Router::new()
        .route("/live", get(sse::live).options(sse::preflight))
        .route("/live/ws", get(ws::live))
        .route("/socket.io/", get(ws::socket_io))
        .route("/health", get(health))
        .fallback(async || {
            Refusal::new(
                StatusCode::NOT_FOUND,
                "nothing is served under this path; /live, /live/ws and /socket.io/ are",
            )
        })
        .layer(middleware::map_response(ending))
        .with_state(server)
}

/// Says that the connection ends with the answer, unless it goes on as a WebSocket.
async fn ending(mut response: Response) -> Response {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Whether clients can be served: for a load balancer.
async fn health(State(server): State<Arc<Server>>) -> impl IntoResponse {
    match server.check_ready() {
        Ok(()) => (StatusCode::OK, Json(json!({ "status": "ready" }))).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

impl Server {
    fn check_ready(&self) -> Result<(), Refusal> {
        match self.parts.hub.is_ready() && !self.stop.is_cancelled() {
            true => Ok(()),
            false => Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: this instance is starting, stopping or waiting for Kafka; try again",
            )),
        }
    }

    /// Waits until clients can be served: a browser that is refused while an instance starts would not come back.
    async fn ready(&self) -> Result<(), Refusal> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.check_ready() {
                Err(_) if Instant::now() < until && !self.stop.is_cancelled() => {
                    tokio::time::sleep(BREATH).await;
                }
                checked => return checked,
            }
        }
    }

    /// After how long a client should come back, in milliseconds: not all at once.
    fn retry_millis(&self) -> u64 {
        1_000 + random() % 2_000
    }

    /// When a connection ends: after a while, with its token, or at a stop.
    fn ending(&self, expires: Option<i64>) -> Ending {
        let mut ending = Ending::new(self.close_after, self.spread, self.stop.clone());
        ending.renew(expires);
        ending
    }
}

fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// A random part of it.
fn part(of: Duration) -> Duration {
    of.mul_f64((random() % 1_000) as f64 / 1e3)
}
