//! Where in the change stream we are: token, cluster time, sequence number.

use super::extra::Extra;
use bson::{RawDocument, RawDocumentBuf};
use std::cmp::Ordering;
use std::fmt;

/// A position of the oplog: seconds and an increment within the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterTime {
    pub seconds: u32,
    pub increment: u32,
}

impl ClusterTime {
    pub fn new(seconds: u32, increment: u32) -> Self {
        Self { seconds, increment }
    }

    /// The first time behind it.
    #[must_use]
    pub fn next(self) -> Self {
        Self::new(self.seconds, self.increment.saturating_add(1))
    }

    /// The time that the `_data` of a real server's token begins with; `None` for tokens of another make.
    ///
    /// A KeyString token is `82`, four bytes of seconds, four of increment, then the rest, in hex
    /// (MongoDB's `resume_token.h` and `key_string.h`).
    pub fn of_token(data: &str) -> Option<Self> {
        if !is_key_string(data) {
            return None;
        }
        let seconds = u32::from_str_radix(data.get(2..10)?, 16).ok()?;
        let increment = u32::from_str_radix(data.get(10..18)?, 16).ok()?;
        Some(Self::new(seconds, increment))
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(self) -> i64 {
        i64::from(self.seconds) * 1000
    }
}

impl From<ClusterTime> for bson::Timestamp {
    fn from(time: ClusterTime) -> Self {
        Self {
            time: time.seconds,
            increment: time.increment,
        }
    }
}

/// A number that grows with each event of one stream (the `tw-seq` header).
///
/// It begins at the microseconds of the stream's first start, so that it also grows over a lost
/// checkpoint, and stays below 2^53 until the year 2255, so that JSON consumers read it exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub u64);

impl Seq {
    /// The number a new incarnation of a stream begins with: never below one already given out,
    /// as long as fewer than a million events a second were.
    pub fn renewed(previous: Option<Seq>) -> Seq {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_micros() as u64);
        Seq(previous.map_or(now, |Seq(previous)| now.max(previous + 1)))
    }

    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A resume token, kept as the whole document the server sent.
#[derive(Clone, PartialEq)]
pub struct ResumeToken(RawDocumentBuf);

impl ResumeToken {
    /// Copies a token document; `None` when the bytes are not one BSON document.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        RawDocumentBuf::from_bytes(bytes.to_vec()).ok().map(Self)
    }

    /// A token from its `_data` string.
    pub fn from_data(data: &str) -> Self {
        let mut document = RawDocumentBuf::new();
        document.append(bson::raw::cstr!("_data"), data);
        Self(document)
    }

    /// That of a position of which only the time is known: a server without post-batch tokens gives none before
    /// its first event.
    pub fn absent() -> Self {
        Self(RawDocumentBuf::new())
    }

    pub fn is_absent(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_raw(&self) -> &RawDocument {
        &self.0
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// `_data` where it is a string, as on every supported server.
    pub fn data(&self) -> Option<&str> {
        self.0.get_str("_data").ok()
    }

    /// [`ClusterTime::of_token`].
    pub fn cluster_time(&self) -> Option<ClusterTime> {
        ClusterTime::of_token(self.data()?)
    }

    /// The order of two tokens in their stream, where their form allows to tell.
    pub fn stream_order(&self, other: &Self) -> Option<Ordering> {
        let (ours, theirs) = (self.data()?, other.data()?);
        if ours == theirs {
            return Some(Ordering::Equal);
        }
        (is_key_string(ours) && is_key_string(theirs)).then(|| ours.cmp(theirs))
    }
}

/// Whether it is what [`ClusterTime::of_token`] describes. Other servers write documents in hex: one of 130 bytes
/// begins with `82000000`, which as a time would be the first minutes of 1970.
fn is_key_string(data: &str) -> bool {
    data.len() >= 18
        && data.starts_with("82")
        && !data[2..].starts_with("000000")
        && data
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
}

impl fmt::Debug for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A token holds the document's key, which belongs into no log: its length and time do.
        let len = self.data().map_or(0, str::len);
        write!(f, "ResumeToken({len} digits, {:?})", self.cluster_time())
    }
}

/// A place in the stream from which it can continue: everything up to it is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Position {
    pub token: ResumeToken,
    /// Number of the last event up to this place.
    pub seq: Seq,
    /// Time of the last event or idle token, where known, in milliseconds since the Unix epoch.
    pub time_millis: Option<i64>,
    /// Cluster time of the last event up to this place, where known.
    pub cluster_time: Option<ClusterTime>,
    /// What is true up to this place beside that.
    pub extra: Extra,
}

impl Position {
    /// From which cluster time on the oplog holds all that follows this place: the token's own, or for a
    /// token that tells none that of the last event.
    pub fn begins_at(&self) -> Option<ClusterTime> {
        self.token.cluster_time().or(self.cluster_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_a_real_server_sort_in_stream_order_and_tell_their_time() {
        let early = ResumeToken::from_data("8265A1B2C3000000012B0229296E04");
        let late = ResumeToken::from_data("8265A1B2C4000000012B0229296E04");
        assert_eq!(early.stream_order(&late), Some(Ordering::Less));
        assert_eq!(early.cluster_time(), Some(ClusterTime::new(0x65A1_B2C3, 1)));
    }

    #[test]
    fn tokens_of_another_make_are_not_compared() {
        let ours = ResumeToken::from_data("8265A1B2C3000000012B0229296E04");
        let other = ResumeToken::from_data("00000000000000000042");
        assert_eq!(ours.stream_order(&other), None);
        assert_eq!(other.stream_order(&other), Some(Ordering::Equal));
        let document = |number: u8| {
            ResumeToken::from_data(&format!("820000001273{number:02X}00000000000000117400"))
        };
        assert_eq!(document(1).stream_order(&document(2)), None);
        assert_eq!(document(1).cluster_time(), None);
    }

    #[test]
    fn a_renewed_sequence_never_falls_back() {
        let far = Seq(u64::MAX / 2);
        assert_eq!(Seq::renewed(Some(far)), far.next());
        assert!(Seq::renewed(None) > Seq(1_600_000_000_000_000));
        assert!(Seq::renewed(None).0 < 1 << 53);
    }

    #[test]
    fn the_document_key_in_a_token_is_not_printed() {
        let token = ResumeToken::from_data("8265A1B2C3000000012B022C0100296E5A1004SECRET");
        assert!(!format!("{token:?}").contains("SECRET"));
    }
}
