//! A record as a document: what `docs/checkpoints.md` shows, in BSON's own types.
//!
//! Releases that know form 1 alone look at no version: what they find in `token` is null, a document, or an
//! error. So form 2 keeps its token elsewhere, and has in its place a sentence for those who read the document.

use crate::change::extra::Extra;
use crate::change::position::{ClusterTime, Position, ResumeToken, Seq};
use crate::checkpoint::form::Form;
use crate::checkpoint::{Filter, Record};
use crate::error::{Code, Error};
use bson::{Bson, DateTime, Document, RawDocumentBuf, doc};

/// What an older release takes for damage, and a person reads.
const ELSEWHERE: &str =
    "see resumeToken: this checkpoint has form 2, for a newer release of Tailwater";

/// The fields of form 2 alone.
const OF_SECOND: [&str; 3] = ["version", "resumeToken", "extra"];

/// The update that makes a document of the claim hold `fields`, and nothing of another form. What is extra may be
/// large, and is left as it is where it `is_stored` already.
pub(super) fn update(mut fields: Document, is_stored: bool) -> Document {
    let absent = OF_SECOND.iter().filter(|name| !fields.contains_key(**name));
    let absent: Document = absent.map(|name| ((*name).to_owned(), "".into())).collect();
    if is_stored {
        fields.remove("extra");
    }
    let mut update = doc! { "$set": fields };
    if !absent.is_empty() {
        update.insert("$unset", absent);
    }
    update
}

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
        match position.extra.to_document() {
            None => fields.insert("token", token),
            Some(parts) => {
                fields.insert("version", Form::of(record).version());
                fields.insert("resumeToken", token);
                fields.insert("extra", parts);
                fields.insert("token", ELSEWHERE)
            }
        };
        fields.insert("seq", as_i64(position.seq.0));
        if let Some(millis) = position.time_millis {
            fields.insert("lastProcessedAt", DateTime::from_millis(millis));
        }
        if let Some(time) = position.cluster_time {
            fields.insert("clusterTime", bson::Timestamp::from(time));
        }
    }
    Ok(fields)
}

/// The version that the document tells; those of form 1 tell none.
pub(super) fn version(document: &Document) -> Option<u64> {
    document.get("version").map_or(Some(1), whole_number)
}

/// `None` when a field that must be there is missing or of another type.
pub(super) fn decode(document: &Document, form: Form) -> Option<Record> {
    let text = |name: &str| document.get_str(name).map(str::to_owned).ok();
    // Only what a stream cannot continue without has to be there: people write such documents too.
    let optional = |name: &str| text(name).unwrap_or_default();
    let token = match (form, document.get("token")) {
        (_, None | Some(Bson::Null)) => None,
        (Form::First, token) => token,
        (Form::Second, Some(_)) => Some(document.get("resumeToken")?),
    };
    let position = match token {
        None => None,
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
                extra: match (form, document.get("extra")) {
                    (Form::First, _) | (Form::Second, None) => Extra::default(),
                    (Form::Second, Some(parts)) => parts.as_document()?.clone().into(),
                },
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
