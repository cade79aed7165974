//! The text of a file as one value: YAML or JSON, with Extended JSON for the types that neither has.

use bson::Bson;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_saphyr::Error as Yaml;
use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// One value of a file's text; its name says whether that is JSON. Otherwise it is YAML, which JSON is as well.
///
/// # Errors
/// Where in the text it cannot be read, and why. No sentence holds a value of the file.
pub fn value(path: &Path, text: &str) -> Result<Bson, String> {
    let is_json = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    if is_json {
        // Otherwise the last of the same name would hold, without a word.
        let mut text_of = serde_json::Deserializer::from_str(text);
        Keys { path: "" }
            .deserialize(&mut text_of)
            .map_err(|error| of_json(&error))?;
        return serde_json::from_str(text).map_err(|error| of_json(&error));
    }
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| of_yaml(&error))
}

fn of_json(error: &serde_json::Error) -> String {
    let at = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Eof => format!("is no JSON: it ends too early, at {at}"),
        Category::Data => {
            let told = error.to_string();
            match told.strip_prefix(TWICE) {
                Some(told) => {
                    let end = told.rfind(" at line ").unwrap_or(told.len());
                    format!("has {} twice, before {at}", &told[..end])
                }
                None => not_extended(&at),
            }
        }
        Category::Syntax | Category::Io => format!(
            "is no JSON: it cannot be read at {at}; a comma, a quote or a bracket may be missing or too many before that"
        ),
    }
}

fn of_yaml(error: &Yaml) -> String {
    let error = error.without_snippet();
    let at = error.location().map_or_else(
        || "its end".to_owned(),
        |at| format!("line {}, column {}", at.line(), at.column()),
    );
    match error {
        Yaml::DuplicateMappingKey { key, .. } => {
            format!("has {} twice, at {at}", key.as_deref().unwrap_or("a key"))
        }
        Yaml::Eof { .. } => format!("is neither YAML nor JSON: it ends too early, at {at}"),
        Yaml::MultipleDocuments { .. } => {
            format!("has more than one document, the second at {at}; give one")
        }
        Yaml::Message { .. } => not_extended(&at),
        _ => format!(
            "is neither YAML nor JSON: it cannot be read at {at}; look at the indentation, quotes and brackets there"
        ),
    }
}

fn not_extended(at: &str) -> String {
    format!(
        "holds an object with a name such as $date or $oid that is no Extended JSON, before {at}"
    )
}

/// What our own error begins with.
const TWICE: &str = "twice:";

/// Looks through all of a text for objects that have a name twice.
struct Keys<'a> {
    /// Where it is.
    path: &'a str,
}

impl<'de> DeserializeSeed<'de> for Keys<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, text: D) -> Result<(), D::Error> {
        text.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut known = BTreeSet::new();
        while let Some(name) = map.next_key::<String>()? {
            let path = match self.path.is_empty() {
                true => name.clone(),
                false => format!("{}.{name}", self.path),
            };
            if !known.insert(name) {
                return Err(A::Error::custom(format!("{TWICE}{path}")));
            }
            map.next_value_seed(Keys { path: &path })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut index = 0;
        loop {
            let path = format!("{}[{index}]", self.path);
            if list.next_element_seed(Keys { path: &path })?.is_none() {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(name: &str, text: &str) -> String {
        value(Path::new(name), text).unwrap_err()
    }

    #[test]
    fn a_name_that_is_there_twice_is_wrong_wherever_it_is() {
        let json = r#"{"a": [1, {"b": {"c": 1, "d": 2, "c": 3}}]}"#;
        let told = wrong("f.json", json);
        assert!(
            told.starts_with("has a[1].b.c twice, before line 1"),
            "{told}"
        );
        for name in ["f.yaml", "-"] {
            let told = wrong(name, json);
            assert!(told.starts_with("has c twice, at line 1"), "{told}");
        }
        let right = r#"{"a": {"c": 1}, "b": {"c": null, "d": [{"c": -1.5}, {"c": true}, "x"]}}"#;
        assert!(value(Path::new("f.json"), right).is_ok());
    }

    #[test]
    fn no_sentence_is_a_library_s_or_holds_a_value() {
        for (name, text, part) in [
            (
                "f.json",
                r#"{"secret": "hunter2""#,
                "ends too early, at line 1",
            ),
            (
                "f.json",
                r#"{"secret": hunter2}"#,
                "cannot be read at line 1, column 12",
            ),
            (
                "f.json",
                r#"{"at": {"$date": "hunter2"}}"#,
                "no Extended JSON",
            ),
            ("f.yaml", "at: {$date: hunter2}", "no Extended JSON"),
            ("f.yaml", "secret: [hunter2", "is neither YAML nor JSON"),
            ("f.yaml", "a: b: hunter2", "is neither YAML nor JSON"),
            ("f.yaml", "a: 1\n---\nb: hunter2", "more than one document"),
        ] {
            let told = wrong(name, text);
            assert!(told.contains(part), "{text}: {told}");
            assert!(
                !told.contains("hunter2") && told.lines().count() == 1,
                "{told}"
            );
            for leak in ["expected", "invalid", "EOF", "mapping"] {
                assert!(!told.contains(leak), "{told}");
            }
        }
    }
}
