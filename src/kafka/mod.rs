//! What everyone needs to speak to Kafka: clients, rights, partitions, producing a record.

pub mod authorized;
pub mod bootstrap;
pub mod client;
pub mod commit;
pub mod compacted;
pub mod described;
pub mod events;
pub mod partition;
pub mod produce;
pub mod reader;
pub mod rights;
pub mod topic;
pub mod transaction;
