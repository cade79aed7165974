//! What is around listeners: how they are made, kept as code, and seen.

mod code;
mod rights;
mod seen;
mod start;

use crate::support::{Database, Exit, Kafka, Setup, Tailwater, unique};
use bson::{Document, doc};

/// A setup with the listeners of `db` itself.
fn listening(db: &Database, kafka: &Kafka) -> Setup {
    Tailwater::on(db, kafka)
        .env("LISTENERS_COLLECTION", format!("{}.listeners", db.name()))
        .env("LISTENERS_TOPICS", "jobs.*")
        .env("RESUME_TOPIC", unique("checkpoints"))
        .env("COMMIT_INTERVAL_MS", "50")
}

fn listener(db: &Database, id: &str, collection: &str) -> Document {
    doc! {
        "_id": id, "collection": collection, "jobName": id, "topic": topic(db, id), "operationType": ["insert"],
    }
}

fn topic(db: &Database, id: &str) -> String {
    format!("jobs.{}.{id}", db.name())
}

/// Writes a file into the working directory of the setup.
fn file(setup: &Setup, name: &str, text: &str) -> String {
    let path = setup.folder().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Runs a `tailwater listeners` command.
async fn command(setup: &Setup, args: &[&str]) -> Exit {
    let args: Vec<_> = ["listeners"].iter().chain(args).copied().collect();
    setup.clone().args(&args).run().await
}
