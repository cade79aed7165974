//! An `_id` as a person or a path gives it: as text.

use crate::listener::document::id_text;
use crate::listener::entry;
use bson::oid::ObjectId;
use bson::{Bson, Document};

/// What `_id`s this text may stand for: itself, the digits of an ObjectId, or Extended JSON.
pub(super) fn candidates(text: &str) -> Vec<Bson> {
    let mut ids = vec![Bson::String(text.to_owned())];
    if let Ok(id) = ObjectId::parse_str(text) {
        ids.push(id.into());
    }
    match serde_json::from_str::<Bson>(text) {
        // Never an `_id`, and a condition in a query.
        Ok(Bson::RegularExpression(_) | Bson::Array(_)) | Err(_) => {}
        Ok(other) => ids.push(other),
    }
    ids
}

/// The `_id` of a listener whose text this is: no two have the same.
pub(super) fn of_listener(text: &str) -> Vec<Bson> {
    let mut ids = candidates(text);
    ids.retain(|id| id_text(id) == text);
    ids
}

/// Whether the listener's document is the one that is meant.
pub(super) fn is_of(document: &Document, text: &str) -> bool {
    entry::name(document) == text
}

/// A text as it may be a part of a path, or a value in a query: with what has a meaning in one escaped.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn an_id_becomes_one_part_of_a_path() {
        assert_eq!(escaped("507f"), "507f");
        assert_eq!(
            escaped("a/b c?{\"x\":1}é"),
            "a%2Fb%20c%3F%7B%22x%22%3A1%7D%C3%A9"
        );
    }

    #[test]
    fn the_text_of_an_id_finds_it() {
        let oid = ObjectId::parse_str("507f1f77bcf86cd799439011").unwrap();
        for id in [
            Bson::ObjectId(oid),
            oid.to_hex().into(),
            "a".into(),
            "7".into(),
            7.into(),
            7_000_000_000_i64.into(),
            doc! {"a": 1, "z": 2}.into(),
            true.into(),
        ] {
            let document = doc! {"_id": id.clone()};
            let text = entry::name(&document);
            assert_eq!(of_listener(&text), [id]);
            assert!(is_of(&document, &text), "{text}");
        }
        assert!(of_listener(r#"{"$regularExpression": {"pattern": "", "options": ""}}"#).len() < 2);
    }
}
