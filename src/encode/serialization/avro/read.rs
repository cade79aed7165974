//! Reading a schema that a registry holds: what was registered here before, or by somebody else.

use super::schema::{COLLECTION, FIELD, FIELDS, is_name};
use crate::config::SchemaKind;
use crate::encode::serialization::schema::{Layout, Place, Schema, of_another};
use crate::encode::serialization::shape::{Branch, Record, Shape, Slot};
use serde_json::{Map, Value};

/// The schema that a registry holds for values of this kind.
///
/// # Errors
/// A sentence: why values cannot be written by it.
pub fn read(text: &str, layout: Layout, place: &Place) -> Result<Schema, String> {
    let root: Value = serde_json::from_str(text).map_err(|_| "is no JSON".to_owned())?;
    let root = root.as_object().ok_or("is no record")?;
    if let Some(of) = root.get(COLLECTION).and_then(Value::as_str)
        && of != place.name()
    {
        return Err(of_another(of));
    }
    let mut reader = Reader {
        path: String::new(),
    };
    let (key, document) = match layout {
        Layout::Document => (Record::new("DocumentKey"), reader.record(root)?),
        Layout::Change => reader.change(root)?,
    };
    let (namespace, _) = full_name(root);
    let schema = Schema {
        kind: SchemaKind::Avro,
        layout,
        place: place.clone(),
        namespace,
        document,
        key,
        beyond: None,
    };
    // What cannot be written again as it was, such as an alias or a default of its own, is not known well enough.
    Ok(schema)
}

struct Reader {
    path: String,
}

type Object = Map<String, Value>;

impl Reader {
    fn error<T>(&self, what: &str) -> Result<T, String> {
        match self.path.is_empty() {
            true => Err(what.to_owned()),
            false => Err(format!("has at {} what {what}", self.path)),
        }
    }

    /// The types of the document's key and of the document, in a schema of changes.
    fn change(&mut self, root: &Object) -> Result<(Record, Record), String> {
        let fields = root.get("fields").and_then(Value::as_array);
        let fields: Vec<_> = fields.into_iter().flatten().collect();
        let names = fields.iter().map(|field| field["name"].as_str());
        if !names.eq(FIELDS.map(Some)) {
            return Err("is not that of the envelope of FORMAT=tailwater".to_owned());
        }
        let mut of = |name: &str| {
            let field = fields.iter().find(|field| field["name"] == name);
            let slot = self.slot(field.map_or(&Value::Null, |field| &field["type"]))?;
            match slot.shape {
                Shape::Record(record) => Ok(record),
                _ => Err(format!("has at {name} what is no record")),
            }
        };
        Ok((of("documentKey")?, of("fullDocument")?))
    }

    fn record(&mut self, written: &Object) -> Result<Record, String> {
        if written.get("type").and_then(Value::as_str) != Some("record") {
            return self.error("is no record");
        }
        let (_, name) = full_name(written);
        let mut record = Record::new(name);
        let fields = written.get("fields").and_then(Value::as_array);
        for field in fields.into_iter().flatten() {
            let alias = field["name"].as_str().unwrap_or_default();
            if !is_name(alias) {
                return self.error("is no name of a field");
            }
            let before = self.path.len();
            if before > 0 {
                self.path.push('.');
            }
            self.path.push_str(alias);
            let slot = self.slot(&field["type"])?;
            self.path.truncate(before);
            let name = field[FIELD].as_str().unwrap_or(alias);
            record.add_as(name.as_bytes(), alias.to_owned(), slot);
        }
        Ok(record)
    }

    fn slot(&mut self, written: &Value) -> Result<Slot, String> {
        let is_null = |branch: &Value| branch == "null";
        let (null, of) = match written {
            Value::Array(branches) => match branches.as_slice() {
                [only] if is_null(only) => (Some(Branch::First), only),
                [null, of] if is_null(null) => (Some(Branch::First), of),
                [of, null] if is_null(null) => (Some(Branch::Second), of),
                _ => return self.error("is a union of other than null and one type"),
            },
            of => (None, of),
        };
        let shape = self.shape(of)?;
        Ok(Slot { shape, null })
    }

    fn shape(&mut self, written: &Value) -> Result<Shape, String> {
        let object = written.as_object();
        let get = |name: &str| object.and_then(|object| object.get(name));
        let kind = match written {
            Value::String(kind) => kind.as_str(),
            _ => get("type").and_then(Value::as_str).unwrap_or_default(),
        };
        let logical = get("logicalType").and_then(Value::as_str);
        let nothing = Value::Null;
        Ok(match (kind, logical) {
            ("long", Some("timestamp-millis")) => Shape::Date,
            ("string", None | Some("uuid")) => Shape::String,
            ("null", None) => Shape::Unknown,
            ("boolean", None) => Shape::Boolean,
            ("int", None) => Shape::Int,
            ("long", None) => Shape::Long,
            ("double", None) => Shape::Double,
            ("bytes", None) => Shape::Bytes,
            ("array", _) => {
                let items = self.slot(get("items").unwrap_or(&nothing))?;
                Shape::Array(Box::new(items))
            }
            ("map", _) => {
                let values = self.slot(get("values").unwrap_or(&nothing))?;
                Shape::Map(Box::new(values))
            }
            ("record", _) => match object {
                Some(object) => Shape::Record(self.record(object)?),
                None => return self.error("is no record"),
            },
            _ => return self.error("is of a type that documents are not written as"),
        })
    }
}

/// The namespace and the name of a record.
fn full_name(written: &Object) -> (String, String) {
    let text = |name: &str| written.get(name).and_then(Value::as_str).unwrap_or("");
    match text("name").rsplit_once('.') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (text("namespace").to_owned(), text("name").to_owned()),
    }
}
