//! When something is tried again, and when no more.

use crate::error::{Error, Policy};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::time::Duration;

/// Longest pause between attempts to reconnect.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Longest pause before an overloaded server is asked again.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// When to try again after a failure.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// `RECONNECT_DELAY_MS`, the first pause.
    pub first: Duration,
    /// `RECONNECT_MAX_RETRIES`; 0 retries for ever.
    pub most: usize,
}

impl Retry {
    /// The pauses: doubling, with jitter, up to 30 s.
    pub fn delays(&self) -> Delays {
        let doubling = doubling(self.first, LONGEST_DELAY);
        let usual = match self.most {
            0 => doubling.without_max_times(),
            most => doubling.with_max_times(most),
        };
        Delays {
            usual: usual.build(),
            rests: None,
            counted: 0,
        }
    }
}

fn doubling(first: Duration, longest: Duration) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest)
        .with_factor(2.0)
        .with_jitter()
}

/// The pauses between attempts in a row; made anew after a success.
#[derive(Debug)]
pub struct Delays {
    usual: ExponentialBackoff,
    /// The pauses before an overloaded server is asked again, once it was overloaded.
    rests: Option<ExponentialBackoff>,
    /// Attempts that ended with an error which only so many are allowed of.
    counted: u32,
}

/// Why there is no other attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// Trying again does not help.
    AtOnce,
    /// So many in a row have ended so.
    After(u32),
    /// `RECONNECT_MAX_RETRIES` is used up.
    UsedUp,
}

impl Delays {
    /// The pause before the next attempt, by the policy of the error that ended the last.
    ///
    /// # Errors
    /// [`GivenUp`] when there should be no other.
    pub fn after(&mut self, policy: Policy) -> Result<Duration, GivenUp> {
        match policy {
            Policy::Stop => return Err(GivenUp::AtOnce),
            Policy::RetryUpTo(most) if self.counted >= most => {
                return Err(GivenUp::After(self.counted + 1));
            }
            Policy::RetryUpTo(_) => self.counted += 1,
            Policy::Retry | Policy::RetrySlowly(_) => {}
        }
        let usual = self.usual.next().ok_or(GivenUp::UsedUp)?;
        let Policy::RetrySlowly(first) = policy else {
            return Ok(usual);
        };
        let rests = || doubling(first, LONGEST_REST).without_max_times().build();
        let rest = self.rests.get_or_insert_with(rests).next();
        let rest = rest.unwrap_or(LONGEST_REST).max(first);
        Ok(usual.max(rest.min(LONGEST_REST)))
    }

    /// As [`after`](Self::after), for the error that ended the last attempt.
    ///
    /// # Errors
    /// The error to leave with, when there should be no other.
    pub fn after_error(&mut self, last: &Error) -> Result<Duration, Error> {
        let delay = self.after(last.policy);
        delay.map_err(|given_up| given_up.error(last.clone()))
    }
}

/// The pauses as configured; they end with `RECONNECT_MAX_RETRIES`.
impl Iterator for Delays {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.usual.next()
    }
}

impl GivenUp {
    /// The error to leave with, when `last` ended the last attempt.
    pub fn error(self, last: Error) -> Error {
        let detail = match self {
            Self::AtOnce => return last,
            Self::After(attempts) => {
                format!("{attempts} attempts in a row ended so: {}", last.detail)
            }
            Self::UsedUp => format!(
                "RECONNECT_MAX_RETRIES is used up; the last: {}",
                last.detail
            ),
        };
        Error { detail, ..last }.with_policy(Policy::Stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn retry(most: usize) -> Retry {
        Retry {
            first: Duration::from_millis(10),
            most,
        }
    }

    #[test]
    fn an_overloaded_server_is_given_ever_longer_rests_up_to_a_minute() {
        let mut delays = retry(0).delays();
        let first = Duration::from_secs(5);
        let pauses: Vec<_> = (0..8)
            .map(|_| delays.after(Policy::RetrySlowly(first)).unwrap())
            .collect();
        assert!(pauses[0] >= first && pauses[1] >= first * 2, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_REST));
        assert_eq!(pauses[7], LONGEST_REST);
        // What the server asks for counts, and other failures keep their own pauses.
        let asked = Duration::from_secs(20);
        assert!(retry(0).delays().after(Policy::RetrySlowly(asked)).unwrap() >= asked);
        let usual = retry(0).delays().after(Policy::Retry).unwrap();
        assert!(usual < Duration::from_secs(1), "{usual:?}");
    }

    #[test]
    fn what_is_tried_so_many_times_ends_after_them_and_what_never_heals_at_once() {
        let mut delays = retry(0).delays();
        for _ in 0..3 {
            delays.after(Policy::RetryUpTo(3)).unwrap();
            // A failure of another kind in between is not one of them.
            delays.after(Policy::Retry).unwrap();
        }
        assert_eq!(delays.after(Policy::RetryUpTo(3)), Err(GivenUp::After(4)));
        assert_eq!(delays.after(Policy::Stop), Err(GivenUp::AtOnce));
        let mut delays = retry(1).delays();
        delays.after(Policy::Retry).unwrap();
        let end = delays.after(Policy::Retry).unwrap_err();
        let said = end.error(Error::new(Code::SourceUnavailable, "no answer"));
        assert!(said.detail.contains("RECONNECT_MAX_RETRIES"), "{said}");
        assert_eq!(said.code, Code::SourceUnavailable);
    }
}
