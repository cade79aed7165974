//! A panic is a bug. Wherever it happens, what was taken up is delivered and committed as at a stop, and
//! the process exits with [`Code::Internal`].

use crate::error::{Code, Error};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use tokio_util::sync::CancellationToken;

/// Whether a thread of this process has panicked.
#[derive(Debug, Clone, Default)]
pub struct Panics(Arc<AtomicBool>);

impl Panics {
    /// From now on a panic on any thread is told in the log and asks the process to stop.
    pub fn stop_on_any(stop: CancellationToken) -> Self {
        let panics = Self::default();
        let (seen, before) = (panics.clone(), panic::take_hook());
        panic::set_hook(Box::new(move |info| {
            if std::env::var_os("RUST_BACKTRACE").is_some() {
                before(info);
            }
            seen.note(info, &stop);
        }));
        panics
    }

    fn note(&self, info: &PanicHookInfo<'_>, stop: &CancellationToken) {
        let place = info.location().map(ToString::to_string);
        // A message that was put together may hold a piece of a document.
        let message = info.payload().downcast_ref::<&'static str>();
        tracing::error!(
            place,
            thread = std::thread::current().name(),
            message,
            "a bug: stopping; RUST_BACKTRACE=1 shows more"
        );
        self.0.store(true, Ordering::Release);
        stop.cancel();
    }

    /// What became of the process: however well it stopped after a panic, that was no graceful end.
    ///
    /// # Errors
    /// [`Code::Internal`] after a panic, else that of `ended`.
    pub fn outcome<T>(&self, ended: Result<T, Error>) -> Result<T, Error> {
        match self.0.load(Ordering::Acquire) {
            true => Err(bug(
                "a task has panicked; what was delivered before is committed as far as that went",
            )),
            false => ended,
        }
    }
}

/// Runs `future`, named `who`, to its end, or to its panic.
///
/// # Errors
/// [`Code::Internal`] when it panicked. Whatever it worked on is as the panic left it.
pub async fn caught<T>(who: &str, future: impl Future<Output = T>) -> Result<T, Error> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        let polled = AssertUnwindSafe(|| future.as_mut().poll(context));
        match panic::catch_unwind(polled) {
            Ok(polled) => polled.map(Ok),
            Err(_) => Poll::Ready(Err(bug(&format!("{who} has panicked")))),
        }
    })
    .await
}

fn bug(detail: &str) -> Error {
    Error::new(Code::Internal, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn panics_later() -> u8 {
        tokio::task::yield_now().await;
        panic!("on purpose")
    }

    #[tokio::test]
    async fn a_panic_of_a_future_is_an_error_of_its_own_code() {
        assert_eq!(caught("it", async { 7 }).await.unwrap(), 7);
        let error = caught("the pump", panics_later()).await.unwrap_err();
        assert_eq!(error.code, Code::Internal);
        assert_eq!(error.detail, "the pump has panicked");
    }

    #[tokio::test]
    async fn a_panic_on_any_thread_asks_to_stop_and_is_no_graceful_end() {
        const NAME: &str = "panics on purpose";
        let stop = CancellationToken::new();
        let before = panic::take_hook();
        let panics = Panics::stop_on_any(stop.clone());
        let ours = panic::take_hook();
        // Only this test's panic is its own.
        panic::set_hook(Box::new(move |info| {
            match std::thread::current().name() == Some(NAME) {
                true => ours(info),
                false => before(info),
            }
        }));
        panics.outcome(Ok(0)).unwrap();
        let thread = std::thread::Builder::new().name(NAME.to_owned());
        let thread = thread.spawn(|| panic!("on purpose")).unwrap();
        assert!(thread.join().is_err());
        stop.cancelled().await;
        assert_eq!(panics.outcome(Ok(0)).unwrap_err().code, Code::Internal);
        let drained = Err::<u8, _>(Error::new(Code::DrainTimedOut, "late"));
        assert_eq!(panics.outcome(drained).unwrap_err().code, Code::Internal);
    }
}
