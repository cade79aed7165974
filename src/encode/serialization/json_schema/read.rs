//! Reading a schema that a registry holds: what was registered here before, or by somebody else.

use super::schema::{BINARY, COLLECTION, DATE, DEFINITIONS, DOCUMENT, KEY, OPERATION};
use crate::config::SchemaKind;
use crate::encode::serialization::schema::{Layout, Place, Schema, of_another};
use crate::encode::serialization::shape::{Branch, MAX_DEPTH, Record, Shape, Slot};
use serde_json::{Map, Value};

/// What is understood, or says nothing about which values are allowed.
const KNOWN: [&str; 18] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "oneOf",
    "anyOf",
    "$ref",
    DEFINITIONS,
    "$defs",
    "contentEncoding",
    "title",
    "description",
    "$comment",
    "$schema",
    "$id",
    "default",
    "examples",
];

/// The schema that a registry holds for values of this layout.
///
/// # Errors
/// A sentence: why values cannot be written by it.
pub fn read(text: &str, layout: Layout, place: &Place) -> Result<Schema, String> {
    let root: Value = serde_json::from_str(text).map_err(|_| "is no JSON".to_owned())?;
    let root = root.as_object().ok_or("is no document's")?;
    let comment = root.get("$comment").and_then(Value::as_str);
    if let Some(of) = comment.and_then(|comment| comment.strip_prefix(COLLECTION))
        && of != place.name()
    {
        return Err(of_another(of));
    }
    let mut reader = Reader {
        root,
        path: String::new(),
        depth: 0,
        beyond: None,
    };
    let (key, mut document) = match layout {
        Layout::Document => match reader.object(root)? {
            Shape::Record(record) => (Record::new("DocumentKey"), record),
            Shape::AnyDocument => (Record::new("DocumentKey"), open()),
            _ => return Err("is no document's".to_owned()),
        },
        Layout::Change => reader.change(root)?,
    };
    let title = root.get("title").and_then(Value::as_str).unwrap_or("");
    let (namespace, name) = title.rsplit_once('.').unwrap_or(("", title));
    if layout == Layout::Document {
        name.clone_into(&mut document.name);
    }
    Ok(Schema {
        kind: SchemaKind::JsonSchema,
        layout,
        place: place.clone(),
        namespace: namespace.to_owned(),
        document,
        key,
        beyond: reader.beyond,
    })
}

type Object = Map<String, Value>;

/// A document that may have any field.
fn open() -> Record {
    let mut record = Record::default();
    record.is_open = true;
    record
}

struct Reader<'a> {
    root: &'a Object,
    path: String,
    depth: usize,
    /// The first of what is not understood, and may be left standing as long as nothing is added.
    beyond: Option<String>,
}

impl<'a> Reader<'a> {
    fn error<T>(&self, what: &str) -> Result<T, String> {
        match self.path.is_empty() {
            true => Err(what.to_owned()),
            false => Err(format!("has at {} what {what}", self.path)),
        }
    }

    /// The types of the document's key and of the document, in a schema of changes.
    fn change(&mut self, root: &'a Object) -> Result<(Record, Record), String> {
        let Shape::Record(change) = self.object(root)? else {
            return self.error("is no document's");
        };
        let of = |name: &str| {
            let index = change.find(name.as_bytes(), 0)?;
            match &change.fields()[index].slot.shape {
                Shape::Record(record) => Some(record.clone()),
                Shape::AnyDocument => Some(open()),
                _ => None,
            }
        };
        match (of(KEY), of(DOCUMENT), change.find(OPERATION.as_bytes(), 0)) {
            (Some(key), Some(document), Some(_)) => Ok((key, document)),
            _ => self.error("is not that of the envelope of FORMAT=tailwater"),
        }
    }

    /// Follows references, and notes what is not understood.
    fn resolved(&mut self, written: &'a Value) -> Result<&'a Object, String> {
        let mut written = written;
        for _ in 0..MAX_DEPTH {
            let Some(object) = written.as_object() else {
                return self.error("is of a type that documents are not written as");
            };
            let Some(to) = object.get("$ref") else {
                self.note(object);
                return Ok(object);
            };
            let found = ["definitions", "$defs"].into_iter().find_map(|folder| {
                let name = to.as_str()?.strip_prefix(&format!("#/{folder}/"))?;
                self.root.get(folder)?.get(name)
            });
            match found {
                Some(found) => written = found,
                None => return self.error("is in another schema"),
            }
        }
        self.error("refers to itself")
    }

    fn note(&mut self, object: &Object) {
        let is_known = |name: &str, value: &Value| {
            KNOWN.contains(&name)
                || name.starts_with("connect.")
                || (name == "format" && value == DATE)
        };
        let mut names = object.iter();
        if self.beyond.is_none()
            && let Some((name, _)) = names.find(|(name, value)| !is_known(name, value))
        {
            self.beyond = Some(match self.path.is_empty() {
                true => format!("`{name}`"),
                false => format!("`{name}` at {}", self.path),
            });
        }
    }

    fn object(&mut self, written: &'a Object) -> Result<Shape, String> {
        self.note(written);
        let additional = written.get("additionalProperties");
        let Some(properties) = written.get("properties").and_then(Value::as_object) else {
            return Ok(match additional {
                Some(values @ Value::Object(_)) => {
                    Shape::Map(Box::new(self.within("*", |it| it.slot(values, true))?))
                }
                Some(Value::Bool(false)) => Shape::Record(Record::default()),
                _ => Shape::AnyDocument,
            });
        };
        let text = |name: &str| written.get(name).and_then(Value::as_str);
        let mut record = Record::new(text("title").unwrap_or_default());
        record.is_open = match additional {
            None | Some(Value::Bool(true)) => true,
            Some(Value::Bool(false)) => false,
            Some(_) => return self.error("has both fields with names and others with a type"),
        };
        let required = written.get("required").and_then(Value::as_array);
        for (name, property) in properties {
            let is_required =
                required.is_some_and(|all| all.iter().any(|required| required == name.as_str()));
            let slot = self.within(name, |it| it.slot(property, is_required))?;
            record.add(name.as_bytes(), slot, SchemaKind::JsonSchema);
        }
        Ok(Shape::Record(record))
    }

    fn within<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        let before = self.path.len();
        if before > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error("is nested too deep, or refers to itself");
        }
        let read = read(self)?;
        self.depth -= 1;
        self.path.truncate(before);
        Ok(read)
    }

    fn slot(&mut self, written: &'a Value, is_required: bool) -> Result<Slot, String> {
        let object = self.resolved(written)?;
        let branches = object.get("oneOf").or_else(|| object.get("anyOf"));
        let (shape, takes_null) = match branches.and_then(Value::as_array) {
            None => self.typed(object)?,
            Some(branches) => {
                let (mut shape, mut takes_null) = (None, false);
                for branch in branches {
                    let branch = self.resolved(branch)?;
                    match (self.typed(branch)?, &shape) {
                        ((Shape::Unknown, _), _) => takes_null = true,
                        ((of, also), None) => {
                            shape = Some(of);
                            takes_null |= also;
                        }
                        _ => return self.error("has several types"),
                    }
                }
                (shape.unwrap_or(Shape::Unknown), takes_null)
            }
        };
        let null = match (takes_null, is_required) {
            (true, _) => Some(Branch::First),
            (false, false) => Some(Branch::Absent),
            (false, true) => None,
        };
        Ok(Slot { shape, null })
    }

    /// The type that a schema gives itself, and whether null is one of it, too.
    fn typed(&mut self, object: &'a Object) -> Result<(Shape, bool), String> {
        let (mut kinds, mut takes_null) = (Vec::new(), false);
        for kind in match object.get("type") {
            Some(Value::Array(several)) => several.as_slice(),
            Some(one) => std::slice::from_ref(one),
            None => &[],
        } {
            match kind.as_str() {
                Some("null") => takes_null = true,
                Some(kind) => kinds.push(kind),
                None => {}
            }
        }
        let text = |name: &str| object.get(name).and_then(Value::as_str);
        let shape = match kinds.as_slice() {
            [] if takes_null => Shape::Unknown,
            ["boolean"] => Shape::Boolean,
            ["integer"] => Shape::Long,
            ["number"] => Shape::Double,
            ["string"] if text("format") == Some(DATE) => Shape::Date,
            ["string"] if text("contentEncoding") == Some(BINARY) => Shape::Bytes,
            ["string"] => Shape::String,
            ["object"] => self.object(object)?,
            ["array"] => match object.get("items") {
                None | Some(Value::Bool(true)) => Shape::AnyArray,
                Some(items) => {
                    Shape::Array(Box::new(self.within("[]", |it| it.slot(items, true))?))
                }
            },
            _ => return self.error("is of a type that documents are not written as"),
        };
        Ok((shape, takes_null))
    }
}
