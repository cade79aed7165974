//! `SERIALIZATION`: whether values have a schema in a registry, and how that is reached.

use super::Secret;
use std::path::PathBuf;
use std::time::Duration;

/// `SERIALIZATION`.
#[derive(Debug, Clone)]
pub enum Serialization {
    /// Values are JSON and nothing else.
    Json,
    /// Values have a schema in a registry, whose number is in front of them.
    Schemas(Box<Schemas>),
}

impl Serialization {
    /// Where the schemas are, if there are any.
    pub fn schemas(&self) -> Option<&Schemas> {
        match self {
            Self::Json => None,
            Self::Schemas(schemas) => Some(schemas),
        }
    }

    pub(super) fn schemas_mut(&mut self) -> Option<&mut Schemas> {
        match self {
            Self::Json => None,
            Self::Schemas(schemas) => Some(schemas),
        }
    }
}

/// How values are written, and where their schemas are.
#[derive(Debug, Clone)]
pub struct Schemas {
    pub kind: SchemaKind,
    pub registry: Registry,
    /// `SCHEMA_SUBJECT`.
    pub subject: SubjectName,
    /// `SCHEMA_ID_IN`.
    pub id_in: IdIn,
    /// `SCHEMA_AUTO_REGISTER`.
    pub auto_register: bool,
    /// `SCHEMA_RECHECK_MS`.
    pub recheck: Duration,
    /// `run --dry-run`: the registry is asked, and nothing is written to it.
    pub dry_run: bool,
}

/// The languages of schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaKind {
    Avro,
    JsonSchema,
    Protobuf,
}

impl SchemaKind {
    /// The value of `SERIALIZATION`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avro => "avro",
            Self::JsonSchema => "json_schema",
            Self::Protobuf => "protobuf",
        }
    }
}

/// How the registry is reached.
#[derive(Debug, Clone)]
pub struct Registry {
    /// `SCHEMA_REGISTRY_URL`, without a slash at its end. It holds no credentials.
    pub url: String,
    pub credentials: Credentials,
    /// `SCHEMA_REGISTRY_CA_LOCATION`, beside the authorities that are trusted anyway.
    pub ca_location: Option<PathBuf>,
}

/// How the registry is logged in to.
#[derive(Debug, Clone)]
pub enum Credentials {
    None,
    /// `SCHEMA_REGISTRY_USERNAME` and `SCHEMA_REGISTRY_PASSWORD`.
    Basic {
        username: String,
        password: Secret,
    },
    /// `SCHEMA_REGISTRY_TOKEN`.
    Bearer(Secret),
}

/// `SCHEMA_SUBJECT`: under which name a schema is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectName {
    /// `<topic>-value`.
    Topic,
    /// The record's full name.
    Record,
    /// `<topic>-<the record's full name>`.
    TopicRecord,
}

/// `SCHEMA_ID_IN`: where a record says which schema it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdIn {
    /// Before the value: a zero and four bytes.
    Value,
    /// In the header that Confluent's clients read.
    Header,
    /// In the header that Apicurio's clients read.
    ApicurioHeader,
}
