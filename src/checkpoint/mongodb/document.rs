//! A record as a document: what `docs/checkpoints.md` shows, in BSON's own types.

use crate::change::position::{ClusterTime, Position, ResumeToken, Seq};
use crate::checkpoint::{Filter, Record};
use crate::error::{Code, Error};
use bson::{Bson, DateTime, Document, RawDocumentBuf, doc};

/// The fields of a checkpoint, but for `_id` and the claim's `epoch`.
pub(super) fn encode(record: &Record) -> Result<Document, Error> {
    let invalid = || Error::new(Code::Internal, "the resume token is not valid BSON");
    let mut fields = doc! {
        "token": Bson::Null,
        "seq": Bson::Null,
        "lastProcessedAt": Bson::Null,
        "updatedAt": DateTime::from_millis(record.updated_at_millis),
        "instance": &record.instance,
        "namespace": &record.namespace,
        "source": &record.source,
        "filter": filter(&record.filter),
    };
    if let Some(position) = &record.position {
        let token = Document::try_from(position.token.as_raw()).map_err(|_| invalid())?;
        fields.insert("token", token);
        fields.insert("seq", as_i64(position.seq.0));
        if let Some(millis) = position.time_millis {
            fields.insert("lastProcessedAt", DateTime::from_millis(millis));
        }
        if let Some(time) = position.cluster_time {
            fields.insert("clusterTime", timestamp(time));
        }
    }
    Ok(fields)
}

/// `None` when a field that must be there is missing or of another type.
pub(super) fn decode(document: &Document) -> Option<Record> {
    let text = |name: &str| document.get_str(name).map(str::to_owned).ok();
    // Only what a stream cannot go on without has to be there: people write such documents too.
    let optional = |name: &str| text(name).unwrap_or_default();
    let position = match document.get("token") {
        None | Some(Bson::Null) => None,
        Some(token) => {
            let token = RawDocumentBuf::try_from(token.as_document()?).ok()?;
            let seq = whole_number(document.get("seq")?)?;
            Some(Position {
                token: ResumeToken::from_bytes(token.as_bytes())?,
                seq: Seq(seq),
                time_millis: document
                    .get_datetime("lastProcessedAt")
                    .ok()
                    .map(|time| time.timestamp_millis()),
                cluster_time: document
                    .get_timestamp("clusterTime")
                    .ok()
                    .map(|time| ClusterTime::new(time.time, time.increment)),
            })
        }
    };
    let filter = document.get_document("filter").ok();
    let filter_text = |name: &str| {
        filter
            .and_then(|filter| filter.get_str(name).ok())
            .unwrap_or_default()
            .to_owned()
    };
    Some(Record {
        stream: text("_id")?,
        namespace: optional("namespace"),
        source: optional("source"),
        filter: Filter {
            fingerprint: filter_text("fingerprint"),
            summary: filter_text("summary"),
        },
        instance: optional("instance"),
        epoch: document.get("epoch").map_or(Some(0), whole_number)?,
        position,
        updated_at_millis: document
            .get_datetime("updatedAt")
            .map_or(0, |time| time.timestamp_millis()),
    })
}

fn timestamp(time: ClusterTime) -> bson::Timestamp {
    bson::Timestamp {
        time: time.seconds,
        increment: time.increment,
    }
}

/// A number that is whole and not negative, in whichever type a shell or a driver has stored it.
fn whole_number(value: &Bson) -> Option<u64> {
    match value {
        Bson::Int32(number) => u64::try_from(*number).ok(),
        Bson::Int64(number) => u64::try_from(*number).ok(),
        Bson::Double(number) if number.fract() == 0.0 && (0.0..9e15).contains(number) => {
            Some(*number as u64)
        }
        _ => None,
    }
}

pub(super) fn filter(filter: &Filter) -> Document {
    doc! { "fingerprint": &filter.fingerprint, "summary": &filter.summary }
}

pub(super) fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
