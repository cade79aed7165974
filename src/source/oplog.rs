//! How far back the oplog reaches: so long may Tailwater be away.
//!
//! Its oldest entry is the first in natural order, which a server finds without a search. A look at it
//! still has no place on the way to the first event: only a sentence and a metric depend on it.

use crate::change::position::ClusterTime;
use crate::mongo::describe::describe;
use crate::preflight::Finding;
use bson::{Bson, Document, doc};
use mongodb::Client;
use std::time::SystemTime;

const NAME: &str = "mongodb.oplog";

/// So full it drops its oldest entries: a server lets it grow a little over its size before it does.
pub const FULL: f64 = 0.9;

/// Below this a restart that takes a while can lose history.
const WARN_BELOW_SECONDS: u32 = 3600;

/// The oldest entry of the oplog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oldest {
    pub time: ClusterTime,
    /// It is the entry of `rs.initiate()`: nothing was ever dropped.
    begins_the_set: bool,
}

/// The oldest entry; none where there is no oplog (a sharded cluster has one per shard).
///
/// # Errors
/// The driver's, as for a user who may not read the database `local`.
pub async fn oldest(client: &Client) -> mongodb::error::Result<Option<Oldest>> {
    let oplog = client.database("local").collection::<Document>("oplog.rs");
    let first = oplog
        .find_one(doc! {})
        .sort(doc! {"$natural": 1})
        .projection(doc! {"ts": 1, "o.msg": 1})
        .await?;
    Ok(first.as_ref().and_then(Oldest::of))
}

/// Where a stream from the beginning of the oplog starts at the given attempt (from 1 on).
///
/// A full oplog loses its oldest entries all the time, and by the time that a cursor has found its place it
/// may begin later. So each attempt keeps a larger part of the oplog between its beginning and itself: one
/// hundredth at first, twice as much each time, half of it at most.
///
/// # Errors
/// The driver's, as for a user who may not read the database `local`.
pub async fn beginning(
    client: &Client,
    attempt: u32,
) -> mongodb::error::Result<Option<ClusterTime>> {
    let Some(oldest) = oldest(client).await? else {
        return Ok(None);
    };
    let is_whole =
        oldest.begins_the_set || filled(client).await.is_some_and(|filled| filled < FULL);
    if attempt <= 1 && is_whole {
        return Ok(Some(oldest.time));
    }
    let window = now_seconds(client)
        .await
        .saturating_sub(oldest.time.seconds);
    Ok(Some(match margin(window, attempt) {
        0 => oldest.time,
        seconds => ClusterTime::new(oldest.time.seconds.saturating_add(seconds), 1),
    }))
}

/// Seconds of a window of that length to keep at an attempt.
fn margin(window: u32, attempt: u32) -> u32 {
    let attempt = attempt.max(1);
    let hundredths = 1_u32.checked_shl(attempt - 1).unwrap_or(50).min(50);
    let part = u64::from(window) * u64::from(hundredths) / 100;
    u32::try_from(part)
        .unwrap_or(window)
        .max(attempt - 1)
        .min(window)
}

impl Oldest {
    fn of(entry: &Document) -> Option<Self> {
        let time = entry.get_timestamp("ts").ok()?;
        let message = entry.get_document("o").and_then(|o| o.get_str("msg"));
        Some(Self {
            time: ClusterTime::new(time.time, time.increment),
            begins_the_set: message.is_ok_and(|message| message == "initiating set"),
        })
    }
}

/// What `oldest` amounts to, in a sentence.
pub async fn window(client: &Client, oldest: &mongodb::error::Result<Option<Oldest>>) -> Finding {
    match oldest {
        Ok(Some(oldest)) => {
            let filled = filled(client).await;
            let now = now_seconds(client).await;
            let seconds = now.saturating_sub(oldest.time.seconds);
            let reach = match filled {
                _ if oldest.begins_the_set => Reach::Whole,
                Some(filled) if filled < FULL => Reach::Whole,
                None if is_as_old(seconds, uptime(client).await) => Reach::OfTheServer,
                _ => Reach::Part,
            };
            finding(seconds, reach)
        }
        Ok(None) => Finding::ok(NAME, "the oplog is empty or cannot be seen"),
        Err(error) => {
            let sentence = format!(
                "how far back the oplog reaches is unknown: may not read local.oplog.rs ({})",
                describe(error)
            );
            Finding::ok(NAME, sentence)
        }
    }
}

/// The time by the server's clock, which is the one that the entries carry.
pub async fn now_seconds(client: &Client) -> u32 {
    let hello = doc! {"hello": 1};
    let told = match client.database("admin").run_command(hello).await {
        Ok(hello) => hello.get_datetime("localTime").ok().copied(),
        Err(_) => None,
    };
    let now = told.unwrap_or_else(|| SystemTime::now().into());
    u32::try_from(now.timestamp_millis() / 1000).unwrap_or(u32::MAX)
}

/// How full it is, as a part of its size; none where the server does not say. Before it is full nothing
/// is dropped.
pub async fn filled(client: &Client) -> Option<f64> {
    let stats = client
        .database("local")
        .run_command(doc! {"collStats": "oplog.rs"})
        .await;
    let number = |stats: &Document, name: &str| match stats.get(name)? {
        Bson::Int32(number) => Some(f64::from(*number)),
        Bson::Int64(number) => Some(*number as f64),
        Bson::Double(number) => Some(*number),
        _ => None,
    };
    let stats = stats.ok()?;
    let (size, most) = number(&stats, "size").zip(number(&stats, "maxSize"))?;
    (size > 0.0 && most > 0.0).then_some(size / most)
}

/// How long the server has been running, in seconds; none where it does not say.
async fn uptime(client: &Client) -> Option<u32> {
    let admin = client.database("admin");
    let hello = admin.run_command(doc! {"hello": 1}).await.ok()?;
    // An id that is made when the process starts.
    let process = hello.get_document("topologyVersion").ok()?;
    let started = process.get_object_id("processId").ok()?.timestamp();
    let now = hello.get_datetime("localTime").ok()?.timestamp_millis();
    u32::try_from((now - started.timestamp_millis()) / 1000).ok()
}

/// Whether an oplog that reaches back so far begins with the server: one that has dropped something is younger.
fn is_as_old(seconds: u32, uptime: Option<u32>) -> bool {
    /// From the start of a server to its first entries.
    const START: u32 = 60;
    uptime.is_some_and(|uptime| uptime <= seconds.saturating_add(START))
}

/// What is known of the entries before the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// There were none.
    Whole,
    /// The server does not say, but it has not been running for longer.
    OfTheServer,
    /// They were dropped, or may have been.
    Part,
}

fn finding(seconds: u32, reaches: Reach) -> Finding {
    let reach = match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        _ => format!("{:.1} hours", f64::from(seconds) / 3600.0),
    };
    let sentence = match reaches {
        Reach::Whole => format!("the oplog reaches back to its beginning, {reach} ago"),
        Reach::OfTheServer => {
            format!("the oplog reaches back {reach}, as long as the server has been running")
        }
        Reach::Part => format!("the oplog reaches back {reach}"),
    };
    if reaches != Reach::Part {
        return Finding::ok(NAME, sentence);
    }
    if seconds >= WARN_BELOW_SECONDS {
        return Finding::ok(NAME, sentence);
    }
    Finding::warn(
        NAME,
        format!("{sentence}: away for longer, Tailwater loses its place"),
    )
    .remedy(
        "give it more room: \
         db.adminCommand({replSetResizeOplog: 1, size: <MB>, minRetentionHours: 24})",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::Severity;

    #[test]
    fn a_short_window_is_warned_of_unless_the_set_is_only_that_old() {
        assert_eq!(finding(600, Reach::Part).severity, Severity::Warn);
        assert_eq!(finding(600, Reach::Whole).severity, Severity::Ok);
        let young = finding(600, Reach::OfTheServer);
        assert_eq!(young.severity, Severity::Ok);
        assert!(
            young
                .sentence
                .ends_with("10 minutes, as long as the server has been running")
        );
        assert!(is_as_old(600, Some(630)) && is_as_old(600, Some(60)));
        assert!(!is_as_old(600, Some(700)) && !is_as_old(600, None));
        assert_eq!(
            finding(90_000, Reach::Part).sentence,
            "the oplog reaches back 25.0 hours"
        );
    }

    #[test]
    fn each_attempt_keeps_more_of_the_oplog_before_it() {
        let margins = |window| [1, 2, 3, 6, 7, 40].map(|attempt| margin(window, attempt));
        assert_eq!(margins(100_000), [1000, 2000, 4000, 32_000, 50_000, 50_000]);
        assert_eq!(margins(10), [0, 1, 2, 5, 6, 10]);
        assert_eq!(margins(0), [0; 6]);
    }

    #[test]
    fn the_entry_of_the_initiation_is_known() {
        let oldest = |entry: Document| {
            let mut entry = entry;
            entry.insert(
                "ts",
                bson::Timestamp {
                    time: 7,
                    increment: 1,
                },
            );
            Oldest::of(&entry).unwrap()
        };
        assert!(oldest(doc! {"op": "n", "o": {"msg": "initiating set"}}).begins_the_set);
        assert!(!oldest(doc! {"op": "n", "o": {"msg": "periodic noop"}}).begins_the_set);
        let inserted = oldest(doc! {"op": "i"});
        assert!(!inserted.begins_the_set);
        assert_eq!(inserted.time, ClusterTime::new(7, 1));
        assert_eq!(Oldest::of(&doc! {}), None);
    }
}
