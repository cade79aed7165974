//! Threads of its own for what serves clients: ten thousand clients are told of a change at once, and the next event of a
//! stream shall not wait behind them.

use crate::error::{Code, Error};
use tokio::runtime::{Builder, Handle, Runtime};

/// Ended with this, without waiting for what still runs on them.
#[derive(Debug)]
pub struct Threads(Option<Runtime>);

impl Threads {
    /// # Errors
    /// [`Code::Exhausted`] when the system gives none.
    pub fn start() -> Result<Self, Error> {
        let built = Builder::new_multi_thread()
            .enable_all()
            .thread_name("live")
            .build();
        let runtime = built.map_err(|error| {
            Error::new(Code::Exhausted, "no threads for live changes").because(error)
        })?;
        Ok(Self(Some(runtime)))
    }

    pub fn handle(&self) -> Handle {
        // It is there until it is dropped.
        self.0
            .as_ref()
            .map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
