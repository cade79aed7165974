//! Which changes a watcher wants, by what their records say.

use super::Asked;
use crate::api::id;
use crate::api::problem::Problem;
use crate::listener::filter::Filter;
use bson::{Bson, RawDocumentBuf};
use std::collections::BTreeMap;

const OPERATIONS: [&str; 6] = ["insert", "update", "replace", "delete", "read", DDL];
const DDL: &str = "ddl";

#[derive(Debug)]
pub(super) struct Selection {
    stream: String,
    collection: Option<String>,
    operation: Option<String>,
    id: Option<Vec<Bson>>,
    filter: Option<Filter>,
}

impl Selection {
    pub(super) fn of(stream: &str, asked: Asked) -> Result<Self, Problem> {
        if let Some(operation) = &asked.operation
            && !OPERATIONS.contains(&operation.as_str())
        {
            let known = OPERATIONS.join(", ");
            return Err(Problem::malformed(format!(
                "operation={operation} is none of {known}"
            )));
        }
        let filter = asked.r#where.as_deref().map(compile).transpose()?;
        Ok(Self {
            stream: stream.to_owned(),
            collection: asked.collection,
            operation: asked.operation,
            id: asked.id.as_deref().map(id::candidates),
            filter,
        })
    }

    pub(super) fn wants(
        &self,
        headers: &BTreeMap<String, String>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> bool {
        let header = |name: &str| headers.get(name).map(String::as_str);
        let namespace = header("tw-ns").unwrap_or_default();
        let is_of_stream = header("tw-stream").is_some_and(|stream| stream == self.stream);
        let of_collection = self.collection.as_deref().is_none_or(|wanted| {
            let collection = namespace.split_once('.').map(|(_, collection)| collection);
            namespace == wanted || collection == Some(wanted)
        });
        let of_operation = self.operation.as_deref().is_none_or(|wanted| {
            let operation = header("tw-op").unwrap_or_default();
            let is_of_document = OPERATIONS.contains(&operation);
            if wanted == DDL {
                !is_of_document
            } else {
                operation == wanted
            }
        });
        let of_id = || {
            self.id.as_ref().is_none_or(|wanted| {
                let key = key.and_then(document);
                let id = key.as_ref().and_then(|key| key.get("_id"));
                id.is_some_and(|id| wanted.contains(id))
            })
        };
        let found = || {
            self.filter.as_ref().is_none_or(|filter| {
                let value = value.and_then(document);
                let image = |name: &str| value.as_ref()?.get_document(name).ok().cloned();
                let image = image("fullDocument").or_else(|| image("fullDocumentBeforeChange"));
                let raw = image.and_then(|image| RawDocumentBuf::try_from(&image).ok());
                raw.is_some_and(|raw| filter.matches(&raw))
            })
        };
        is_of_stream && of_collection && of_operation && of_id() && found()
    }
}

fn compile(text: &str) -> Result<Filter, Problem> {
    let wrong = |why: String| Problem::malformed(format!("where: {why}"));
    let query = match serde_json::from_str::<Bson>(text) {
        Ok(Bson::Document(query)) => query,
        Ok(_) => {
            return Err(wrong(
                "is no JSON object; give a filter such as {\"status\": \"received\"}".into(),
            ));
        }
        Err(error) => return Err(wrong(format!("is no JSON: {error}"))),
    };
    let raw = RawDocumentBuf::try_from(&query).map_err(|error| wrong(error.to_string()))?;
    Filter::compile(&raw).map_err(|error| wrong(error.to_string()))
}

fn document(text: &[u8]) -> Option<bson::Document> {
    match serde_json::from_slice(text) {
        Ok(Bson::Document(document)) => Some(document),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(asked: Asked, operation: &str, namespace: &str, value: &str) -> bool {
        let headers = [
            ("tw-stream", "s"),
            ("tw-op", operation),
            ("tw-ns", namespace),
        ];
        let headers = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let key = br#"{"database": "shop", "_id": {"$oid": "507f1f77bcf86cd799439011"}}"#;
        let selection = Selection::of("s", asked).unwrap();
        selection.wants(&headers, Some(key), Some(value.as_bytes()))
    }

    fn asked() -> Asked {
        Asked {
            stream: None,
            collection: None,
            operation: None,
            id: None,
            r#where: None,
        }
    }

    #[test]
    fn each_condition_leaves_out_what_does_not_meet_it() {
        let value = r#"{"fullDocument": {"status": "received", "n": 3}}"#;
        type Set = fn(&mut Asked, Option<String>);
        let collection: Set = |asked, text| asked.collection = text;
        let operation: Set = |asked, text| asked.operation = text;
        let id: Set = |asked, text| asked.id = text;
        let filter: Set = |asked, text| asked.r#where = text;
        assert!(wants(asked(), "insert", "shop.orders", value));
        for (set, text, expected) in [
            (collection, "orders", true),
            (collection, "shop.orders", true),
            (collection, "shop", false),
            (operation, "insert", true),
            (operation, "delete", false),
            (operation, "ddl", false),
            (id, "507f1f77bcf86cd799439011", true),
            (id, r#"{"$oid": "507f1f77bcf86cd799439011"}"#, true),
            (id, "507f1f77bcf86cd799439012", false),
            (filter, r#"{"n": {"$gt": 2}}"#, true),
            (filter, r#"{"n": {"$gt": 3}}"#, false),
        ] {
            let mut asked = asked();
            set(&mut asked, Some(text.to_owned()));
            let is_wanted = wants(asked, "insert", "shop.orders", value);
            assert_eq!(is_wanted, expected, "{text}");
        }
        let ddl = Asked {
            operation: Some("ddl".to_owned()),
            ..asked()
        };
        assert!(wants(ddl, "drop", "shop.orders", "{}"));
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_a_sentence() {
        for (operation, filter) in [
            (Some("upsert"), None),
            (None, Some("7")),
            (None, Some(r#"{"$where": "1"}"#)),
        ] {
            let asked = Asked {
                operation: operation.map(str::to_owned),
                r#where: filter.map(str::to_owned),
                ..asked()
            };
            assert!(
                Selection::of("s", asked).is_err(),
                "{operation:?} {filter:?}"
            );
        }
    }
}
