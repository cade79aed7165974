//! What is said on the command line; `scripts/bench` says most of it.

use std::path::PathBuf;
use std::time::Duration;

#[derive(clap::Args, Clone)]
pub struct Settings {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/tailwater")]
    pub tailwater: PathBuf,
    /// Another build, which takes turns with the first in `drain` and `latency`, as NAME=PATH.
    #[arg(long, value_name = "NAME=PATH", value_parser = variable)]
    pub beside: Vec<(String, String)>,
    /// The folder of `scripts/bench install` with the connectors; without it they are left out.
    #[arg(long)]
    pub peers: Option<PathBuf>,
    /// The folder with the jars of Kafka and Connect.
    #[arg(long, default_value = ".")]
    pub kafka_jars: PathBuf,
    /// Turns of every subject, instead of three.
    #[arg(long)]
    pub turns: Option<usize>,
    /// Most turns of the connectors, which take longer.
    #[arg(long, default_value_t = 3)]
    pub peer_turns: usize,
    /// Fewer events everywhere: shows that all works, and roughly how it stands.
    #[arg(long)]
    pub short: bool,
    /// Events waiting, or sent in a turn, instead of the measurement's own number.
    #[arg(long)]
    pub events: Option<u64>,
    /// How many of a hundred events are updates, for `drain`.
    #[arg(long, default_value_t = 0)]
    pub updates: u64,
    /// Inserts a second, where they come steadily.
    #[arg(long, default_value_t = 1_000)]
    pub rate: u32,
    /// How long `steady` goes on, and Kafka stands still in `memory`, instead of their own times.
    #[arg(long)]
    pub minutes: Option<f64>,
    /// Numbers of clients of live changes, separated by commas, instead of the measurement's own.
    #[arg(long, value_delimiter = ',')]
    pub clients: Vec<usize>,
    /// Numbers of partitions, separated by commas, instead of the measurement's own.
    #[arg(long, value_delimiter = ',')]
    pub partitions: Vec<i32>,
    /// The address of an Apicurio registry of schemas, for `formats`.
    #[arg(long)]
    pub schema_registry: Option<String>,
    /// Of records, for every subject.
    #[arg(long, default_value = "none")]
    pub compression: String,
    /// More variables for Tailwater, as NAME=VALUE.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = variable)]
    pub variables: Vec<(String, String)>,
    /// Where the servers are.
    #[arg(long)]
    pub mongodb_uri: String,
    #[arg(long)]
    pub kafka_brokers: String,
    /// Logs, files of the subjects and results go here.
    #[arg(long, default_value = "bench/out")]
    pub folder: PathBuf,
}

impl Settings {
    /// How many events a measurement has: what was asked for, else its own number.
    pub fn events(&self, full: u64, short: u64) -> u64 {
        self.events.unwrap_or(if self.short { short } else { full })
    }

    /// How many turns a measurement has; `short` of them where few events show only that all works.
    pub fn turns(&self, short: usize) -> usize {
        self.turns.unwrap_or(if self.short { short } else { 3 })
    }

    /// How many seconds something goes on: what was asked for, else its own number of minutes.
    pub fn seconds(&self, full: f64, short: f64) -> u64 {
        let minutes = self
            .minutes
            .unwrap_or(if self.short { short } else { full });
        Duration::from_secs_f64(minutes * 60.0).as_secs()
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=');
    let (name, value) = parts.ok_or("it has no `=`")?;
    Ok((name.to_owned(), value.to_owned()))
}
