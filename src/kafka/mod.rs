//! What everyone needs to speak to Kafka: clients, librdkafka's properties, partitions, producing a record.

pub mod authorized;
pub mod client;
pub mod options;
pub mod partition;
pub mod produce;
pub mod rights;
