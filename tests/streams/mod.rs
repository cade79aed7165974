//! Several streams in one process: each for itself, and the process for all.

mod crash;
mod formats;
mod history;
mod isolation;
mod operators;
mod restarts;

use crate::support::{self, Database, Kafka, Mongo, Record, Setup, unique};
use bson::doc;

/// Several databases, and a process that is to carry each of them as a stream of its own.
struct Streams {
    databases: Vec<Database>,
    setup: Setup,
    /// The topics begin so; the name of the database follows.
    prefix: String,
}

impl Streams {
    async fn new(kafka: &Kafka, count: usize) -> Self {
        Self::on(support::mongo().await, kafka, count).await
    }

    async fn on(mongo: &Mongo, kafka: &Kafka, count: usize) -> Self {
        let mut databases = Vec::new();
        for _ in 0..count {
            databases.push(mongo.database().await);
        }
        let names: Vec<_> = databases.iter().map(|database| database.name()).collect();
        let prefix = unique("streams");
        let setup = Setup::empty()
            .env("MONGODB_URI", mongo.uri())
            .env("KAFKA_BROKERS", kafka.brokers())
            .env("KAFKA_CLIENT_ID", unique("tailwater"))
            .env("KAFKA_DB_CHANGES_TOPIC", format!("{prefix}.{{database}}"))
            .env("STREAMS", names.join(","));
        Self {
            databases,
            setup,
            prefix,
        }
    }

    /// With often committed, small topics, in which the order shows.
    fn under_writes(&self, delivery: &str) -> Setup {
        self.setup
            .clone()
            .env("DELIVERY", delivery)
            .env("KAFKA_TOPIC_PARTITIONS", 1)
            .env("COMMIT_INTERVAL_MS", 50)
    }

    fn name(&self, index: usize) -> &str {
        self.databases[index].name()
    }

    fn id(&self, index: usize) -> String {
        format!(
            "{}:{}",
            self.setup.vars()["KAFKA_CLIENT_ID"],
            self.name(index)
        )
    }

    fn topic(&self, index: usize) -> String {
        format!("{}.{}", self.prefix, self.name(index))
    }

    async fn insert(&self, index: usize, id: i32) {
        let users = self.databases[index].documents("users");
        users.insert_one(doc! {"_id": id}).await.unwrap();
    }
}

fn ids(records: &[Record]) -> Vec<i64> {
    let id = |record: &Record| record.key["_id"].as_i64().unwrap();
    records.iter().map(id).collect()
}
