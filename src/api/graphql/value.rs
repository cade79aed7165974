//! Values of any type: Extended JSON within GraphQL.

use crate::change::extended_json::Extended;
use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use bson::Bson;

/// Any value, with Extended JSON for the types that JSON lacks. GraphQL's own literals allow no `$` in names: give such
/// values as variables, or a filter as a string.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Json(pub(super) Bson);

#[Scalar(name = "JSON")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        // As text, so that fields keep their order.
        let text = serde_json::to_string(&value).map_err(InputValueError::custom)?;
        let read = serde_json::from_str(&text);
        read.map(Self)
            .map_err(|error| InputValueError::custom(format!("is no Extended JSON: {error}")))
    }

    fn to_value(&self) -> Value {
        async_graphql::to_value(Extended::relaxed(&self.0)).unwrap_or_default()
    }
}

impl Json {
    /// As a query, also where it is a string of Extended JSON.
    pub(super) fn query(self) -> Bson {
        match self.0 {
            Bson::String(text) => match serde_json::from_str(&text) {
                Ok(Bson::Document(query)) => query.into(),
                // It is told what is wrong with it, with all else.
                _ => Bson::String(text),
            },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::doc;

    #[test]
    fn types_and_the_order_of_fields_are_kept() {
        let at = bson::DateTime::parse_rfc3339_str("2026-01-01T00:00:00Z").unwrap();
        let filter: Bson = doc! {"z": 1, "a": {"$gt": at}, "b": [2.5, null, true]}.into();
        let value = Json(filter.clone()).to_value();
        assert_eq!(Json::parse(value).unwrap().0, filter);
        let text =
            r#"{"z": 1, "a": {"$gt": {"$date": "2026-01-01T00:00:00Z"}}, "b": [2.5, null, true]}"#;
        let given = Json::parse(Value::String(text.into())).unwrap().query();
        assert_eq!(given.to_string(), filter.to_string());
        assert_eq!(
            Json(Bson::String("{".into())).query(),
            Bson::String("{".into())
        );
    }
}
