//! When a connection ends by itself.

use super::part;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// When a connection ends. Its timer is kept from one event to the next, of which there may be a thousand a second.
#[derive(Debug)]
pub struct Ending {
    lifetime: Instant,
    /// With its token.
    expires: Option<Instant>,
    /// Where this instance stops.
    stopping: Option<Instant>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Over how long clients are told to leave at a stop.
    spread: Duration,
    timer: Pin<Box<Sleep>>,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Lifetime,
    Expired,
    Stopping,
}

impl End {
    pub fn reason(self) -> &'static str {
        match self {
            Self::Lifetime => "it was open for LIVE_CLOSE_AFTER_SECONDS; connect again to go on",
            Self::Expired => "the token has expired",
            Self::Stopping => "this instance is stopping; connect again to go on",
        }
    }
}

impl Ending {
    /// After about `close_after`, not all at once, or at a stop.
    pub fn new(close_after: Duration, spread: Duration, stop: CancellationToken) -> Self {
        let jitter = close_after / 10;
        let lifetime = Instant::now() + close_after - jitter / 2 + part(jitter);
        Self {
            lifetime,
            expires: None,
            stopping: None,
            stop: Box::pin(stop.cancelled_owned()),
            spread,
            timer: Box::pin(sleep_until(lifetime)),
        }
    }

    /// Takes the time at which a token expires, in seconds since 1970.
    pub fn renew(&mut self, expires: Option<i64>) {
        let left = expires.map(|at| at.saturating_sub(jiff::Timestamp::now().as_second()));
        // No time is farther than the end of the connection.
        let left = left.map(|left| u64::try_from(left).unwrap_or(0).min(u64::from(u32::MAX)));
        self.expires = left.map(|left| Instant::now() + Duration::from_secs(left));
    }

    /// Waits for it. May be dropped before it comes.
    pub async fn comes(&mut self) -> End {
        loop {
            let all = [
                Some((self.lifetime, End::Lifetime)),
                self.expires.map(|at| (at, End::Expired)),
                self.stopping.map(|at| (at, End::Stopping)),
            ];
            let first = all.into_iter().flatten().min_by_key(|(at, _)| *at);
            let (at, end) = first.unwrap_or((self.lifetime, End::Lifetime));
            if self.timer.deadline() != at {
                self.timer.as_mut().reset(at);
            }
            tokio::select! {
                () = &mut self.timer => return end,
                () = &mut self.stop, if self.stopping.is_none() => {
                    self.stopping = Some(Instant::now() + part(self.spread));
                }
            }
        }
    }
}
