//! Jobs that are due at a time: schedules, which users keep in a collection and change while they run.
//!
//! All schedules of an instance's configuration are one *unit*, which one instance runs at a time: coordination says
//! which, as with streams, and the transactions of its producer fence whoever had it before. The record of a job and
//! how far its schedule is are written in one transaction, so that each due time has one record whatever happens.

mod check;
mod claim;
mod clock;
mod cron;
mod definition;
mod desk;
mod documents;
mod due;
pub mod fields;
pub mod file;
mod plan;
mod progress;
mod record;
mod refused;
mod run;
mod set;
mod status;
mod timing;
mod unit;

pub use check::check;
pub use clock::{Clock, System};
pub use definition::{Schedule, title};
pub use desk::{Desk, Listed};
pub use file::with_id as file_document;
pub use set::schedule;
pub use timing::text;
pub use unit::{NotRun, Order, Unit};

use crate::config::{JsonMode, Kafka, Schedules};
use crate::fields::Fields;
use crate::sink::topics::Cluster;
use crate::status::schedules::Schedules as Board;
use bson::Document;
use mongodb::Client;
use std::sync::Arc;

/// What running the schedules needs of the process.
#[derive(Clone)]
pub struct Parts {
    pub config: Arc<Schedules>,
    pub kafka: Arc<Kafka>,
    pub client: Client,
    pub cluster: Arc<Cluster>,
    /// How payloads are written.
    pub mode: JsonMode,
    /// What is done to the fields of users' documents.
    pub fields: Option<Arc<Fields>>,
    pub board: Arc<Board>,
    /// The documents of `SCHEDULES_FILE`.
    pub documents: Arc<Vec<Document>>,
    /// A name for this process.
    pub instance: String,
}
