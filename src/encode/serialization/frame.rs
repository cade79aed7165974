//! Where a record says which schema its value is of.

use super::protobuf::FIRST_MESSAGE;
use super::registry::SchemaId;
use super::schema::Schema;
use crate::config::{IdIn, SchemaKind, Schemas};

/// What is before a number of four bytes.
const NUMBER: u8 = 0;
/// What is before a GUID of 16 bytes.
const GUID: u8 = 1;

/// How many headers it has at most.
const HEADERS: usize = 2;

/// What a schema is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    Key,
    Value,
}

impl Half {
    /// As subjects end.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Value => "value",
        }
    }
}

/// What all records of one schema say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What is before the value.
    pub prefix: Vec<u8>,
    headers: [Option<(&'static str, Vec<u8>)>; HEADERS],
}

impl Frame {
    /// That of a value.
    pub fn new(settings: &Schemas, schema: &Schema, id: SchemaId) -> Self {
        let is_protobuf = schema.kind == SchemaKind::Protobuf;
        let message = is_protobuf.then(|| schema.root());
        Self::of(settings, Half::Value, id, message)
    }

    /// `message` is what Protobuf calls the value; none in other languages.
    pub fn of(settings: &Schemas, half: Half, id: SchemaId, message: Option<&str>) -> Self {
        let mut numbered = vec![NUMBER];
        numbered.extend(id.number.to_be_bytes());
        let of_message = message.map(|_| FIRST_MESSAGE);
        match settings.id_in {
            IdIn::Value => {
                numbered.extend(of_message);
                Self {
                    prefix: numbered,
                    headers: [None, None],
                }
            }
            IdIn::Header => {
                // Registries that know no GUIDs have numbers only, which are read there, too.
                let mut of_schema = match id.guid {
                    Some(guid) => [&[GUID], guid.as_bytes().as_slice()].concat(),
                    None => numbered,
                };
                of_schema.extend(of_message);
                let name = match half {
                    Half::Key => "__key_schema_id",
                    Half::Value => "__value_schema_id",
                };
                Self {
                    prefix: Vec::new(),
                    headers: [Some((name, of_schema)), None],
                }
            }
            IdIn::ApicurioHeader => {
                let number = i64::from(id.number).to_be_bytes().to_vec();
                let message = message.map(|name| name.as_bytes().to_vec());
                let name = match half {
                    Half::Key => "apicurio.key.contentId",
                    Half::Value => "apicurio.value.contentId",
                };
                Self {
                    prefix: Vec::new(),
                    headers: [
                        Some((name, number)),
                        message.map(|message| ("apicurio.protobuf.type", message)),
                    ],
                }
            }
        }
    }

    /// The headers, of which there may be none.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let headers = self.headers.iter().flatten();
        headers.map(|(name, value)| (*name, value.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Credentials, Registry, SubjectName};
    use crate::encode::serialization::schema::{Layout, Place};
    use std::time::Duration;

    fn frame(kind: SchemaKind, id_in: IdIn, guid: Option<&str>) -> Frame {
        let settings = Schemas {
            kind,
            registry: Registry {
                url: String::new(),
                credentials: Credentials::None,
                ca_location: None,
            },
            subject: SubjectName::Topic,
            id_in,
            auto_register: true,
            recheck: Duration::ZERO,
            dry_run: false,
        };
        let place = Place {
            database: "shop".into(),
            collection: "orders".into(),
        };
        let id = SchemaId {
            number: 258,
            guid: guid.map(|guid| guid.parse().unwrap()),
        };
        Frame::new(
            &settings,
            &Schema::new(kind, Layout::Change, place, None),
            id,
        )
    }

    fn headers(frame: &Frame) -> Vec<(&str, &[u8])> {
        frame.headers().collect()
    }

    /// As the sources of both kinds of clients read them.
    #[test]
    fn a_record_says_its_schema_in_the_value_or_in_a_header() {
        let of = |kind| frame(kind, IdIn::Value, None);
        assert_eq!(of(SchemaKind::Avro).prefix, [0, 0, 0, 1, 2]);
        assert_eq!(of(SchemaKind::JsonSchema).prefix, [0, 0, 0, 1, 2]);
        // The path of indexes to the first message is short for one of a single zero.
        assert_eq!(of(SchemaKind::Protobuf).prefix, [0, 0, 0, 1, 2, 0]);
        assert_eq!(headers(&of(SchemaKind::Avro)), []);

        let frame_of = |kind, guid| frame(kind, IdIn::Header, guid);
        let number = frame_of(SchemaKind::Avro, None);
        assert_eq!(number.prefix, [0; 0]);
        let value = [0, 0, 0, 1, 2];
        assert_eq!(headers(&number), [("__value_schema_id", &value[..])]);
        let guid = "00010203-0405-0607-0809-0a0b0c0d0e0f";
        let guid = frame_of(SchemaKind::Protobuf, Some(guid));
        let mut value = vec![1];
        value.extend(0..16);
        value.push(0);
        assert_eq!(headers(&guid), [("__value_schema_id", &value[..])]);

        let apicurio = frame(SchemaKind::Protobuf, IdIn::ApicurioHeader, None);
        assert_eq!(apicurio.prefix, [0; 0]);
        assert_eq!(
            headers(&apicurio),
            [
                ("apicurio.value.contentId", &[0, 0, 0, 0, 0, 0, 1, 2][..]),
                ("apicurio.protobuf.type", &b"Change"[..]),
            ]
        );
    }
}
