//! `LIVE_EXCLUDE_FIELDS`: what is left out of everything that is served, before anything else sees it.

use crate::encode::json::scan;

/// The paths that are left out, by namespace.
#[derive(Debug, Default)]
pub struct Excluded(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    /// `database.collection`; none for all.
    namespace: Option<String>,
    path: Vec<String>,
}

/// What is left of paths below a field.
type Paths<'a> = Vec<&'a [String]>;

impl Excluded {
    /// Of the entries `path` and `database.collection:path`.
    pub fn new(entries: &[String]) -> Self {
        let rule = |entry: &String| {
            let (namespace, path) = match entry.split_once(':') {
                Some((namespace, path)) => (Some(namespace.to_owned()), path),
                None => (None, entry.as_str()),
            };
            let path = path.split('.').map(str::to_owned).collect();
            Rule { namespace, path }
        };
        Self(entries.iter().map(rule).collect())
    }

    /// The value without them; none where nothing is to be left out.
    pub fn without(&self, database: &str, collection: &str, value: &[u8]) -> Option<Vec<u8>> {
        let is_of = |rule: &&Rule| {
            let of = rule.namespace.as_deref();
            of.is_none_or(|of| {
                let rest = of.strip_prefix(database);
                rest.and_then(|rest| rest.strip_prefix('.')) == Some(collection)
            })
        };
        let paths: Paths<'_> = self
            .0
            .iter()
            .filter(is_of)
            .map(|rule| rule.path.as_slice())
            .collect();
        if paths.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(value.len());
        let mut object = Object::open(&mut out);
        for (name, value) in scan::members(value) {
            match name {
                b"fullDocument" | b"fullDocumentBeforeChange" | b"documentKey" => {
                    object.name(name);
                    within(object.out, value, &paths);
                }
                b"updateDescription" => {
                    object.name(name);
                    description(object.out, value, &paths);
                }
                _ => object.member(name, value),
            }
        }
        object.close();
        Some(out)
    }
}

/// Copies a value without what the paths lead to; an array is looked through.
fn within(out: &mut Vec<u8>, value: &[u8], paths: &[&[String]]) {
    match value.first() {
        Some(b'{') => {
            let mut object = Object::open(out);
            for (name, value) in scan::members(value) {
                match below(paths, &unquoted(name)) {
                    None => {}
                    Some(inner) if inner.is_empty() => object.member(name, value),
                    Some(inner) => {
                        object.name(name);
                        within(object.out, value, &inner);
                    }
                }
            }
            object.close();
        }
        Some(b'[') => list(out, scan::elements(value), |out, each| {
            within(out, each, paths)
        }),
        _ => out.extend_from_slice(value),
    }
}

/// What is left of the paths below a field of this name; none where one ends there.
fn below<'a>(paths: &[&'a [String]], name: &str) -> Option<Paths<'a>> {
    let mut inner = Paths::new();
    for path in paths {
        match path {
            [only] if only == name => return None,
            [first, rest @ ..] if first == name => inner.push(rest),
            _ => {}
        }
    }
    Some(inner)
}

/// The same below a dotted path of an update description, whose numbers are places in arrays.
fn below_dotted<'a>(paths: &[&'a [String]], dotted: &str) -> Option<Paths<'a>> {
    let mut paths = paths.to_vec();
    for name in dotted.split('.') {
        let is_place = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let inner = below(&paths, name)?;
        if !(is_place && inner.is_empty()) {
            paths = inner;
        }
    }
    Some(paths)
}

fn description(out: &mut Vec<u8>, value: &[u8], paths: &[&[String]]) {
    let mut object = Object::open(out);
    for (name, value) in scan::members(value) {
        object.name(name);
        match name {
            b"updatedFields" | b"disambiguatedPaths" => {
                let mut fields = Object::open(object.out);
                for (name, value) in scan::members(value) {
                    if let Some(inner) = below_dotted(paths, &unquoted(name)) {
                        fields.name(name);
                        within(fields.out, value, &inner);
                    }
                }
                fields.close();
            }
            b"removedFields" => {
                let text = |each: &&[u8]| {
                    let name = each
                        .strip_prefix(b"\"")
                        .and_then(|it| it.strip_suffix(b"\""));
                    name.is_none_or(|name| below_dotted(paths, &unquoted(name)).is_some())
                };
                list(object.out, scan::elements(value).filter(text), copy);
            }
            b"truncatedArrays" => {
                let text = |each: &&[u8]| {
                    let field = scan::member(each, "field");
                    let name = field.and_then(|it| it.strip_prefix(b"\"")?.strip_suffix(b"\""));
                    name.is_none_or(|name| below_dotted(paths, &unquoted(name)).is_some())
                };
                list(object.out, scan::elements(value).filter(text), copy);
            }
            _ => object.out.extend_from_slice(value),
        }
    }
    object.close();
}

fn copy(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(value);
}

fn list<'a>(
    out: &mut Vec<u8>,
    all: impl Iterator<Item = &'a [u8]>,
    write: impl Fn(&mut Vec<u8>, &[u8]),
) {
    out.push(b'[');
    for (index, each) in all.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, each);
    }
    out.push(b']');
}

/// A name as it is, and not as JSON writes it.
fn unquoted(name: &[u8]) -> String {
    if !name.contains(&b'\\') {
        return String::from_utf8_lossy(name).into_owned();
    }
    let quoted = [b"\"", name, b"\""].concat();
    serde_json::from_slice(&quoted).unwrap_or_default()
}

/// An object that is being written.
pub struct Object<'a> {
    pub out: &'a mut Vec<u8>,
    is_first: bool,
}

impl<'a> Object<'a> {
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        let is_first = true;
        Self { out, is_first }
    }

    /// Writes a name; its value is written next.
    pub fn name(&mut self, name: &[u8]) {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b"\":");
    }

    pub fn member(&mut self, name: &[u8], value: &[u8]) {
        self.name(name);
        self.out.extend_from_slice(value);
    }

    pub fn close(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn without(entries: &[&str], value: &Value) -> Value {
        let entries: Vec<_> = entries.iter().map(|it| (*it).to_owned()).collect();
        let text = value.to_string();
        match Excluded::new(&entries).without("shop", "users", text.as_bytes()) {
            Some(out) => serde_json::from_slice(&out).unwrap(),
            None => value.clone(),
        }
    }

    #[test]
    fn a_field_is_left_out_of_every_image_and_description() {
        let value = json!({
            "operationType": "update", "documentKey": {"_id": 1},
            "fullDocument": {"_id": 1, "pass": "x", "profile": {"phone": "1", "city": "Rome"}, "all": [{"phone": "2", "x": 3}]},
            "fullDocumentBeforeChange": {"pass": "y"},
            "updateDescription": {
                "updatedFields": {"pass": "x", "pass.hash": 1, "profile": {"phone": "1", "a": 2}, "all.0.phone": "2", "all.0.x": 3},
                "removedFields": ["profile.phone", "profile.city", "pass"],
                "truncatedArrays": [{"field": "pass.old", "newSize": 1}, {"field": "all", "newSize": 1}],
            },
        });
        let left = without(
            &[
                "pass",
                "profile.phone",
                "shop.users:all.phone",
                "shop.other:_id",
            ],
            &value,
        );
        assert_eq!(
            left,
            json!({
                "operationType": "update", "documentKey": {"_id": 1},
                "fullDocument": {"_id": 1, "profile": {"city": "Rome"}, "all": [{"x": 3}]},
                "fullDocumentBeforeChange": {},
                "updateDescription": {
                    "updatedFields": {"profile": {"a": 2}, "all.0.x": 3},
                    "removedFields": ["profile.city"],
                    "truncatedArrays": [{"field": "all", "newSize": 1}],
                },
            })
        );
    }

    #[test]
    fn a_name_that_json_escapes_is_the_same_name() {
        let value = json!({"fullDocument": {"pa\"ss": 1, "x": null}});
        assert_eq!(
            without(&["pa\"ss"], &value),
            json!({"fullDocument": {"x": null}})
        );
        let escaped = br#"{"fullDocument":{"p\u0061ss":1}}"#;
        let out = Excluded::new(&["pass".into()])
            .without("a", "b", escaped)
            .unwrap();
        assert_eq!(out, br#"{"fullDocument":{}}"#);
    }

    #[test]
    fn nothing_is_copied_where_no_rule_is_for_the_namespace() {
        let excluded = Excluded::new(&["shop.other:pass".into()]);
        assert!(excluded.without("shop", "users", b"{}").is_none());
    }
}
