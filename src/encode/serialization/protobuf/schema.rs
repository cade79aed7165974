//! A schema as the text of a file in the language of Protobuf.
//!
//! Its first message is what values are. New messages come last, and new fields get new numbers: values that were
//! written before are read by it.

use crate::encode::serialization::schema::{Layout, Schema};
use crate::encode::serialization::shape::{Record, Shape, camel_case};
use std::fmt::Write;

pub(super) const TIMESTAMP: &str = "google.protobuf.Timestamp";
pub(super) const LIST: &str = "google.protobuf.ListValue";
pub(super) const STRUCT: &str = "google.protobuf.Struct";

/// The fields of a change with their types, by number. Those of the second and the third message are the same
/// everywhere.
pub(super) const OPERATION: &str = "operationType";
pub(super) const FIELDS: [(&str, &str); 10] = [
    (OPERATION, "string"),
    ("database", "string"),
    ("collection", "string"),
    ("documentKey", ""),
    ("timestamp", TIMESTAMP),
    ("fullDocument", ""),
    ("updateDescription", UPDATE_DESCRIPTION),
    ("fullDocumentBeforeChange", ""),
    ("to", "string"),
    ("operationDescription", "string"),
];
const UPDATE_DESCRIPTION: &str = "UpdateDescription";
const OF_EACH: &str = "
message UpdateDescription {
  map<string, string> updatedFields = 1;
  repeated string removedFields = 2;
  repeated TruncatedArray truncatedArrays = 3;
  optional string disambiguatedPaths = 4;
}

message TruncatedArray {
  string field = 1;
  int64 newSize = 2;
}
";

/// The schema as text, always the same for the same.
pub fn schema(schema: &Schema) -> String {
    let mut file = File {
        text: String::new(),
        // A package of this name would hide Protobuf's own.
        dot: match schema.namespace.split('.').any(|part| part == "google") {
            true => ".",
            false => "",
        },
    };
    file.line(format_args!("syntax = \"proto3\";\n"));
    if !schema.namespace.is_empty() {
        file.line(format_args!("package {};\n", schema.namespace));
    }
    let mut records = Vec::new();
    if schema.layout == Layout::Change {
        records.push(&schema.key);
        inner(&schema.key, &mut records);
    }
    records.push(&schema.document);
    inner(&schema.document, &mut records);
    // The first one is what a value is; those that were given their names later come later.
    records.sort_by_key(|record| record.order);
    file.imports(&records, schema.layout);
    if schema.layout == Layout::Change {
        file.change(schema);
    }
    for record in records {
        file.record(record);
    }
    file.text
}

/// The records in a record, at any depth.
fn inner<'a>(record: &'a Record, found: &mut Vec<&'a Record>) {
    for field in record.fields() {
        let shape = match &field.slot.shape {
            Shape::Array(slot) | Shape::Map(slot) => &slot.shape,
            shape => shape,
        };
        if let Shape::Record(record) = shape {
            found.push(record);
            inner(record, found);
        }
    }
}

struct File {
    text: String,
    /// What is before the names of Protobuf's own types.
    dot: &'static str,
}

impl File {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Text takes everything.
        let _ = writeln!(self.text, "{line}");
    }

    fn imports(&mut self, records: &[&Record], layout: Layout) {
        let shapes = || {
            let fields = records.iter().flat_map(|record| record.fields());
            fields.map(|field| match &field.slot.shape {
                Shape::Array(slot) | Shape::Map(slot) => &slot.shape,
                shape => shape,
            })
        };
        let has_any = shapes().any(|it| matches!(it, Shape::AnyArray | Shape::AnyDocument));
        let has_dates = shapes().any(|it| *it == Shape::Date);
        for (is_needed, file) in [
            (has_any, "struct"),
            (has_dates || layout == Layout::Change, "timestamp"),
        ] {
            if is_needed {
                self.line(format_args!("import \"google/protobuf/{file}.proto\";"));
            }
        }
    }

    fn change(&mut self, schema: &Schema) {
        self.line(format_args!("\nmessage Change {{"));
        for (number, (name, of)) in (1..).zip(FIELDS) {
            let (dot, of) = match name {
                "documentKey" => ("", schema.key.name.as_str()),
                "fullDocument" | "fullDocumentBeforeChange" => ("", schema.document.name.as_str()),
                "timestamp" => (self.dot, of),
                _ => ("", of),
            };
            // The first three are always there.
            let label = if number > 3 { "optional " } else { "" };
            self.line(format_args!("  {label}{dot}{of} {name} = {number};"));
        }
        self.line(format_args!("}}"));
        self.text.push_str(OF_EACH);
    }

    fn record(&mut self, record: &Record) {
        self.line(format_args!("\nmessage {} {{", record.name));
        for reserved in &record.reserved {
            self.line(format_args!("  reserved {reserved};"));
        }
        for field in record.fields() {
            let of = match &field.slot.shape {
                Shape::Array(items) => format!("repeated {}", self.type_of(&items.shape)),
                Shape::Map(values) => format!("map<string, {}>", self.type_of(&values.shape)),
                shape => format!("optional {}", self.type_of(shape)),
            };
            let name = String::from_utf8_lossy(&field.name);
            let is_plain = field.alias == name && camel_case(&name) == name;
            let option = match is_plain {
                true => String::new(),
                false => format!(" [json_name = \"{}\"]", escaped(&name)),
            };
            let (alias, number) = (&field.alias, field.number);
            self.line(format_args!("  {of} {alias} = {number}{option};"));
        }
        self.line(format_args!("}}"));
    }

    fn type_of(&self, shape: &Shape) -> String {
        let own = |name| format!("{}{name}", self.dot);
        match shape {
            Shape::Boolean => "bool".into(),
            Shape::Int => "int32".into(),
            Shape::Long => "int64".into(),
            Shape::Double => "double".into(),
            Shape::String => "string".into(),
            Shape::Bytes => "bytes".into(),
            Shape::Date => own(TIMESTAMP),
            Shape::Record(record) => record.name.clone(),
            Shape::AnyDocument | Shape::Map(_) => own(STRUCT),
            // There is no field of which nothing is known: neither nulls nor empty lists are written.
            Shape::AnyArray | Shape::Array(_) | Shape::Unknown => own(LIST),
        }
    }
}

/// What a string in a schema cannot hold as it is.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            c if c.is_ascii_control() => {
                let _ = write!(text, "\\{:03o}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text
}
