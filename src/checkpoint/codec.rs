//! The stored form of a [`Record`]: one JSON object, versioned, readable by people.
//!
//! `docs/checkpoints.md` explains each field. Unknown fields are ignored, so that a newer version may
//! add some; a change that an older one would misread raises the version. Each record is written in the
//! [oldest form](Form::of) that holds it: whoever uses nothing of a newer form can go back to an older release.

use super::form::Form;
use super::{Filter, Record};
use crate::change::extended_json::Extended;
use crate::change::extra::Extra;
use crate::change::position::{ClusterTime, Position, ResumeToken, Seq};
use crate::error::{Code, Error};
use bson::{Bson, Document, RawDocumentBuf};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    version: u32,
    stream: String,
    namespace: String,
    source: String,
    filter: StoredFilter,
    instance: String,
    epoch: u64,
    /// The token document as Extended JSON; null in a claim without a checkpoint.
    token: Option<serde_json::Value>,
    seq: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_processed_at: Option<Timestamp>,
    /// Seconds and increment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster_time: Option<(u32, u32)>,
    updated_at: Timestamp,
    /// How many partitions the checkpoint topic had; only in Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partitions: Option<i32>,
    /// From form 2 on: each part by its name, as Extended JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    extra: Option<Parts>,
}

/// What is beside the token and the number, as Extended JSON.
struct Parts(Bson);

impl Serialize for Parts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Extended::canonical(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Parts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // At once, and not through a value of JSON, which sorts the fields.
        Bson::deserialize(deserializer).map(Self)
    }
}

#[derive(Serialize, Deserialize)]
struct StoredFilter {
    fingerprint: String,
    summary: String,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// Encodes a record; `partitions` is the checkpoint topic's count where it goes to Kafka.
///
/// # Errors
/// [`Code::Internal`] for a token that is no valid BSON.
pub(super) fn encode(record: &Record, partitions: Option<i32>) -> Result<Vec<u8>, Error> {
    let failed = |error: &dyn std::fmt::Display| {
        Error::new(
            Code::Internal,
            format!("the checkpoint cannot be encoded: {error}"),
        )
    };
    let extra = record
        .position
        .as_ref()
        .and_then(|position| position.extra.to_document())
        .map(|parts| Parts(parts.into()));
    let token = record
        .position
        .as_ref()
        .map(|position| Document::try_from(position.token.as_raw()))
        .transpose()
        .map(|token| token.map(|token| Bson::Document(token).into_canonical_extjson()))
        .map_err(|error| failed(&error))?;
    let stored = Stored {
        version: Form::of(record).version(),
        stream: record.stream.clone(),
        namespace: record.namespace.clone(),
        source: record.source.clone(),
        filter: StoredFilter {
            fingerprint: record.filter.fingerprint.clone(),
            summary: record.filter.summary.clone(),
        },
        instance: record.instance.clone(),
        epoch: record.epoch,
        token,
        seq: record.position.as_ref().map(|position| position.seq.0),
        last_processed_at: record
            .position
            .as_ref()
            .and_then(|position| Timestamp::from_millisecond(position.time_millis?).ok()),
        cluster_time: record
            .position
            .as_ref()
            .and_then(|position| position.cluster_time)
            .map(|time| (time.seconds, time.increment)),
        updated_at: Timestamp::from_millisecond(record.updated_at_millis).unwrap_or_default(),
        partitions,
        extra,
    };
    serde_json::to_vec(&stored).map_err(|error| failed(&error))
}

/// Decodes a record. `place` says where it was found, for the sentence.
///
/// # Errors
/// [`Code::CheckpointFailed`] for anything but a whole record of a version this code knows.
pub(super) fn decode(bytes: &[u8], place: &str) -> Result<Record, Error> {
    // Only the place of the damage is told: a token holds a document's key.
    let damaged = |what: String| {
        Error::new(
            Code::CheckpointFailed,
            format!(
                "the checkpoint in {place} cannot be read: {what}; \
                 restore it, or remove it to make this a first start"
            ),
        )
    };
    let at = |error: serde_json::Error| {
        let what = match error.classify() {
            serde_json::error::Category::Eof => "it ends too early",
            serde_json::error::Category::Data => "a field is missing or of another type",
            _ => "it is not JSON",
        };
        damaged(format!(
            "{what} (line {}, column {})",
            error.line(),
            error.column()
        ))
    };
    let Versioned { version } = serde_json::from_slice(bytes).map_err(at)?;
    let form = Form::from_version(version.into(), &format!("the checkpoint in {place}"))?;
    let stored: Stored = serde_json::from_slice(bytes).map_err(at)?;
    let position = match (stored.token, stored.seq) {
        (None, _) => None,
        (Some(_), None) => return Err(damaged("it has a token but no seq".into())),
        (Some(token), Some(seq)) => Some(Position {
            token: token_of(token).ok_or_else(|| damaged("its token is no document".into()))?,
            seq: Seq(seq),
            time_millis: stored.last_processed_at.map(Timestamp::as_millisecond),
            cluster_time: stored
                .cluster_time
                .map(|(seconds, increment)| ClusterTime::new(seconds, increment)),
            extra: match (form, stored.extra) {
                (Form::First, _) | (Form::Second, None) => Extra::default(),
                (Form::Second, Some(Parts(Bson::Document(parts)))) => parts.into(),
                (Form::Second, Some(_)) => {
                    return Err(damaged("its extra part is no document".into()));
                }
            },
        }),
    };
    Ok(Record {
        stream: stored.stream,
        namespace: stored.namespace,
        source: stored.source,
        filter: Filter {
            fingerprint: stored.filter.fingerprint,
            summary: stored.filter.summary,
        },
        instance: stored.instance,
        epoch: stored.epoch,
        position,
        updated_at_millis: stored.updated_at.as_millisecond(),
    })
}

fn token_of(value: serde_json::Value) -> Option<ResumeToken> {
    let raw = RawDocumentBuf::try_from(&document_of(value)?).ok()?;
    ResumeToken::from_bytes(raw.as_bytes())
}

fn document_of(value: serde_json::Value) -> Option<Document> {
    match Bson::try_from(value) {
        Ok(Bson::Document(document)) => Some(document),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Binary, doc, spec::BinarySubtype};

    fn record() -> Record {
        let token = doc! {
            "_data": "8265A1B2C3000000012B0229296E04",
            "_typeBits": Binary { subtype: BinarySubtype::Generic, bytes: vec![0x82, 0, 1] },
        };
        Record {
            stream: "watcher:shop".into(),
            namespace: "shop".into(),
            source: "rs0/65f0".into(),
            filter: Filter {
                fingerprint: "1f".into(),
                summary: "users, \"odd\" ones".into(),
            },
            instance: "host-1".into(),
            epoch: 7,
            position: Some(Position {
                token: token_of(Bson::from(token).into_canonical_extjson()).unwrap(),
                seq: Seq(1_704_110_400_000_001),
                time_millis: Some(1_704_110_400_123),
                cluster_time: Some(ClusterTime::new(1_704_110_400, 1)),
                extra: Extra::default(),
            }),
            updated_at_millis: 1_704_110_401_456,
        }
    }

    #[test]
    fn a_record_comes_back_as_it_went_in() {
        let bytes = encode(&record(), Some(16)).unwrap();
        assert_eq!(decode(&bytes, "here").unwrap(), record());
        let claim = Record {
            position: None,
            ..record()
        };
        let bytes = encode(&claim, None).unwrap();
        assert_eq!(decode(&bytes, "here").unwrap(), claim);
    }

    #[test]
    fn the_stored_form_is_the_documented_one() {
        let text = String::from_utf8(encode(&record(), Some(16)).unwrap()).unwrap();
        assert_eq!(
            text,
            r#"{"version":1,"stream":"watcher:shop","namespace":"shop","source":"rs0/65f0","#
                .to_owned()
                + r#""filter":{"fingerprint":"1f","summary":"users, \"odd\" ones"},"instance":"host-1","epoch":7,"#
                + r#""token":{"_data":"8265A1B2C3000000012B0229296E04","#
                + r#""_typeBits":{"$binary":{"base64":"ggAB","subType":"00"}}},"seq":1704110400000001,"#
                + r#""lastProcessedAt":"2024-01-01T12:00:00.123Z","clusterTime":[1704110400,1],"updatedAt":"2024-01-01T12:00:01.456Z","partitions":16}"#
        );
    }

    #[test]
    fn unknown_fields_are_ignored_and_a_newer_version_is_refused() {
        let text = String::from_utf8(encode(&record(), None).unwrap()).unwrap();
        let more = text.replacen('{', r#"{"colour":"blue","#, 1);
        assert_eq!(decode(more.as_bytes(), "here").unwrap(), record());
        let newer = text.replacen("\"version\":1", "\"version\":3", 1);
        let error = decode(newer.as_bytes(), "here").unwrap_err();
        assert!(error.detail.contains("form 3"), "{error}");
    }

    #[test]
    fn what_is_beside_the_position_makes_form_2_and_comes_back() {
        let mut with_parts = record();
        let position = with_parts.position.as_mut().unwrap();
        position.extra = Extra::from(doc! {
            "listeners": { "version": 7_i64 },
            "of a later release": [1_i32, 2.5, { "deep": Bson::Null }],
            "in its order": { "z": 1_i32, "a": f64::NAN, "m": { "y": 1_i64 } },
        });
        let text = String::from_utf8(encode(&with_parts, None).unwrap()).unwrap();
        assert!(text.starts_with(r#"{"version":2,"#), "{text}");
        let again = decode(text.as_bytes(), "here").unwrap();
        let bytes = |record: &Record| {
            let extra = &record.position.as_ref().unwrap().extra;
            extra.to_document().unwrap().to_vec().unwrap()
        };
        assert_eq!(bytes(&again), bytes(&with_parts));
        // Byte for byte: nothing that is not known is written otherwise.
        assert_eq!(encode(&again, None).unwrap(), text.as_bytes());

        let without = Record {
            position: record().position,
            ..again
        };
        let text = String::from_utf8(encode(&without, None).unwrap()).unwrap();
        assert!(text.starts_with(r#"{"version":1,"#), "{text}");
    }

    #[test]
    fn parts_that_are_no_document_are_damage() {
        let text = String::from_utf8(encode(&record(), None).unwrap()).unwrap();
        let broken = text.replacen("\"version\":1", "\"version\":2,\"extra\":[1]", 1);
        assert!(
            decode(broken.as_bytes(), "here")
                .unwrap_err()
                .detail
                .contains("extra")
        );
    }

    #[test]
    fn every_truncation_is_an_error_that_does_not_show_the_token() {
        let bytes = encode(&record(), None).unwrap();
        for end in 0..bytes.len() {
            let error = decode(&bytes[..end], "the file").unwrap_err();
            assert_eq!(error.code, Code::CheckpointFailed);
            assert!(!format!("{error:?}").contains("8265"), "{error:?}");
        }
    }
}
