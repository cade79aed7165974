//! `tailwater compare`: whether two watchers of one source have written the same.

use super::ask::NO;
use super::verify::{HowArgs, UNFINISHED};
use crate::config::Kafka;
use crate::error::{Code, Error};
use crate::verify::compare::{self, Format, Map, Settings, Side};
use crate::verify::progress::Progress;
use clap::ValueEnum;
use jiff::Timestamp;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(
    after_help = "Exit codes: 0 if all that both had the time to write is the same, 1 if something differs, 20 if one \
                        side has nothing to compare, otherwise as of every command.\n\nThe topics are read from KAFKA_BROKERS. \
                        docs/verify.md says what is compared, and how."
)]
pub struct CompareArgs {
    /// The topics of the first watcher
    #[arg(long, value_delimiter = ',', required = true, value_name = "TOPIC")]
    a: Vec<String>,
    /// The topics of the second watcher
    #[arg(long, value_delimiter = ',', required = true, value_name = "TOPIC")]
    b: Vec<String>,
    /// In which format the first writes
    #[arg(long, value_enum, default_value_t = FormatName::Tailwater, value_name = "FORMAT")]
    format_a: FormatName,
    /// In which format the second writes
    #[arg(long, value_enum, default_value_t = FormatName::Tailwater, value_name = "FORMAT")]
    format_b: FormatName,
    /// Where the records of a custom format have what is compared: operation, database, collection, id, document and
    /// time, as operation=op,id=key._id,document=data.after,database==shop
    #[arg(long, value_delimiter = ',', value_name = "NAME=PATH")]
    map: Vec<String>,
    /// Leave out what happened before this time, as 2024-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    #[command(flatten)]
    how: HowArgs,
    /// How many changes of each collection to name
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatName {
    Tailwater,
    Debezium,
    MongoKafka,
    Custom,
}

impl FormatName {
    fn format(self, map: &Map) -> Format {
        match self {
            Self::Tailwater => Format::Tailwater,
            Self::Debezium => Format::Debezium,
            Self::MongoKafka => Format::MongoKafka,
            Self::Custom => Format::Custom(map.clone()),
        }
    }
}

/// Carries the command out; the exit code.
///
/// # Errors
/// What made it impossible to compare.
pub async fn run(args: &CompareArgs, kafka: Kafka) -> Result<u8, Error> {
    let wrong = |detail: String| Error::new(Code::Config, format!("--map: {detail}"));
    let map = Map::read(&args.map).map_err(wrong)?;
    if !args.map.is_empty() && ![args.format_a, args.format_b].contains(&FormatName::Custom) {
        return Err(wrong(
            "it is for --format-a or --format-b custom; the other formats are known".into(),
        ));
    }
    let settings = Settings {
        a: Side {
            topics: args.a.clone(),
            format: args.format_a.format(&map),
        },
        b: Side {
            topics: args.b.clone(),
            format: args.format_b.format(&map),
        },
        since: args.since.map(Timestamp::as_millisecond),
        memory: args.how.memory,
        work_dir: args.how.work_dir.clone(),
        limit: args.limit,
    };
    let progress = Arc::new(Progress::default());
    let counts = Arc::clone(&progress);
    let compared = tokio::task::spawn_blocking(move || compare::run(&settings, &kafka, &counts));
    let lost = |why| Error::new(Code::Internal, "the comparison was abandoned").because(why);
    let compared = tokio::select! {
        compared = compared => compared.map_err(lost)?,
        () = progress.show() => Err(Error::new(Code::Internal, "the progress has ended")),
    };
    progress.end();
    let found = compared?;
    let printed = args.how.print(
        |with_documents| found.to_text(with_documents),
        |with_documents| found.to_json(with_documents),
    );
    Ok(match printed {
        0 if found.is_empty() => UNFINISHED,
        0 if !found.is_equal() => NO,
        printed => printed,
    })
}
