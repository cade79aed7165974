//! The HTTP server: is it alive, is it ready.

use crate::config::Http;
use crate::error::{Code, Error};
use crate::metrics;
use crate::status::Board;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Starts the server where one is wanted; it ends with `done`.
///
/// # Errors
/// [`Code::Config`] when an address that was asked for cannot be bound.
pub async fn serve(
    http: &Http,
    board: Arc<Board>,
    done: CancellationToken,
) -> Result<Option<JoinHandle<()>>, Error> {
    let (addr, is_default) = match http {
        Http::Off => return Ok(None),
        Http::Asked(addr) => (*addr, false),
        Http::Default(addr) => (*addr, true),
    };
    let listener = match TcpListener::bind(addr).await {
        Ok(listener) => listener,
        Err(error) if is_default => {
            tracing::warn!(%addr, %error, "no http server: the default port is taken; HTTP_ADDR names another");
            return Ok(None);
        }
        Err(error) => {
            let detail =
                format!("HTTP_ADDR={addr} cannot be bound: {error}; give a free address or `off`");
            return Err(Error::new(Code::Config, detail));
        }
    };
    let addr = listener.local_addr().unwrap_or(addr);
    tracing::info!(%addr, "http server listening");
    let routes = Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(scrape))
        .with_state(board);
    Ok(Some(tokio::spawn(async move {
        let served = axum::serve(listener, routes)
            .with_graceful_shutdown(done.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the http server ended");
        }
    })))
}

/// The process runs and answers.
async fn live(State(board): State<Arc<Board>>) -> Json<Value> {
    Json(json!({ "status": "alive", "state": board.state().name() }))
}

/// Prometheus's text format.
async fn scrape(State(board): State<Arc<Board>>) -> impl IntoResponse {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, TEXT)], metrics::render(&board))
}

/// Cursor open, Kafka reachable, checkpoint loaded.
async fn ready(State(board): State<Arc<Board>>) -> (StatusCode, Json<Value>) {
    let is_ready = board.is_ready();
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({
        "status": if is_ready { "ready" } else { "not ready" },
        "state": board.state().name(),
        "mongoConnected": board.mongo_connected.get(),
        "kafkaConnected": board.kafka_connected.get(),
        "checkpointLoaded": board.checkpoint_loaded.get(),
    });
    (status, Json(body))
}
