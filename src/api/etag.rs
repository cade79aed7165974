//! Entity tags of listeners: the same as long as their users change nothing. What Tailwater writes (`status`,
//! `lockInfo`) does not count.

use super::problem::Problem;
use crate::listener::{entry, fields};
use axum::http::{HeaderMap, StatusCode, header};
use bson::Document;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// How much of the digest is told, in bytes.
const SHOWN: usize = 16;

/// The strong entity tag of a document, in quotes.
pub(super) fn of(document: &Document) -> String {
    let mut document = entry::normal(document);
    for field in fields::OWN {
        document.remove(field);
    }
    let bytes = document.to_vec().unwrap_or_default();
    let mut tag = String::from("\"");
    for byte in &Sha256::digest(&bytes)[..SHOWN] {
        // Writing to a string does not fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag + "\""
}

/// What a call asks of the state that it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum IfMatch {
    /// Nothing was asked.
    Absent,
    /// `*`: whatever it is.
    Any,
    /// One of these.
    These(Vec<String>),
}

impl IfMatch {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(tags) = tags(headers, &header::IF_MATCH)? else {
            return Ok(Self::Absent);
        };
        match tags.iter().any(|tag| tag == "*") {
            true => Ok(Self::Any),
            // A weak one never matches here.
            false => Ok(Self::These(tags)),
        }
    }

    /// Whether the document may be changed.
    pub(super) fn admit(&self, document: &Document) -> Result<(), Problem> {
        match self {
            Self::Absent | Self::Any => Ok(()),
            Self::These(tags) => match tags.contains(&of(document)) {
                true => Ok(()),
                false => Err(changed()),
            },
        }
    }
}

/// Somebody else was faster.
pub(super) fn changed() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "changed_meanwhile",
        "somebody has changed the listener since it was read (If-Match); read it again, and change that",
    )
}

/// Whether `If-None-Match` has the entity tag: what is known need not be sent again.
pub(super) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = tags(headers, &header::IF_NONE_MATCH).ok().flatten();
    known.is_some_and(|tags| {
        tags.iter()
            .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
    })
}

fn tags(headers: &HeaderMap, name: &header::HeaderName) -> Result<Option<Vec<String>>, Problem> {
    let mut all = Vec::new();
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| {
            Problem::malformed(format!(
                "{name} is no entity tag; send the ETag that was read, in its quotes"
            ))
        })?;
        all.extend(value.split(',').map(|tag| tag.trim().to_owned()));
    }
    Ok((!all.is_empty()).then_some(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn what_tailwater_writes_changes_no_tag_and_what_users_write_does() {
        let document = doc! {"_id": 1, "collection": "a", "filter": {"n": 1}};
        let tag = of(&document);
        assert_eq!(tag.len(), 34, "{tag}");
        let mut with_status = document.clone();
        with_status.extend(doc! {"status": {"streams": {}}, "lockInfo": {}});
        assert_eq!(of(&with_status), tag);
        for (field, value) in [("filter", doc! {"n": 2}), ("metadata", doc! {})] {
            let mut other = document.clone();
            other.insert(field, value);
            assert_ne!(of(&other), tag, "{field}");
        }
    }

    #[test]
    fn a_tag_of_another_state_is_refused() {
        let document = doc! {"_id": 1};
        let tag = of(&document);
        let admitted = |value: &str| {
            let headers = headers(header::IF_MATCH, value);
            IfMatch::of(&headers).unwrap().admit(&document).is_ok()
        };
        assert!(admitted(&tag) && admitted("*") && admitted(&format!("\"x\", {tag}")));
        assert!(!admitted("\"x\"") && !admitted(&format!("W/{tag}")));
        assert!(IfMatch::of(&HeaderMap::new()).unwrap() == IfMatch::Absent);
        assert!(is_known(
            &headers(header::IF_NONE_MATCH, &format!("W/{tag}")),
            &tag
        ));
        assert!(!is_known(&HeaderMap::new(), &tag));
    }
}
