//! Connections that are kept: a service may close one in the moment in which the next job is written to it.
//!
//! Nobody can rule that out: the close and the request pass each other on the wire. It says nothing of the service, and
//! so such a job is sent once more at once, by a new connection, within the same attempt. It may come twice then, as
//! after a crash; receivers tell repeats by `webhook-id`. Reported for others as
//! <https://github.com/hyperium/hyper/issues/2136> and <https://github.com/golang/go/issues/22158>.

use reqwest::{Client, ClientBuilder, Request, Response};
use std::cell::Cell;
use std::error::Error;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_layer::Layer;
use tower_service::Service;

/// How long a connection that is not used is kept.
const IDLE: Duration = Duration::from_secs(30);

tokio::task_local! {
    /// Whether a connection was opened for this request.
    static OPENED: Cell<bool>;
}

/// Sends requests over connections that are kept.
#[derive(Debug, Clone)]
pub struct Connections {
    kept: Client,
    /// Opens a connection for each request.
    fresh: Client,
}

impl Connections {
    /// # Errors
    /// Those of the client.
    pub fn new(of: impl Fn() -> ClientBuilder) -> reqwest::Result<Self> {
        let kept = of()
            .pool_idle_timeout(IDLE)
            .connector_layer(Noting)
            .build()?;
        let fresh = of().pool_max_idle_per_host(0).build()?;
        Ok(Self { kept, fresh })
    }

    /// # Errors
    /// Why there is no answer.
    pub async fn send(&self, request: Request) -> reqwest::Result<Response> {
        let again = request.try_clone();
        let sending = OPENED.scope(Cell::new(false), async {
            let result = self.kept.execute(request).await;
            (result, OPENED.with(Cell::get))
        });
        let (result, is_opened) = sending.await;
        match (result, again) {
            (Err(error), Some(again)) if !is_opened && was_closed(&error) => {
                tracing::debug!("a connection that was kept was closed; the job is sent once more");
                self.fresh.execute(again).await
            }
            (result, _) => result,
        }
    }
}

/// Whether the connection ended before there was an answer.
fn was_closed(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(hyper) = cause.downcast_ref::<hyper::Error>()
            && (hyper.is_incomplete_message() || hyper.is_closed())
        {
            return true;
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            use io::ErrorKind as K;
            return matches!(
                io.kind(),
                K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof
            );
        }
        source = cause.source();
    }
    false
}

/// Notes that a connection is opened. The client does so within the request's own task.
#[derive(Debug, Clone, Copy)]
struct Noting;

#[derive(Debug, Clone)]
struct Noted<S>(S);

impl<S> Layer<S> for Noting {
    type Service = Noted<S>;

    fn layer(&self, inner: S) -> Noted<S> {
        Noted(inner)
    }
}

impl<S: Service<R>, R> Service<R> for Noted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        // Beside a request only where the client opens one ahead of its need.
        let _ = OPENED.try_with(|opened| opened.set(true));
        self.0.call(request)
    }
}
