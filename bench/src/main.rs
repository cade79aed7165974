//! Side-by-side measurements against real servers; `scripts/bench` builds and starts it.
//!
//! Every subject gets the same oplog, the same broker, one topic of one partition, the same
//! acknowledgements and compression, and otherwise its own default settings. Subjects take turns
//! (A B A B), so that what else the machine does falls on all of them.

mod case;
mod connector;
mod drain;
mod endurance;
mod error;
mod kafka;
mod latency;
mod live;
mod load;
mod process;
mod produce;
mod proxy;
mod raw;
mod receiver;
mod record;
mod report;
mod scrape;
mod servers;
mod settings;
mod snapshot;
mod start;
mod stream;
mod streams;
mod subject;
mod workers;

use clap::{Parser, Subcommand};
use error::Fallible;
use settings::Settings;
use std::path::PathBuf;

#[derive(Parser)]
#[command(about = "Measures Tailwater beside its peers")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Documents wait in the oplog; how fast do they get to Kafka?
    Drain(Settings),
    /// The same with documents of 250 B to 250 KB.
    Sizes(Settings),
    /// The same with 1 to 500 collections, as a whole database and by their names.
    Collections(Settings),
    /// The same with updates of 10 to 1,000,000 documents.
    Keys(Settings),
    /// The same at least once and exactly once.
    ExactlyOnce(Settings),
    /// The same exactly once with 1 to 900 partitions.
    Partitions(Settings),
    /// The same with every kind of compression.
    Compression(Settings),
    /// The same in each format and serialization, each beside the connector that has it.
    Formats(Settings),
    /// The same with acknowledgements that come 0, 10 and 100 ms later.
    Acks(Settings),
    /// The same with metrics that are asked for, and without.
    Metrics(Settings),
    /// From the start of the process to the first record.
    Start(Settings),
    /// A steady rate for a long time: does CPU per event stay?
    Steady(Settings),
    /// Kafka stands still for minutes: does memory stay?
    Memory(Settings),
    /// Documents are inserted at a steady rate; how long is each on its way?
    Latency(Settings),
    /// 100, 1,000 and 10,000 clients of live changes.
    Live(Settings),
    /// A million documents that are there already, in ten collections.
    Snapshot(Settings),
    /// 1, 10 and 100 streams in one process, at rest.
    Streams(Settings),
    /// Jobs that wait, for a service that takes 1, 10 and 100 ms, 5, 50 and 500 at a time.
    Workers(Settings),
    /// Writes the report of all that was measured.
    Report {
        #[arg(long, default_value = "bench/out")]
        folder: PathBuf,
    },
    /// Reads the stream and produces nothing, or its raw BSON (in a process of its own).
    #[command(hide = true)]
    Raw(raw::Settings),
}

#[tokio::main]
async fn main() -> Fallible {
    let (mode, cases, settings): (_, fn(&Settings) -> _, _) = match Arguments::parse().what {
        What::Drain(settings) => ("drain", case::drain, settings),
        What::Sizes(settings) => ("sizes", case::sizes, settings),
        What::Collections(settings) => ("collections", case::collections, settings),
        What::Keys(settings) => ("keys", case::keys, settings),
        What::ExactlyOnce(settings) => ("exactly-once", case::exactly_once, settings),
        What::Partitions(settings) => ("partitions", case::partitions, settings),
        What::Formats(settings) => ("formats", case::formats, settings),
        What::Compression(settings) => ("compression", case::compression, settings),
        What::Acks(settings) => ("acks", case::acks, settings),
        What::Metrics(settings) => ("metrics", case::metrics, settings),
        What::Start(settings) => return start::run(&at_home(settings)?).await,
        What::Steady(settings) => return endurance::steady(&at_home(settings)?).await,
        What::Memory(settings) => return endurance::memory(&at_home(settings)?).await,
        What::Latency(settings) => return latency::run(&at_home(settings)?).await,
        What::Live(settings) => return live::run(&at_home(settings)?).await,
        What::Snapshot(settings) => return snapshot::run(&at_home(settings)?).await,
        What::Streams(settings) => return streams::run(&at_home(settings)?).await,
        What::Workers(settings) => return workers::run(&at_home(settings)?).await,
        What::Report { folder } => return report::write(&folder),
        What::Raw(settings) => return raw::run(&settings).await,
    };
    let settings = at_home(settings)?;
    drain::run(&settings, mode, &cases(&settings)).await
}

/// The settings with the folder made, if it was missing, and as an absolute path.
fn at_home(settings: Settings) -> Fallible<Settings> {
    std::fs::create_dir_all(&settings.folder)?;
    Ok(Settings {
        folder: std::fs::canonicalize(&settings.folder)?,
        ..settings
    })
}
