//! Records with a schema as Kafka Connect has them: a schema is a tree that is inferred from a document or given as
//! Avro, and a converter writes both, in JSON or in Avro.

mod avro;
mod convert;
mod infer;
mod json;

pub use avro::schema as avro_schema;
pub use avro::write as write_avro;
pub use infer::infer;
pub use json::open_schema as open_json_schema;
pub use json::write as write_json;
pub use json::write_string as write_json_string;

#[cfg(test)]
mod tests;
