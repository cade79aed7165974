//! Side-by-side measurements against real servers; `scripts/bench` builds and starts it.
//!
//! Every subject gets the same oplog, the same broker, one topic of one partition, and its own default
//! settings. Subjects take turns (A B A B), so that what else the machine does falls on all of them.

mod drain;
mod kafka;
mod latency;
mod load;
mod process;
mod raw;
mod report;
mod subject;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

type Fallible<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

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
    /// Documents are inserted at a steady rate; how long is each on its way?
    Latency(Settings),
    /// Reads the stream and produces nothing (started by `drain`, in a process of its own).
    #[command(hide = true)]
    Raw(raw::Settings),
}

#[derive(clap::Args, Clone)]
struct Settings {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/tailwater")]
    tailwater: PathBuf,
    /// The folder of `scripts/bench install` with the connectors; without it they are left out.
    #[arg(long)]
    peers: Option<PathBuf>,
    /// The folder with the jars of Kafka and Connect.
    #[arg(long, default_value = ".")]
    kafka_jars: PathBuf,
    /// Turns of every subject.
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Turns of the connectors, which take longer.
    #[arg(long, default_value_t = 1)]
    peer_turns: usize,
    /// Events waiting, or sent in a turn.
    #[arg(long, default_value_t = 300_000)]
    events: u64,
    /// How many of a hundred events are updates.
    #[arg(long, default_value_t = 0)]
    updates: u64,
    /// Inserts a second, for latency.
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// More variables for Tailwater, as NAME=VALUE.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// Where the servers are.
    #[arg(long)]
    mongodb_uri: String,
    #[arg(long)]
    kafka_brokers: String,
    /// Logs and files of the subjects go here.
    #[arg(long, default_value = "bench/out")]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> Fallible {
    match Arguments::parse().what {
        What::Drain(settings) => drain::run(&settings).await,
        What::Latency(settings) => latency::run(&settings).await,
        What::Raw(settings) => raw::run(&settings).await,
    }
}
