//! What a WebSocket's text frames say.

use crate::live::selection::Asked;
use axum::extract::ws::Utf8Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

/// What a client sends. A field that is not known is refused: a misspelt filter would show everything.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Incoming {
    Subscribe(Subscribe),
    Unsubscribe { id: String },
    Ping {},
    AccessToken { token: String },
}

/// What is to be subscribed to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subscribe {
    id: String,
    database: Option<String>,
    collection: Option<String>,
    operation: Option<String>,
    /// The `_id` of one document.
    document: Option<Value>,
    #[serde(rename = "where")]
    filter: Option<Value>,
    position: Option<String>,
}

impl From<Subscribe> for Wanted {
    fn from(frame: Subscribe) -> Self {
        Self {
            id: frame.id,
            asked: Asked {
                database: frame.database,
                collection: frame.collection,
                operation: frame.operation,
                // As JSON: a string is nothing else then.
                id: frame.document.map(|id| id.to_string()),
                filter: frame.filter,
            },
            position: frame.position,
        }
    }
}

/// A subscription that is wanted.
#[derive(Debug)]
pub struct Wanted {
    pub id: String,
    pub asked: Asked,
    pub position: Option<String>,
}

impl Incoming {
    /// Reads a frame.
    ///
    /// # Errors
    /// A sentence, without what the frame holds.
    pub fn read(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|_| "the frame is no JSON")?;
        let known = ["subscribe", "unsubscribe", "ping", "access_token"];
        if !value["type"]
            .as_str()
            .is_some_and(|name| known.contains(&name))
        {
            return Err("the frame has no type that is known; subscribe, unsubscribe, ping and access_token are".into());
        }
        serde_json::from_value(value).map_err(wrong)
    }
}

/// Reads what is to be subscribed to.
///
/// # Errors
/// A sentence, without what it holds.
pub fn subscription(value: Value) -> Result<Subscribe, String> {
    serde_json::from_value(value).map_err(wrong)
}

fn wrong(error: serde_json::Error) -> String {
    // It may quote a value, which may be a token.
    match error.to_string() {
        text if text.starts_with("unknown field") || text.starts_with("missing field") => text,
        _ => "a field is of another type; see docs/live.md".into(),
    }
}

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Frames are JSON objects.
    Plain,
    SocketIo,
}

impl Dialect {
    /// A frame that tells something of this kind; `text` is a JSON object.
    pub fn frame(self, kind: &str, text: String) -> Utf8Bytes {
        match self {
            Self::Plain => text.into(),
            Self::SocketIo => super::socketio::event(kind, &text).into(),
        }
    }
}

pub fn subscribed(id: &str, position: Option<&str>) -> String {
    json!({"type": "subscribed", "id": id, "position": position}).to_string()
}

pub fn unsubscribed(id: &str, message: Option<&str>) -> String {
    match message {
        Some(message) => json!({"type": "unsubscribed", "id": id, "message": message}).to_string(),
        None => json!({"type": "unsubscribed", "id": id}).to_string(),
    }
}

pub fn error(id: Option<&str>, status: u16, message: &str) -> String {
    json!({"type": "error", "id": id, "status": status, "message": message}).to_string()
}

pub fn gap(id: &str, from: &str, to: &str) -> String {
    json!({"type": "gap", "id": id, "from": from, "position": to}).to_string()
}

pub fn position(id: &str, position: &str) -> String {
    json!({"type": "position", "id": id, "position": position}).to_string()
}

/// A change, or that a document has left. `id` is quoted already, `body` is JSON.
pub fn event(quoted_id: &str, position: &str, kind: &str, body: &[u8]) -> String {
    let body = String::from_utf8_lossy(body);
    format!(r#"{{"type":"{kind}","id":{quoted_id},"position":"{position}","data":{body}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_or_told_what_is_wrong_without_what_it_holds() {
        assert!(matches!(
            Incoming::read(r#"{"type":"ping"}"#),
            Ok(Incoming::Ping {})
        ));
        let read = Incoming::read(r#"{"type":"subscribe","id":"a","where":{"x":1},"document":7}"#);
        assert!(matches!(read, Ok(Incoming::Subscribe(_))));
        for (text, named) in [
            ("x", "no JSON"),
            ("{}", "type"),
            (r#"{"type":"subscribe"}"#, "missing field `id`"),
            (
                r#"{"type":"subscribe","id":"a","colection":"b"}"#,
                "colection",
            ),
            (
                r#"{"type":"access_token","token":{"secret":1}}"#,
                "another type",
            ),
        ] {
            let sentence = Incoming::read(text).unwrap_err();
            assert!(
                sentence.contains(named) && !sentence.contains("secret"),
                "{sentence}"
            );
        }
    }

    #[test]
    fn an_event_is_one_json_object() {
        let text = event("\"a\"", "AQ", "leave", b"{\"n\":1}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            read,
            json!({"type": "leave", "id": "a", "position": "AQ", "data": {"n": 1}})
        );
    }
}
