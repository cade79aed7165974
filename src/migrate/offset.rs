//! Where a connector stands, in its own words and in ours.

use super::Incumbent;
use crate::change::position::{ClusterTime, ResumeToken};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bson::{Bson, Document};
use serde_json::{Map, Value, json};

/// Where a stream goes on.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// Behind the event of this token.
    After(ResumeToken),
    /// At the first event of this time: the connector has no token.
    At(ClusterTime),
}

impl Place {
    /// Reads the value of an offset.
    ///
    /// # Errors
    /// Why nobody can go on from it, without the token.
    pub fn of_offset(incumbent: Incumbent, offset: &Value) -> Result<Self, String> {
        match incumbent {
            Incumbent::Debezium => of_debezium(offset),
            Incumbent::MongoKafka => of_mongo_kafka(offset),
        }
    }

    /// A token as a person gives it: its `_data`, the whole document, or Debezium's form of it.
    pub fn typed(text: &str) -> Option<Self> {
        token(text.trim()).map(Self::After)
    }

    /// The value of the connector's offset.
    ///
    /// # Errors
    /// Where the connector has no word for it.
    pub fn to_offset(&self, incumbent: Incumbent) -> Result<Value, String> {
        match (incumbent, self) {
            (Incumbent::Debezium, Self::After(token)) => {
                let time = token.cluster_time().unwrap_or(ClusterTime::new(1, 1));
                Ok(json!({
                    "sec": time.seconds,
                    "ord": time.increment,
                    "resume_token": STANDARD.encode(token.as_bytes()),
                }))
            }
            (Incumbent::Debezium, Self::At(time)) => {
                Ok(json!({ "sec": time.seconds, "ord": time.increment }))
            }
            (Incumbent::MongoKafka, Self::After(token)) => {
                let document = Document::try_from(token.as_raw());
                let document = document.map_err(|_| "the stored token is no document")?;
                let text =
                    crate::change::extended_json::Extended::relaxed(&Bson::Document(document))
                        .line();
                Ok(json!({ "_id": text }))
            }
            (Incumbent::MongoKafka, Self::At(time)) => Err(format!(
                "the stream has no resume token yet, and an offset of this connector is one; give it \
                 startup.mode=timestamp with startup.mode.timestamp.start.at.operation.time={}",
                time.seconds
            )),
        }
    }
}

fn of_debezium(offset: &Value) -> Result<Place, String> {
    let fields = offset.as_object().ok_or("the offset is no object")?;
    let is_true = |name: &str| matches!(fields.get(name), Some(Value::Bool(true)));
    let snapshot = fields.get("snapshot").filter(|value| !value.is_null());
    let in_snapshot = snapshot.is_some_and(|value| {
        !matches!(value.as_str(), Some("false" | "LAST")) && value != &Value::Bool(false)
    });
    if is_true("initsync") || in_snapshot {
        return Err("the connector stopped within its initial snapshot, and would begin it again; let it finish, or begin with SNAPSHOT=initial and --configuration-only".into());
    }
    if fields
        .keys()
        .any(|name| name.starts_with("incremental_snapshot_"))
    {
        return Err("the connector stopped within an incremental snapshot; let it finish, or stop it by a signal".into());
    }
    if let Some(text) = fields.get("resume_token").and_then(Value::as_str) {
        return token(text)
            .map(Place::After)
            .ok_or_else(|| "its resume_token is none".to_owned());
    }
    match (number(fields, "sec"), number(fields, "ord")) {
        (Some(seconds), Some(increment)) if seconds > 1 => {
            Ok(Place::At(ClusterTime::new(seconds, increment)))
        }
        _ => Err("it has neither a resume_token nor sec and ord".into()),
    }
}

fn number(fields: &Map<String, Value>, name: &str) -> Option<u32> {
    u32::try_from(fields.get(name)?.as_u64()?).ok()
}

fn of_mongo_kafka(offset: &Value) -> Result<Place, String> {
    if offset.get("copy").is_some() {
        return Err("the connector stopped while it copied existing documents, and would begin that again; let it finish, or begin with SNAPSHOT=initial and --configuration-only".into());
    }
    let text = offset.get("_id").and_then(Value::as_str);
    text.and_then(token)
        .map(Place::After)
        .ok_or_else(|| "its _id is no resume token".to_owned())
}

/// A token in any of the forms that the connectors have.
fn token(text: &str) -> Option<ResumeToken> {
    if text.starts_with('{') {
        // At once, and not through a value of JSON, which sorts the fields.
        let document: Bson = serde_json::from_str(text).ok()?;
        let raw = bson::RawDocumentBuf::try_from(document.as_document()?).ok()?;
        return ResumeToken::from_bytes(raw.as_bytes()).filter(|it| it.data().is_some());
    }
    let decoded = STANDARD.decode(text).ok();
    // Digits alone are base64, too, but of no document.
    if let Some(token) = decoded.and_then(|bytes| ResumeToken::from_bytes(&bytes)) {
        return token.data().is_some().then_some(token);
    }
    let is_hex = text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| ResumeToken::from_data(text))
}

#[cfg(test)]
mod tests {
    use super::{Incumbent, Place};
    use crate::change::position::{ClusterTime, ResumeToken};
    use serde_json::json;

    const DATA: &str = "8265A1B2C3000000012B0229296E04";

    #[test]
    fn a_place_goes_to_each_connector_and_comes_back() {
        let place = Place::After(ResumeToken::from_data(DATA));
        for incumbent in [Incumbent::Debezium, Incumbent::MongoKafka] {
            let offset = place.to_offset(incumbent).unwrap();
            assert_eq!(Place::of_offset(incumbent, &offset).unwrap(), place);
        }
        let offset = place.to_offset(Incumbent::Debezium).unwrap();
        assert_eq!(
            (offset["sec"].as_u64(), offset["ord"].as_u64()),
            (Some(0x65A1_B2C3), Some(1))
        );
        let offset = place.to_offset(Incumbent::MongoKafka).unwrap();
        assert_eq!(offset["_id"], json!(format!("{{\"_data\":\"{DATA}\"}}")));
    }

    #[test]
    fn tokens_are_read_in_every_form() {
        let place = Some(Place::After(ResumeToken::from_data(DATA)));
        assert_eq!(Place::typed(DATA), place);
        assert_eq!(Place::typed(&format!("{{\"_data\": \"{DATA}\"}}")), place);
        for wrong in ["", "82", "{}", "{\"_data\":", "not a token", "AAAA"] {
            assert_eq!(Place::typed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_time_is_taken_where_there_is_no_token() {
        let offset = json!({"sec": 1_700_000_000, "ord": 7, "resume_token": null});
        let place = Place::of_offset(Incumbent::Debezium, &offset).unwrap();
        assert_eq!(place, Place::At(ClusterTime::new(1_700_000_000, 7)));
        assert!(
            place
                .to_offset(Incumbent::MongoKafka)
                .unwrap_err()
                .contains("startup.mode=timestamp")
        );
    }

    #[test]
    fn what_nobody_can_go_on_from_is_refused() {
        for (incumbent, offset) in [
            (
                Incumbent::Debezium,
                json!({"sec": 9, "ord": 1, "resume_token": DATA, "initsync": true}),
            ),
            (
                Incumbent::Debezium,
                json!({"sec": 9, "ord": 1, "incremental_snapshot_collections": "[]", "resume_token": DATA}),
            ),
            (Incumbent::Debezium, json!({"sec": 1, "ord": 1})),
            (Incumbent::Debezium, json!({})),
            (
                Incumbent::MongoKafka,
                json!({"_id": format!("{{\"_data\":\"{DATA}\"}}"), "copy": "true"}),
            ),
            (Incumbent::MongoKafka, json!({})),
            (Incumbent::MongoKafka, json!({"_id": "{"})),
        ] {
            Place::of_offset(incumbent, &offset).unwrap_err();
        }
    }
}
