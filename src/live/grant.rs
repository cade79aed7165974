//! What a client may see: what its token's claims say, and what the configuration makes of them.

use super::filter::Where;
use crate::config::{JsonMode, covers};
use serde_json::{Map, Value, json};

/// What may be seen.
#[derive(Debug, Default)]
pub struct Grant {
    /// Patterns; none for all.
    databases: Option<Vec<String>>,
    /// Patterns of collections, or of `database.collection`; none for all.
    collections: Option<Vec<String>>,
    /// Each image that is shown matches all of them.
    pub filters: Vec<Where>,
    /// `exp`, in seconds since 1970.
    pub expires: Option<i64>,
    text: String,
}

impl Grant {
    /// Everything: where no key for tokens is configured.
    pub fn everything() -> Self {
        Self::default()
    }

    /// What these claims allow.
    ///
    /// # Errors
    /// A sentence: why they allow nothing.
    pub fn of_claims(
        claims: &Map<String, Value>,
        configured: Option<&Value>,
        mode: JsonMode,
    ) -> Result<Self, String> {
        let own = claims.get("where");
        let names = |name: &str| {
            claims
                .get(name)
                .map(|value| patterns(name, value))
                .transpose()
        };
        let (databases, collections) = (names("databases")?, names("collections")?);
        if databases.is_none() && collections.is_none() && own.is_none() && configured.is_none() {
            return Err(
                "the token does not say what it may see; give it a claim databases, collections or where \
                 (\"databases\":[\"*\"] for everything), or set LIVE_WHERE"
                    .into(),
            );
        }
        let mut filters = Vec::new();
        for filter in [configured, own].into_iter().flatten() {
            let filled = fill(filter, claims)?;
            let compiled = Where::compile(&filled, mode);
            filters.push(
                compiled
                    .map_err(|reason| format!("the token's filter cannot be used: {reason}"))?,
            );
        }
        let filter_texts: Vec<_> = filters.iter().map(Where::text).collect();
        let text = json!([databases, collections, filter_texts]).to_string();
        Ok(Self {
            databases,
            collections,
            filters,
            expires: claims.get("exp").and_then(seconds),
            text,
        })
    }

    pub fn allows_database(&self, database: &str) -> bool {
        let patterns = self.databases.as_deref();
        patterns.is_none_or(|patterns| patterns.iter().any(|pattern| covers(pattern, database)))
    }

    /// Whether a collection may be seen; an empty one is the database itself.
    pub fn allows(&self, database: &str, collection: &str) -> bool {
        let Some(patterns) = &self.collections else {
            return self.allows_database(database);
        };
        let whole = format!("{database}.{collection}");
        self.allows_database(database)
            && patterns.iter().any(|pattern| match pattern.contains('.') {
                true => covers(pattern, &whole),
                false => collection.is_empty() || covers(pattern, collection),
            })
    }

    /// Whether some collection of this name may be seen, whatever the database.
    pub fn allows_collection(&self, collection: &str) -> bool {
        let Some(patterns) = &self.collections else {
            return true;
        };
        patterns
            .iter()
            .any(|pattern| match pattern.split_once('.') {
                Some((_, name)) => covers(name, collection),
                None => covers(pattern, collection),
            })
    }

    /// The only database, where it is one.
    pub fn only_database(&self) -> Option<&str> {
        match self.databases.as_deref() {
            Some([only]) if !only.contains('*') => Some(only),
            _ => None,
        }
    }

    /// What tells it from others.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A claim that is a time, in seconds since 1970.
pub fn seconds(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|number| number as i64))
}

fn patterns(name: &str, value: &Value) -> Result<Vec<String>, String> {
    let list = match value {
        Value::String(only) => return Ok(vec![only.clone()]),
        Value::Array(list) => list,
        _ => return Err(format!("the token's claim {name} is no list of names")),
    };
    let name_of = |each: &Value| each.as_str().map(str::to_owned);
    let names = list.iter().map(name_of).collect::<Option<_>>();
    names.ok_or_else(|| format!("the token's claim {name} holds something that is no name"))
}

/// Puts claims where the filter names them: `$sub` is the claim `sub`, `$$x` the text `$x`.
fn fill(filter: &Value, claims: &Map<String, Value>) -> Result<Value, String> {
    Ok(match filter {
        Value::String(text) => match text.strip_prefix('$') {
            Some(literal) if literal.starts_with('$') => literal.into(),
            Some(name) => claim(name, claims)?,
            None => filter.clone(),
        },
        Value::Array(list) => list
            .iter()
            .map(|each| fill(each, claims))
            .collect::<Result<_, _>>()?,
        Value::Object(map) => {
            let mut filled = Map::new();
            for (name, value) in map {
                let is_field = !name.starts_with('$');
                let is_claim = value.as_str().is_some_and(|text| text.starts_with('$'));
                let value = fill(value, claims)?;
                // Whatever the claim holds, it is compared and never an operator.
                let value = match is_field && is_claim {
                    true => json!({ "$eq": value }),
                    false => value,
                };
                filled.insert(name.clone(), value);
            }
            Value::Object(filled)
        }
        other => other.clone(),
    })
}

fn claim(name: &str, claims: &Map<String, Value>) -> Result<Value, String> {
    match claims.get(name) {
        Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => Ok(value.clone()),
        Some(_) => Err(format!(
            "the filter asks for the claim {name}, and the token's is no text, number or flag"
        )),
        None => Err(format!(
            "the filter asks for the claim {name}, which the token does not have"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(claims: Value, configured: Option<Value>) -> Result<Grant, String> {
        Grant::of_claims(
            claims.as_object().unwrap(),
            configured.as_ref(),
            JsonMode::Simple,
        )
    }

    #[test]
    fn claims_are_filled_in_as_scalars() {
        let own = json!({"userId": "$sub", "price": "$$5", "$or": [{"a": {"$in": ["$team", 1]}}, {"b": true}]});
        let claims = json!({"sub": "{\"$ne\":1}", "team": 7});
        assert_eq!(
            fill(&own, claims.as_object().unwrap()).unwrap(),
            json!({"userId": {"$eq": "{\"$ne\":1}"}, "price": {"$eq": "$5"}, "$or": [{"a": {"$in": [7, 1]}}, {"b": true}]})
        );
    }

    #[test]
    fn an_absent_claim_or_one_that_is_no_scalar_allows_nothing() {
        let configured = || Some(json!({"userId": "$sub"}));
        assert!(grant(json!({"sub": "u1"}), configured()).is_ok());
        assert!(
            grant(json!({}), configured())
                .unwrap_err()
                .contains("claim sub")
        );
        assert!(grant(json!({"sub": {"$ne": 1}}), configured()).is_err());
        assert!(grant(json!({"sub": null}), configured()).is_err());
        assert!(
            grant(json!({"sub": "u1"}), None)
                .unwrap_err()
                .contains("LIVE_WHERE")
        );
        assert!(grant(json!({"databases": 7}), None).is_err());
        assert!(grant(json!({"where": {"$where": "1"}}), None).is_err());
    }

    #[test]
    fn names_are_allowed_by_patterns() {
        let all = grant(json!({"databases": ["*"]}), None).unwrap();
        assert!(all.allows("a", "b") && all.allows("a", ""));
        let some = grant(
            json!({"databases": ["shop", "t_*"], "collections": ["orders", "shop.u*", "x.y.z"]}),
            None,
        )
        .unwrap();
        assert!(
            some.allows("shop", "orders")
                && some.allows("t_1", "orders")
                && some.allows("shop", "users")
        );
        assert!(
            !some.allows("t_1", "users")
                && !some.allows("other", "orders")
                && !some.allows("shop", "pay")
        );
        // With a dot it is a name with its database, and no collection of another one.
        assert!(!some.allows("shop", "shop.users") && !some.allows("t_1", "shop.users"));
    }
}
