//! The HTTP server: health, metrics, and the calls that change something.

mod control;
mod errors;
mod guard;
mod health;
mod listen;
mod streams;
mod which;

pub use control::{Controls, Ended};

use crate::api::{self, Described};
use crate::config::{Http, Secret};
use crate::error::{Code, Error};
use crate::log::event_id;
use crate::page;
use crate::status::exposition;
use crate::status::live::Counts;
use crate::status::schedules::Schedules;
use crate::status::worker;
use crate::stream::streams::Streams;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Router};
use guard::Guard;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

/// More than any call needs, in bytes.
const BODY_LIMIT: usize = 4 * 1024;

/// How the server is configured.
#[derive(Debug)]
pub struct Settings {
    pub http: Http,
    /// `ADMIN_TOKEN`: required of calls that change something.
    pub token: Option<Secret>,
    /// `ENABLE_CHANGE_STREAMS`.
    pub is_enabled: bool,
    pub is_dry_run: bool,
    /// Whether several instances share the streams.
    pub is_shared: bool,
    /// What the server for live changes counts, where there is one.
    pub live: Option<Arc<Counts>>,
    /// The board of the schedules, where there are any.
    pub schedules: Option<Arc<Schedules>>,
    /// What a worker does, where this process is one.
    pub worker: Option<Arc<worker::Board>>,
    /// What the documented calls are carried out with.
    pub api: Arc<api::Context>,
}

/// What the answers are made from.
#[derive(Debug)]
struct Context {
    api: Arc<api::Context>,
    streams: Arc<Streams>,
    controls: Controls,
    guard: Guard,
    is_enabled: bool,
    is_dry_run: bool,
    is_shared: bool,
    live: Option<Arc<Counts>>,
    schedules: Option<Arc<Schedules>>,
    worker: Option<Arc<worker::Board>>,
    started: Instant,
}

/// Starts the server where one is wanted; it ends with `done`.
///
/// # Errors
/// [`Code::Config`] when an address that was asked for cannot be bound, [`Code::Exhausted`] when the system has no
/// socket left.
pub async fn serve(
    settings: Settings,
    streams: Arc<Streams>,
    controls: Controls,
    done: CancellationToken,
) -> Result<Option<JoinHandle<()>>, Error> {
    let (addr, is_default) = match &settings.http {
        Http::Off => return Ok(None),
        Http::Asked(addr) => (*addr, false),
        Http::Default(addr) => (*addr, true),
    };
    let listener = match TcpListener::bind(addr).await {
        Ok(listener) => listener,
        Err(error) => {
            let code = Code::of_system(&error, Code::Config);
            if code == Code::Config && is_default {
                tracing::warn!(event_id = event_id::HTTP_NOT_STARTED, %addr, %error, "no http server: the default address cannot be had; HTTP_ADDR names another");
                return Ok(None);
            }
            let remedy = match code {
                Code::Config => "give a free address or `off`",
                _ => "raise the limits of this process (ulimit -n)",
            };
            let detail = format!("HTTP_ADDR={addr} cannot be bound: {error}; {remedy}");
            return Err(Error::new(code, detail));
        }
    };
    let addr = listener.local_addr().unwrap_or(addr);
    tracing::info!(%addr, "http server listening");
    if let Some(worker) = &settings.worker {
        // Set once: it is served once.
        let _ = worker.http.set(addr);
    }
    let context = Arc::new(Context {
        api: Arc::clone(&settings.api),
        streams,
        controls,
        guard: Guard::new(settings.token, addr.ip()),
        is_enabled: settings.is_enabled,
        is_dry_run: settings.is_dry_run,
        is_shared: settings.is_shared,
        live: settings.live,
        schedules: settings.schedules,
        worker: settings.worker,
        started: Instant::now(),
    });
    let routes = routes(Arc::clone(&context), settings.api);
    Ok(Some(tokio::spawn(async move {
        listen::serve(listener, routes, done).await;
        context.guard.say_the_rest();
    })))
}

/// What the OpenAPI document says of these routes.
fn documented() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(
        paths(
            health::health,
            health::live,
            health::ready,
            health::detailed,
            health::subscriptions,
            health::api,
            health::change_streams,
            health::status,
            scrape,
            control::log_level,
            control::pause,
            control::resume,
            control::stop,
            streams::move_to,
            streams::release,
        ),
        tags(
            (name = "health", description = "How it is: docs/operations.md. They need no token"),
            (name = "admin", description = "What the command line asks of a running instance"),
        ),
    )]
    struct Admin;
    Admin::openapi()
}

fn routes(context: Arc<Context>, api: Arc<api::Context>) -> Router {
    let guarded = middleware::from_fn_with_state(Arc::clone(&context), guard::changing);
    let changing = Router::new()
        .route("/admin/log-level", post(control::log_level))
        .route("/admin/pause", post(control::pause))
        .route("/admin/resume", post(control::resume))
        .route("/admin/stop", post(control::stop))
        .route("/admin/streams/move", post(streams::move_to))
        .route("/admin/streams/release", post(streams::release))
        .layer(guarded.clone())
        .layer(DefaultBodyLimit::max(BODY_LIMIT));
    let calls = api::calls(&api);
    // What they show is for no other eyes either.
    let closed = calls.guarded.layer(guarded);
    let described = Extension(Described::with(documented()));
    Router::new()
        .route("/health", get(health::health))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/health/detailed", get(health::detailed))
        .route("/health/subscriptions", get(health::subscriptions))
        .route("/api/health", get(health::api))
        .route("/api/health/change-streams", get(health::change_streams))
        .route("/status", get(health::status))
        .route("/metrics", get(scrape))
        .merge(changing)
        .merge(calls.open.layer(described))
        .merge(closed)
        .merge(page::router())
        // Behind everything, also what no route answers.
        .layer(middleware::from_fn_with_state(
            Arc::clone(&context),
            guard::any,
        ))
        .layer(middleware::from_fn(errors::in_words))
        .with_state(context)
}

/// Prometheus's text format.
#[utoipa::path(get, path = "/metrics", operation_id = "getMetrics", tag = "health", responses((status = 200, body = String, content_type = "text/plain")), security(()))]
async fn scrape(State(context): State<Arc<Context>>) -> impl IntoResponse {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    (
        [(header::CONTENT_TYPE, TEXT)],
        exposition::render(
            &context.streams.boards(),
            context.live.as_deref(),
            context.schedules.as_deref(),
            context.worker.as_deref(),
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The routes as they are written in this file.
    #[test]
    fn every_route_is_described_and_nothing_else() {
        let source = include_str!("mod.rs");
        let written = source.split(".route(\"").skip(1).filter_map(|rest| {
            let (path, rest) = rest.split_once("\", ")?;
            let (method, _) = rest.split_once('(')?;
            path.starts_with('/').then(|| format!("{method} {path}"))
        });
        let whole = serde_json::to_value(documented()).unwrap();
        let paths = whole["paths"].as_object().unwrap();
        let described = paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().unwrap().keys();
            methods.map(move |method| format!("{method} {path}"))
        });
        assert_eq!(written.collect::<BTreeSet<_>>(), described.collect());
    }
}
