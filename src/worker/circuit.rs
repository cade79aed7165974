//! What is done about a handler that only fails: after so many failures in a row, one job at a time is tried, with
//! longer and longer pauses, and the others wait.

use std::time::Duration;
use tokio::time::Instant;

/// So many failures in a row open it.
const MOST: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// That of one handler.
#[derive(Debug, Default)]
pub struct Circuit {
    in_a_row: u32,
    /// How long the next pause is, where it is open.
    pause: Option<Duration>,
}

/// What follows from the end of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing changes.
    Stays,
    /// Nothing begins before this; then one at a time.
    OpensUntil(Instant),
    /// All may begin again.
    Closes,
}

impl Circuit {
    /// An attempt has ended; whether the service did its work, or refused this job alone.
    pub fn ended(&mut self, is_well: bool, now: Instant) -> Turn {
        if is_well {
            self.in_a_row = 0;
            return match self.pause.take() {
                Some(_) => Turn::Closes,
                None => Turn::Stays,
            };
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row < MOST {
            return Turn::Stays;
        }
        let pause = self.pause.unwrap_or(FIRST_PAUSE);
        self.pause = Some((pause * 2).min(LONGEST_PAUSE));
        Turn::OpensUntil(now + pause)
    }

    pub fn is_open(&self) -> bool {
        self.pause.is_some()
    }

    pub fn in_a_row(&self) -> u32 {
        self.in_a_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_opens_after_failures_in_a_row_and_closes_with_the_first_success() {
        let (mut circuit, now) = (Circuit::default(), Instant::now());
        for _ in 0..3 {
            for _ in 1..MOST {
                assert_eq!(circuit.ended(false, now), Turn::Stays);
            }
            // One that works in between.
            assert_eq!(circuit.ended(true, now), Turn::Stays);
        }
        for _ in 1..MOST {
            circuit.ended(false, now);
        }
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let Turn::OpensUntil(until) = circuit.ended(false, now) else {
                panic!()
            };
            pauses.push((until - now).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert!(circuit.is_open());
        assert_eq!(circuit.ended(true, now), Turn::Closes);
        assert_eq!(circuit.ended(false, now), Turn::Stays);
    }
}
