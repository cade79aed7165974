//! Refused calls in the log: the first at once, those that follow as a number, once a minute.

use super::Refusal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Between two lines about calls that are refused for the same reason.
const QUIET: Duration = Duration::from_secs(60);

/// What is shown of a path, which whoever calls has made up.
const SHOWN: usize = 64;

/// For each kind of refusal, how many are not told of yet; `None` where the next one is told of at once.
#[derive(Debug, Default)]
pub(super) struct Tally([Mutex<Option<u64>>; Refusal::ALL.len()]);

impl Tally {
    /// Takes note of a refused call. To be called within a runtime.
    pub(super) fn add(self: &Arc<Self>, refusal: Refusal, path: &str) {
        let is_first = self.with(refusal, |untold| match untold {
            Some(untold) => {
                *untold += 1;
                false
            }
            None => {
                *untold = Some(0);
                true
            }
        });
        if is_first {
            // A path is ASCII.
            let path = &path[..path.len().min(SHOWN)];
            tracing::warn!(path, "refused a call: {}", refusal.why());
            tokio::spawn(Arc::clone(self).tell(refusal));
        }
    }

    /// Tells once a minute, until there is nothing to tell.
    async fn tell(self: Arc<Self>, refusal: Refusal) {
        loop {
            tokio::time::sleep(QUIET).await;
            let untold = self.with(refusal, |untold| {
                let count = untold.unwrap_or(0);
                *untold = (count > 0).then_some(0);
                count
            });
            if untold == 0 {
                return;
            }
            say(refusal, untold);
        }
    }

    /// Tells at once of all that was only counted.
    pub(super) fn say_the_rest(&self) {
        for refusal in Refusal::ALL {
            let untold = self.with(refusal, |untold| untold.as_mut().map(std::mem::take));
            if let Some(untold @ 1..) = untold {
                say(refusal, untold);
            }
        }
    }

    fn with<T>(&self, refusal: Refusal, look: impl FnOnce(&mut Option<u64>) -> T) -> T {
        let untold = &self.0[refusal as usize];
        look(&mut untold.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn say(refusal: Refusal, calls: u64) {
    tracing::warn!(calls, "refused more calls: {}", refusal.why());
}
