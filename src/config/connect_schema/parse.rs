//! A schema that is given as Avro, as MongoDB's connector reads it: no defaults but null, no unions but with null, and
//! names of fields that say a way with dots.

use super::{Field, Kind, Schema};
use serde_json::Value;
use std::collections::HashMap;

/// The connector's own schema of keys.
pub const KEY: &str =
    r#"{"type":"record","name":"keySchema","fields":[{"name":"_id","type":"string"}]}"#;

/// The connector's own schema of events.
pub const CHANGE_STREAM: &str = r#"{"type":"record","name":"ChangeStream","fields":[
    {"name":"_id","type":"string"},
    {"name":"operationType","type":["string","null"]},
    {"name":"fullDocumentBeforeChange","type":["string","null"]},
    {"name":"fullDocument","type":["string","null"]},
    {"name":"ns","type":[{"name":"ns","type":"record","fields":[
        {"name":"db","type":"string"},{"name":"coll","type":["string","null"]}]},"null"]},
    {"name":"to","type":[{"name":"to","type":"record","fields":[
        {"name":"db","type":"string"},{"name":"coll","type":["string","null"]}]},"null"]},
    {"name":"documentKey","type":["string","null"]},
    {"name":"updateDescription","type":[{"name":"updateDescription","type":"record","fields":[
        {"name":"updatedFields","type":["string","null"]},
        {"name":"removedFields","type":[{"type":"array","items":"string"},"null"]},
        {"name":"truncatedArrays","type":[{"type":"array","items":{"type":"record","name":"truncatedArray","fields":[
            {"name":"field","type":"string"},{"name":"newSize","type":"int"}]}},"null"]},
        {"name":"disambiguatedPaths","type":["string","null"]}]},"null"]},
    {"name":"clusterTime","type":["string","null"]},
    {"name":"txnNumber","type":["long","null"]},
    {"name":"lsid","type":[{"name":"lsid","type":"record","fields":[
        {"name":"id","type":"string"},{"name":"uid","type":"string"}]},"null"]}]}"#;

/// How many records may lie in one another.
const MAX_DEPTH: usize = 64;

/// Reads a schema.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn parse(text: &str) -> Result<Schema, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| format!("is no JSON: {error}"))?;
    let schema = Reader::default().schema(&value, "", 0)?;
    match schema.kind {
        Kind::Struct(_) if !schema.is_optional => Ok(schema),
        _ => Err("is no record".into()),
    }
}

#[derive(Default)]
struct Reader {
    records: HashMap<String, Schema>,
}

impl Reader {
    fn schema(&mut self, value: &Value, space: &str, depth: usize) -> Result<Schema, String> {
        if depth > MAX_DEPTH {
            return Err(format!("has more than {MAX_DEPTH} types in one another"));
        }
        match value {
            Value::String(name) => self.called(name, space),
            Value::Array(union) => {
                let mut others = union.iter().filter(|it| *it != "null");
                match (union.len(), others.next(), others.next()) {
                    (2, Some(only), None) => {
                        let mut schema = self.schema(only, space, depth + 1)?;
                        schema.is_optional = true;
                        Ok(schema)
                    }
                    _ => Err("has a union that is not of one type and null".into()),
                }
            }
            Value::Object(_) => self.complex(value, space, depth),
            _ => Err("has a type that is neither a name, a list nor an object".into()),
        }
    }

    fn called(&self, name: &str, space: &str) -> Result<Schema, String> {
        let kind = match name {
            "boolean" => Kind::Boolean,
            "int" => Kind::Int32,
            "long" => Kind::Int64,
            "double" => Kind::Float64,
            "string" => Kind::String,
            "bytes" => Kind::Bytes,
            _ => {
                let known = self.records.get(&full_name(name, space));
                let known = known.or_else(|| self.records.get(name));
                return known.cloned().ok_or_else(|| {
                    format!("has the type {name:?}, which is none that is known here or defined before it")
                });
            }
        };
        Ok(Schema::new(kind, false, None))
    }

    fn complex(&mut self, value: &Value, space: &str, depth: usize) -> Result<Schema, String> {
        let kind = match value["type"].as_str() {
            Some("array") => {
                Kind::Array(Box::new(self.schema(&value["items"], space, depth + 1)?))
            }
            Some("map") => Kind::Map(Box::new(self.schema(&value["values"], space, depth + 1)?)),
            Some("record") => return self.record(value, space, depth),
            // The connector takes no notice of logical types.
            Some(name) => return self.called(name, space),
            None => return self.schema(&value["type"], space, depth + 1),
        };
        Ok(Schema::new(kind, false, None))
    }

    fn record(&mut self, value: &Value, space: &str, depth: usize) -> Result<Schema, String> {
        let name = value["name"]
            .as_str()
            .ok_or("has a record without a name")?;
        let space = value["namespace"].as_str().unwrap_or(space);
        let full = full_name(name, space);
        let space = full.rsplit_once('.').map_or("", |(space, _)| space);
        let listed = value["fields"].as_array();
        let listed = listed.ok_or_else(|| format!("has no fields in the record {name:?}"))?;
        let mut fields: Vec<Field> = Vec::new();
        for field in listed {
            let name = field["name"].as_str().ok_or("has a field without a name")?;
            if fields.iter().any(|known| known.name == name) {
                return Err(format!("has the field {name:?} twice"));
            }
            if !field["default"].is_null() {
                return Err(format!(
                    "has a default for {name:?}, which is not known here"
                ));
            }
            let name = name.to_owned();
            let schema = self.schema(&field["type"], space, depth + 1)?;
            fields.push(Field { name, schema });
        }
        let schema = Schema::new(Kind::Struct(fields), false, Some(full.clone()));
        self.records.insert(full, schema.clone());
        Ok(schema)
    }
}

fn full_name(name: &str, space: &str) -> String {
    match name.contains('.') || space.is_empty() {
        true => name.to_owned(),
        false => format!("{space}.{name}"),
    }
}
