//! A topic's name with placeholders: parsed once, rendered for each namespace that is new.

use crate::change::event::Event;
use crate::config::NamespaceMap;
use std::sync::Arc;

/// The longest topic name that Kafka accepts, in bytes (its `Topic.MAX_NAME_LENGTH`).
pub const MAX_TOPIC_LEN: usize = 249;

/// A topic name that may hold `{database}`, `{collection}` and `{operation}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field(Field),
    /// Database and collection as a map has them.
    Namespace(Arc<NamespaceMap>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Database,
    Collection,
    Operation,
}

impl Field {
    /// Every placeholder, as written in a template.
    const ALL: [(&str, Field); 3] = [
        ("{database}", Field::Database),
        ("{collection}", Field::Collection),
        ("{operation}", Field::Operation),
    ];

    /// What an event says; a `dropDatabase` has no collection.
    pub(super) fn given<'a>(self, event: &Event<'a>) -> &'a str {
        match self {
            Field::Database => event.database,
            Field::Collection => event.counted_for(),
            Field::Operation => event.operation_name,
        }
    }

    /// What stands in this place for it: `_` for what is not there.
    fn of<'a>(self, event: &Event<'a>) -> &'a str {
        match self.given(event) {
            "" => "_",
            value => value,
        }
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The sentence of what is wrong: a brace that belongs to no placeholder, or no name at all.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a topic name cannot be empty".into());
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let open = rest.find(['{', '}']).unwrap_or(rest.len());
            let (literal, tail) = rest.split_at(open);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            rest = tail;
            if rest.is_empty() {
                break;
            }
            let Some((name, field)) = Field::ALL.iter().find(|(name, _)| rest.starts_with(name))
            else {
                return Err(format!(
                    "topic `{text}` has a brace that begins no placeholder; \
                     {{database}}, {{collection}} and {{operation}} are known"
                ));
            };
            parts.push(Part::Field(*field));
            rest = &rest[name.len()..];
        }
        Ok(Self { parts })
    }

    /// The same with what the map says in the place of database, separator and collection.
    #[must_use]
    pub(super) fn mapped(mut self, map: &Arc<NamespaceMap>) -> Self {
        let of = |part: &Part, field| *part == Part::Field(field);
        let place = self.parts.windows(3).position(|parts| {
            of(&parts[0], Field::Database)
                && matches!(parts[1], Part::Literal(_))
                && of(&parts[2], Field::Collection)
        });
        if let Some(place) = place {
            let map = Part::Namespace(Arc::clone(map));
            self.parts.splice(place..place + 3, [map]);
        }
        self
    }

    /// Whether every event has the same topic.
    pub fn is_fixed(&self) -> bool {
        self.fields().next().is_none()
    }

    /// The placeholders in use.
    pub(super) fn fields(&self) -> impl Iterator<Item = Field> + '_ {
        let fields = self.parts.iter().map(|part| match part {
            Part::Literal(_) => [None, None],
            Part::Field(field) => [Some(*field), None],
            Part::Namespace(_) => [Some(Field::Database), Some(Field::Collection)],
        });
        fields.flatten().flatten()
    }

    /// The name of a template without placeholders.
    pub fn fixed_text(&self) -> String {
        self.render(None)
    }

    /// The name with `*` for each placeholder.
    pub fn with_wildcards(&self) -> String {
        let text = |part: &Part| match part {
            Part::Literal(literal) => literal.clone(),
            Part::Field(_) | Part::Namespace(_) => "*".to_owned(),
        };
        self.parts.iter().map(text).collect()
    }

    /// The pattern that all topics of a template match; of one database where there is only one. None for what is no
    /// template.
    pub fn pattern(text: &str, database: Option<&str>) -> Option<String> {
        let template = match database {
            Some(name) => text.replace("{database}", &legal(name)),
            None => text.to_owned(),
        };
        Some(Self::parse(&template).ok()?.with_wildcards())
    }

    /// The topic's name, with `_` for each character that Kafka does not allow; not yet checked.
    /// Without an event only the fixed text is there.
    pub fn render(&self, event: Option<&Event<'_>>) -> String {
        let mut name = String::new();
        for part in &self.parts {
            let mapped;
            let text = match (part, event) {
                (Part::Literal(literal), _) => literal.as_str(),
                (Part::Field(field), Some(event)) => field.of(event),
                (Part::Namespace(map), Some(event)) => {
                    mapped = map.name(event.database, event.counted_for());
                    &mapped
                }
                (Part::Field(_) | Part::Namespace(_), None) => "",
            };
            name.push_str(&legal(text));
        }
        name
    }
}

/// A text with `_` for each character that Kafka does not allow.
fn legal(text: &str) -> String {
    let legal = text.chars().map(|c| if is_legal(c) { c } else { '_' });
    legal.collect()
}

/// Kafka's own rule for the characters of a topic name.
pub fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_brace_outside_a_placeholder_is_refused_with_the_known_ones() {
        for wrong in ["a.{db}", "a.{collection", "a}", "{}", "{Database}"] {
            let sentence = Template::parse(wrong).unwrap_err();
            assert!(sentence.contains("{collection}"), "{sentence}");
        }
        assert!(Template::parse("").is_err());
    }

    #[test]
    fn a_template_without_placeholders_is_fixed() {
        assert!(Template::parse("database.insert").unwrap().is_fixed());
        assert!(!Template::parse("cdc.{database}").unwrap().is_fixed());
    }
}
