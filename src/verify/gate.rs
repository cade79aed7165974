//! Whether the stream has got as far as MongoDB was at a time: what was written before it is then in the topics.

use crate::change::position::{ClusterTime, Position};
use crate::checkpoint::{self, Location};
use crate::error::Error;
use mongodb::Client;
use std::time::{Duration, Instant};

/// Between looks at the checkpoint.
const LOOK: Duration = Duration::from_millis(500);

/// How far the stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    Yes,
    /// Not yet; where its checkpoint is, in milliseconds since the Unix epoch.
    No(Option<i64>),
    /// There is no checkpoint to be seen from here.
    NoCheckpoint,
}

/// The checkpoint of the stream.
#[derive(Debug)]
pub struct Gate<'a> {
    pub location: Location<'a>,
    pub client: &'a Client,
    /// The checkpoint is in the records' own transaction. It can be seen a moment before its records, so that only
    /// the end of the next transaction says that all of them can be.
    pub is_transactional: bool,
}

impl Gate<'_> {
    /// The checkpoint as it is now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn position(&self) -> Result<Option<Position>, Error> {
        let found = checkpoint::read(self.location, Some(self.client)).await?;
        Ok(found.map(|found| found.position))
    }

    /// Waits until the stream is past `time`, no longer than until `end`.
    ///
    /// # Errors
    /// When the checkpoint cannot be read.
    pub async fn wait(&self, time: ClusterTime, end: Instant) -> Result<Passed, Error> {
        let mut first: Option<i64> = None;
        loop {
            let found = checkpoint::read(self.location, Some(self.client)).await?;
            let Some(found) = found else {
                return Ok(Passed::NoCheckpoint);
            };
            if is_past(&found.position, time) {
                match first {
                    _ if !self.is_transactional => return Ok(Passed::Yes),
                    Some(first) if first != found.updated_at_millis => return Ok(Passed::Yes),
                    Some(_) => {}
                    None => first = Some(found.updated_at_millis),
                }
            }
            if Instant::now() >= end {
                return Ok(Passed::No(found.position.time_millis));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Whether all events up to `time` come before the position. Tokens of a real server tell it exactly; otherwise whole
/// seconds are compared.
fn is_past(position: &Position, time: ClusterTime) -> bool {
    match position.token.cluster_time() {
        Some(at) => at > time,
        None => position
            .time_millis
            .is_some_and(|millis| millis >= (i64::from(time.seconds) + 1) * 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::extra::Extra;
    use crate::change::position::{ResumeToken, Seq};

    #[test]
    fn the_stream_is_past_a_time_only_when_nothing_of_it_can_follow() {
        let at = |token: &str, time_millis| Position {
            token: ResumeToken::from_data(token),
            seq: Seq(1),
            time_millis,
            cluster_time: None,
            extra: Extra::default(),
        };
        let time = ClusterTime::new(0x65A1_B2C3, 1);
        let token = |rest: &str| format!("82{rest}2B0229296E04");
        assert!(!is_past(&at(&token("65A1B2C300000001"), None), time));
        assert!(is_past(&at(&token("65A1B2C300000002"), None), time));
        let second = 0x65A1_B2C3_i64 * 1000;
        assert!(!is_past(&at("abc", Some(second + 999)), time));
        assert!(is_past(&at("abc", Some(second + 1000)), time));
        assert!(!is_past(&at("abc", None), time));
    }
}
