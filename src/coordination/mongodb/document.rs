//! Leases and registrations as documents.

use super::lease::{Lease, Peer, Unreadable};
use bson::{Bson, DateTime, Document, doc};
use std::time::{Duration, SystemTime};

/// A document's lease.
///
/// # Errors
/// Where a field that the lease needs is missing or of another type: somebody has changed it.
pub fn lease(document: &Document) -> Result<Lease, Unreadable> {
    let stream = match document.get("_id") {
        Some(Bson::String(stream)) => stream.clone(),
        other => other.map(Bson::to_string).unwrap_or_default(),
    };
    let unreadable = Unreadable {
        stream: stream.clone(),
    };
    let read = || {
        let lock = document.get_document("lockInfo").ok()?;
        Some(Lease {
            stream,
            owner: text(lock, "instanceId")?,
            epoch: number(lock, "epoch")?,
            heartbeats: number(lock, "heartbeats")?,
            timeout: timeout(lock),
            previous: text(document, "previous")?,
            move_to: text(document, "moveTo")?,
            pinned_to: text(document, "pinnedTo")?,
            hand_overs: number(document, "handOvers").unwrap_or(0),
            acquired_at: time(lock, "acquiredAt"),
            last_heartbeat: time(lock, "lastHeartbeat"),
        })
    };
    read().ok_or(unreadable)
}

/// A document's registration; none where it cannot be read: its owner writes it again.
pub fn peer(document: &Document) -> Option<Peer> {
    let streams = document.get_array("streams").ok()?;
    Some(Peer {
        id: document.get_str("_id").ok()?.to_owned(),
        version: document.get_str("version").unwrap_or_default().to_owned(),
        streams: streams
            .iter()
            .filter_map(Bson::as_str)
            .map(str::to_owned)
            .collect(),
        heartbeats: number(document, "heartbeats")?,
        timeout: timeout(document),
        leaving: document.get_bool("leaving").unwrap_or(false),
        since: time(document, "since"),
        last_heartbeat: time(document, "lastHeartbeat"),
    })
}

/// A new document for this lease.
pub fn of_lease(lease: &Lease) -> Document {
    let at = |time: Option<SystemTime>| time.map_or(Bson::Null, |time| DateTime::from(time).into());
    let mut document = doc! {
        "_id": &lease.stream,
        "lockInfo": {
            "instanceId": lease.owner.as_ref(),
            "epoch": long(lease.epoch),
            "heartbeats": long(lease.heartbeats),
            "acquiredAt": at(lease.acquired_at),
            "lastHeartbeat": at(lease.last_heartbeat),
        },
        "handOvers": long(lease.hand_overs),
        "revision": 0_i64,
    };
    for (name, value) in [
        ("previous", &lease.previous),
        ("moveTo", &lease.move_to),
        ("pinnedTo", &lease.pinned_to),
    ] {
        if let Some(value) = value {
            document.insert(name, value);
        }
    }
    document
}

/// A number as BSON has it; none of ours comes near the end.
pub fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of whichever type a person's shell has written.
pub fn number(document: &Document, name: &str) -> Option<u64> {
    let number = match document.get(name)? {
        Bson::Int32(number) => i64::from(*number),
        Bson::Int64(number) => *number,
        #[allow(clippy::cast_possible_truncation)]
        Bson::Double(number) if number.fract() == 0.0 => *number as i64,
        _ => return None,
    };
    u64::try_from(number).ok().filter(|number| *number <= MOST)
}

/// The most that one of our numbers can be. The server refuses to count on from the greatest of all, and with it the
/// heartbeats of all other leases.
const MOST: u64 = 1 << 53;

/// The most that `LEASE_TIMEOUT_MS` may be: what is longer was written by hand, and would be waited for too long.
const LONGEST: Duration = Duration::from_hours(1);

fn timeout(document: &Document) -> Option<Duration> {
    let millis = number(document, "timeoutMs")?;
    Some(Duration::from_millis(millis).min(LONGEST))
}

/// `Some(None)` where the field is missing or null, and none where it is no text.
#[allow(clippy::option_option)]
fn text(document: &Document, name: &str) -> Option<Option<String>> {
    match document.get(name) {
        None | Some(Bson::Null) => Some(None),
        Some(Bson::String(text)) => Some(Some(text.clone())),
        Some(_) => None,
    }
}

/// A time, where there is one.
pub fn time(document: &Document, name: &str) -> Option<SystemTime> {
    document
        .get_datetime(name)
        .ok()
        .map(|time| time.to_system_time())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_survives_being_written_and_read() {
        let written = Lease {
            stream: "tailwater:shop".into(),
            owner: Some("host/1-abc".into()),
            epoch: 7,
            heartbeats: 12,
            previous: Some("host/2-def".into()),
            pinned_to: Some("host/1-abc".into()),
            hand_overs: 3,
            acquired_at: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(5)),
            ..Lease::default()
        };
        assert_eq!(lease(&of_lease(&written)).unwrap(), written);
    }

    #[test]
    fn what_a_shell_writes_is_read_and_what_is_no_lease_is_not() {
        let by_hand = doc! {"_id": "s", "lockInfo": {"instanceId": Bson::Null, "epoch": 4.0, "heartbeats": 1}};
        let read = lease(&by_hand).unwrap();
        assert_eq!((read.owner, read.epoch), (None, 4));
        for broken in [
            doc! {"_id": "s"},
            doc! {"_id": "s", "lockInfo": Bson::Null},
            doc! {"_id": "s", "lockInfo": {"instanceId": 5, "epoch": 4, "heartbeats": 1}},
            doc! {"_id": "s", "lockInfo": {"instanceId": "a", "epoch": "4", "heartbeats": 1}},
            doc! {"_id": "s", "lockInfo": {"instanceId": "a", "epoch": 4}},
            doc! {"_id": "s", "lockInfo": {"epoch": i64::MAX, "heartbeats": 1}},
            doc! {"_id": "s", "lockInfo": {"epoch": 1, "heartbeats": i64::MAX}},
            doc! {"_id": "s", "moveTo": 5, "lockInfo": {"epoch": 4, "heartbeats": 1}},
        ] {
            assert_eq!(lease(&broken).unwrap_err().stream, "s", "{broken}");
        }
    }
}
