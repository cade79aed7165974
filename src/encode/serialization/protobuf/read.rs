//! Reading a schema that a registry holds: what was registered here before, or by somebody else. Numbers come from
//! there, and are kept.

use super::parse::{self, File, Label, Message};
use super::schema::{FIELDS, LIST, STRUCT, TIMESTAMP};
use crate::config::SchemaKind;
use crate::encode::serialization::schema::{Layout, Place, Schema, of_another};
use crate::encode::serialization::shape::{MAX_DEPTH, Record, Shape, Slot};

/// The schema that a registry holds for values of this layout.
///
/// # Errors
/// A sentence: why values cannot be written by it.
pub fn read(text: &str, layout: Layout, place: &Place) -> Result<Schema, String> {
    let file = parse::file(text)?;
    let new = Schema::new(SchemaKind::Protobuf, layout, place.clone(), None);
    if file.package.starts_with("tailwater.") && file.package != new.namespace {
        return Err(of_another(&file.package));
    }
    let Some(first) = file.messages.first() else {
        return Err("has no message".to_owned());
    };
    let reader = Reader { file: &file };
    let (key, document) = match layout {
        Layout::Document => (Record::new("DocumentKey"), reader.record(first, "", 0)?),
        Layout::Change => reader.change(first)?,
    };
    Ok(Schema {
        kind: SchemaKind::Protobuf,
        layout,
        place: place.clone(),
        namespace: file.package.clone(),
        document,
        key,
        beyond: file.beyond,
    })
}

struct Reader<'a> {
    file: &'a File,
}

fn error<T>(path: &str, what: &str) -> Result<T, String> {
    match path.is_empty() {
        true => Err(what.to_owned()),
        false => Err(format!("has at {path} what {what}")),
    }
}

impl<'a> Reader<'a> {
    /// The types of the document's key and of the document, in a schema of changes.
    fn change(&self, first: &'a Message) -> Result<(Record, Record), String> {
        let fields = first.fields.iter();
        let is_envelope = fields
            .map(|field| (field.number, field.name.as_str()))
            .eq((1..).zip(FIELDS.map(|(name, _)| name)));
        if !is_envelope {
            return Err("is not that of the envelope of FORMAT=tailwater".to_owned());
        }
        let of = |name: &str| {
            let field = first.fields.iter().find(|field| field.name == name);
            match field.and_then(|field| self.message(&field.of, &first.name)) {
                Some(message) => self.record(message, name, 1),
                None => error(name, "is no message"),
            }
        };
        Ok((of("documentKey")?, of("fullDocument")?))
    }

    /// The message of a name, as it is looked for from within another.
    fn message(&self, of: &str, scope: &str) -> Option<&'a Message> {
        let package = &self.file.package;
        let of = of.strip_prefix('.').unwrap_or(of);
        let own = of.strip_prefix(package.as_str());
        let of = own.and_then(|it| it.strip_prefix('.')).unwrap_or(of);
        let mut scope = Some(scope);
        loop {
            let name = match scope {
                Some(scope) => format!("{scope}.{of}"),
                None => of.to_owned(),
            };
            let found = self.file.messages.iter().find(|it| it.name == name);
            if found.is_some() || scope.is_none() {
                return found;
            }
            scope = scope
                .and_then(|it| it.rsplit_once('.'))
                .map(|(outer, _)| outer);
        }
    }

    fn record(&self, message: &'a Message, path: &str, depth: usize) -> Result<Record, String> {
        if depth > MAX_DEPTH {
            return error(path, "is nested too deep, or holds itself");
        }
        let mut record = Record::new(&message.name);
        let messages = self.file.messages.iter();
        record.order = messages
            .take_while(|other| !std::ptr::eq(*other, message))
            .count();
        for field in &message.fields {
            let here = match path {
                "" => field.name.clone(),
                path => format!("{path}.{}", field.name),
            };
            let of = self.shape(&field.of, message, &here, depth)?;
            let shape = match field.label {
                Label::One => of,
                Label::Repeated => Shape::Array(Box::new(Slot::optional(of))),
                Label::Map => Shape::Map(Box::new(Slot::optional(of))),
            };
            let name = field.json_name.as_ref().unwrap_or(&field.name);
            let (name, alias) = (name.as_bytes(), field.name.clone());
            record.add_numbered(name, alias, field.number, Slot::optional(shape));
        }
        record.last_number = record.last_number.max(message.last_number);
        record.reserved.clone_from(&message.reserved);
        Ok(record)
    }

    fn shape(&self, of: &str, within: &Message, path: &str, depth: usize) -> Result<Shape, String> {
        Ok(match of.strip_prefix('.').unwrap_or(of) {
            "bool" => Shape::Boolean,
            "int32" => Shape::Int,
            "int64" => Shape::Long,
            "double" => Shape::Double,
            "string" => Shape::String,
            "bytes" => Shape::Bytes,
            TIMESTAMP => Shape::Date,
            LIST => Shape::AnyArray,
            STRUCT => Shape::AnyDocument,
            _ => match self.message(of, &within.name) {
                Some(message) => Shape::Record(self.record(message, path, depth + 1)?),
                None => return error(path, "is of a type that documents are not written as"),
            },
        })
    }
}
