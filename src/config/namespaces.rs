//! `KAFKA_TOPIC_NAMESPACE_MAP`: which namespace has which topic, by the rules of MongoDB's connector 2.0.

use super::pairs::Pairs;
use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;
use std::collections::BTreeMap;

/// What stands in a topic's name in the place of a namespace.
#[derive(Debug, Clone)]
pub struct NamespaceMap {
    /// The map as it was given.
    text: String,
    separator: String,
    /// By a database, or a database and a collection.
    exact: BTreeMap<String, String>,
    /// Expressions for the whole of a namespace, in their order.
    expressions: Vec<(Regex, Vec<Part>)>,
    /// For all that is left.
    any: Option<String>,
}

impl PartialEq for NamespaceMap {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.separator == other.separator
    }
}

impl Eq for NamespaceMap {}

/// A part of a name for namespaces that an expression matches.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Database,
    Collection,
    /// The collection with separators beside it; nothing where there is no collection.
    Separated {
        before: bool,
        after: bool,
    },
}

impl NamespaceMap {
    /// Reads the map, for topics whose parts have `separator` between them.
    ///
    /// # Errors
    /// The sentence of what is wrong.
    pub fn parse(text: &str, separator: &str) -> Result<Self, String> {
        // The parser's message quotes the value.
        let Pairs(pairs) = serde_json::from_str(text)
            .map_err(|_| "is no JSON object of topics by namespace".to_owned())?;
        let mut map = Self {
            text: text.to_owned(),
            ..Self::empty(separator)
        };
        for (namespace, topic) in pairs {
            let Value::String(topic) = topic else {
                return Err(format!("{namespace}: its topic is no text"));
            };
            // As the connector does: such a pair says nothing.
            if topic.is_empty() {
                continue;
            }
            match namespace.strip_prefix('/') {
                _ if namespace == "*" => map.any = Some(topic),
                Some(expression) => {
                    let parts = parts(&topic, separator)
                        .map_err(|problem| format!("{topic}: {problem}"))?;
                    map.expressions
                        .push((whole(&namespace, expression)?, parts));
                }
                None if namespace.contains('/') => {
                    return Err(format!(
                        "{namespace}: a / begins an expression, and is in no name"
                    ));
                }
                None => {
                    map.exact.insert(namespace, topic);
                }
            }
        }
        Ok(map)
    }

    /// A map that says nothing of any namespace: topics are named as without one.
    pub fn empty(separator: &str) -> Self {
        Self {
            text: "{}".to_owned(),
            separator: separator.to_owned(),
            exact: BTreeMap::new(),
            expressions: Vec::new(),
            any: None,
        }
    }

    /// Whether it says nothing of any namespace.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.expressions.is_empty() && self.any.is_none()
    }

    /// The map as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What stands for a namespace; the collection is empty for events about a database.
    pub fn name(&self, database: &str, collection: &str) -> String {
        let namespace = match collection {
            "" => database.to_owned(),
            collection => format!("{database}.{collection}"),
        };
        if let Some(topic) = self.exact.get(&namespace) {
            return topic.clone();
        }
        let beside = |database: &str| match collection {
            "" => database.to_owned(),
            collection => [database, &self.separator, collection].concat(),
        };
        if let Some(topic) = self.exact.get(database) {
            return beside(topic);
        }
        let mut expressions = self.expressions.iter();
        let matching = expressions.find(|(regex, _)| regex.is_match(namespace.as_bytes()));
        match (matching, &self.any) {
            (Some((_, parts)), _) => {
                let texts = parts
                    .iter()
                    .map(|part| part.text(&self.separator, database, collection));
                texts.collect()
            }
            (None, Some(any)) => any.clone(),
            (None, None) => beside(database),
        }
    }

    /// The names that are known without a namespace.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.exact.values().chain(&self.any).map(String::as_str)
    }
}

impl Part {
    fn text(&self, separator: &str, database: &str, collection: &str) -> String {
        let beside = |is_there: bool| if is_there { separator } else { "" };
        match self {
            Self::Text(text) => text.clone(),
            Self::Database => database.to_owned(),
            Self::Collection => collection.to_owned(),
            Self::Separated { .. } if collection.is_empty() => String::new(),
            Self::Separated { before, after } => {
                [beside(*before), collection, beside(*after)].concat()
            }
        }
    }
}

/// An expression that the whole of a namespace has to match.
fn whole(shown: &str, expression: &str) -> Result<Regex, String> {
    // Java's classes are of ASCII.
    let regex = RegexBuilder::new(&format!("^(?:{expression})$"))
        .unicode(false)
        .build();
    regex.map_err(|_| {
        format!(
            "{shown}: is no regular expression that is known here, which have neither look-around nor back-references"
        )
    })
}

/// The parts of a name with `{db}`, `{coll}` and their like.
fn parts(text: &str, separator: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        if at > 0 {
            parts.push(Part::Text(rest[..at].to_owned()));
        }
        let inner = rest[at..].strip_prefix('{');
        let inner = inner.and_then(|inner| inner.split_once('}'));
        let Some((name, after)) = inner else {
            return Err("has a brace that belongs to no variable".into());
        };
        parts.push(match name {
            "db" => Part::Database,
            "coll" => Part::Collection,
            "sep" => Part::Text(separator.to_owned()),
            "sep_coll" => Part::Separated {
                before: true,
                after: false,
            },
            "coll_sep" => Part::Separated {
                before: false,
                after: true,
            },
            "sep_coll_sep" => Part::Separated {
                before: true,
                after: true,
            },
            _ => {
                return Err(format!(
                    "{{{name}}} is no variable; those are {{db}}, {{coll}}, {{sep}}, {{sep_coll}}, {{coll_sep}} and \
                     {{sep_coll_sep}}"
                ));
            }
        });
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::NamespaceMap;

    fn map(text: &str) -> NamespaceMap {
        NamespaceMap::parse(text, "-").unwrap()
    }

    #[test]
    fn a_namespace_is_looked_for_by_name_then_by_database_then_by_expression_and_then_by_the_star()
    {
        let all = map(
            r#"{"*": "rest", "/shop\\..*": "first{sep_coll}", "/.*\\.or.*": "second", "shop.orders": "exact", "work": "w",
                "shop.empty": "", "/[a-z]+_\\d": "x{sep}{db}{sep_coll_sep}{coll}{coll_sep}y"}"#,
        );
        for (database, collection, name) in [
            ("shop", "orders", "exact"),
            ("work", "orders", "w-orders"),
            ("work", "", "w"),
            ("shop", "users", "first-users"),
            ("shop", "empty", "first-empty"),
            ("shop", "or.ders", "first-or.ders"),
            ("other", "orders", "second"),
            ("other", "users", "rest"),
            ("shop", "", "rest"),
            ("tenant_1", "", "x-tenant_1y"),
        ] {
            assert_eq!(
                all.name(database, collection),
                name,
                "{database}.{collection}"
            );
        }
        let none = map("{}");
        assert_eq!(none.name("shop", "or.ders"), "shop-or.ders");
        assert_eq!(none.name("shop", ""), "shop");
    }

    #[test]
    fn an_expression_matches_the_whole_and_a_part_of_it_is_not_enough() {
        let all = map(r#"{"/a|b\\.c": "{db}{sep_coll_sep}!"}"#);
        assert_eq!(all.name("b", "c"), "b-c-!");
        assert_eq!(all.name("a", ""), "a!");
        assert_eq!(all.name("a", "c"), "a-c");
        assert_eq!(all.name("xb", "c"), "xb-c");
    }

    #[test]
    fn what_is_no_map_gets_its_sentence() {
        for (text, said) in [
            ("shop=x", "is no JSON object"),
            (r#"{"shop": 1}"#, "shop: its topic is no text"),
            (r#"{"a/b": "x"}"#, "begins an expression"),
            (r#"{"/(a": "x"}"#, "is no regular expression"),
            (r#"{"/(?=a).*": "x"}"#, "look-around"),
            (r#"{"/a": "{collection}"}"#, "{collection} is no variable"),
            (r#"{"/a": "x}"}"#, "belongs to no variable"),
        ] {
            let sentence = NamespaceMap::parse(text, ".").unwrap_err();
            assert!(sentence.contains(said), "{sentence}");
        }
    }
}
