//! Tasks and blocking work that keep the span of whoever starts them, so that each line of the log says which
//! stream it is about.

use crate::error::{Code, Error};
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

/// Runs `future` as a task of its own.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future.in_current_span())
}

/// Runs `work` where it may block; `what` it is about is said if it does not come to its end.
///
/// # Errors
/// [`Code::Internal`] when it panicked.
pub async fn blocking<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let span = Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.map_err(|error| {
        Error::new(Code::Internal, format!("work on {what} was abandoned")).because(error)
    })
}
