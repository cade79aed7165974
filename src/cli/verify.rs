//! `tailwater verify`: whether Kafka holds what MongoDB holds.

use super::ask::{Instance, NO};
use super::{Chosen, Output, StreamArg, complain, print};
use crate::config::Endpoint;
use crate::error::{Code, Error};
use crate::process;
use crate::verify::entry::Sample;
use crate::verify::report::{Outcome, Report};
use crate::verify::{self, REPAIRED, Repairs, Settings};
use bson::{Bson, Document};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

/// The exit code of a comparison that found no difference, and could not judge all in time.
pub(super) const UNFINISHED: u8 = 20;

#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(
    after_help = "Exit codes: 0 if all that can be judged is equal, 1 if something differs, 20 if nothing differs and \
                        something could not be judged in time, otherwise as of every command. docs/verify.md says what \
                        is compared, and how."
)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub which: StreamArg,
    /// Only these collections: names or patterns with *, with their database or without
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    collection: Vec<String>,
    /// Only documents that MongoDB finds with this query, in Extended JSON; what only Kafka has is then not looked for
    #[arg(long, value_name = "QUERY")]
    filter: Option<String>,
    /// Only a part of the documents, as 1%: always the same ones
    #[arg(long, value_name = "PART", value_parser = Sample::read, default_value = "100%")]
    sample: Sample,
    #[command(flatten)]
    how: HowArgs,
    /// How many seconds to wait for the stream to get as far as MongoDB
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    /// How many documents of each collection to name
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
    /// The stream has seen every document, so that one without a record is missing and not just older than the stream
    #[arg(long)]
    complete: bool,
    /// Let the running instance send what is missing or different once more, as rows of a snapshot
    #[arg(long)]
    repair: bool,
}

/// How something is compared and told, for both commands that do.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(super) struct HowArgs {
    /// How to print what was found
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Print the values that differ, and not only where they are
    #[arg(long)]
    show_documents: bool,
    /// About how much memory may be used; what needs more goes to disk
    #[arg(long, value_name = "BYTES", value_parser = bytes, default_value = "64MiB")]
    pub(super) memory: usize,
    /// Where what goes to disk is kept meanwhile; the system's folder for temporary files without it
    #[arg(long, value_name = "FOLDER")]
    pub(super) work_dir: Option<PathBuf>,
}

impl HowArgs {
    /// Prints what was found, given whether with documents; the exit code.
    pub(super) fn print(
        &self,
        text: impl FnOnce(bool) -> String,
        json: impl FnOnce(bool) -> serde_json::Value,
    ) -> u8 {
        print(&match self.output {
            Output::Text => text(self.show_documents),
            Output::Json => format!("{:#}\n", json(self.show_documents)),
        })
    }
}

/// Carries the command out; the exit code.
///
/// # Errors
/// What made it impossible to compare.
pub async fn run(args: &VerifyArgs, chosen: Chosen<'_>) -> Result<u8, Error> {
    let settings = Settings {
        collections: args.collection.clone(),
        filter: args.filter.as_deref().map(query).transpose()?,
        sample: args.sample,
        memory: args.how.memory,
        work_dir: args.how.work_dir.clone(),
        wait: Duration::from_secs(args.wait),
        limit: args.limit,
        is_complete: args.complete,
    };
    let Chosen { config, stream } = chosen;
    let client = process::connect(&config.mongo, &stream.id, 1).await?;
    let (report, repairs) = Box::pin(verify::run(&settings, config, stream, &client)).await?;
    let printed = args.how.print(
        |with_documents| report.to_text(with_documents),
        |with_documents| report.to_json(with_documents),
    );
    if args.repair {
        return tokio::task::block_in_place(|| repair(chosen, &report, &repairs));
    }
    Ok(match (printed, report.outcome()) {
        (0, Outcome::Different) => NO,
        (0, Outcome::Unfinished) => UNFINISHED,
        (printed, _) => printed,
    })
}

/// How many `_id`s one call may name, and in how many bytes.
const IDS: usize = 1_000;
const BYTES: usize = 256 << 10;

/// Asks the instance here to send documents again, so that they take their place in its order.
fn repair(chosen: Chosen<'_>, report: &Report, repairs: &Repairs) -> Result<u8, Error> {
    let refused = |why: String| Error::new(Code::Config, format!("--repair: {why}"));
    if repairs.is_empty() {
        complain("nothing is missing or different, so that there is nothing to send again");
    } else {
        let instance = Instance::at(&Endpoint::of(chosen.config)).map_err(refused)?;
        for (of, ids) in repairs {
            for portion in portions(ids) {
                let mut body = json!({
                    "collection": of.to_string(),
                    "filter": {"_id": {"$in": portion}},
                });
                if let Some(name) = &chosen.stream.given_name {
                    body["stream"] = json!(name);
                }
                let sent = instance.post("/api/snapshots", &body.to_string());
                sent.map_err(|why| {
                    refused(format!("the running instance does not send them: {why}"))
                })?;
            }
            complain(&format!("{of}: {} documents are sent again", ids.len()));
        }
    }
    let extra: u64 = report.collections.values().map(|it| it.extra).sum();
    if extra > 0 {
        complain(&format!(
            "{extra} documents that only Kafka has cannot be repaired: nothing in MongoDB has changed, so that there is no \
             change to send. Delete them where the topics are read, or insert and delete them in MongoDB once more"
        ));
    }
    let found: u64 = report
        .collections
        .values()
        .map(|it| it.missing + it.different)
        .sum();
    if found > REPAIRED as u64 {
        complain(&format!(
            "only the first {REPAIRED} are sent again: verify once more when they have arrived"
        ));
    }
    Ok(match report.outcome() {
        Outcome::Equal => 0,
        Outcome::Different => NO,
        Outcome::Unfinished => UNFINISHED,
    })
}

fn portions(ids: &[Bson]) -> Vec<Vec<serde_json::Value>> {
    let mut portions = vec![Vec::new()];
    let mut bytes = 0;
    for id in ids {
        let id = id.clone().into_canonical_extjson();
        let len = id.to_string().len();
        let last = portions.last().map_or(0, Vec::len);
        if last >= IDS || (last > 0 && bytes + len > BYTES) {
            portions.push(Vec::new());
            bytes = 0;
        }
        bytes += len;
        if let Some(last) = portions.last_mut() {
            last.push(id);
        }
    }
    portions
}

fn query(text: &str) -> Result<Document, Error> {
    serde_json::from_str(text).map_err(|_| {
        let detail = "--filter is a query in Extended JSON, such as {\"status\": \"open\"}";
        Error::new(Code::Config, detail)
    })
}

/// Reads a number of bytes, as `67108864` or `64MiB`.
fn bytes(text: &str) -> Result<usize, String> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("", 0)];
    let unit = units
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)));
    let number = unit
        .and_then(|(number, shift)| number.trim().parse::<usize>().ok()?.checked_mul(1 << shift));
    match number {
        Some(bytes) if bytes >= LEAST => Ok(bytes),
        _ => Err("a number of bytes from 8MiB on, as 67108864 or 64MiB".to_owned()),
    }
}

const LEAST: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_number_of_bytes_with_a_unit_or_without() {
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("10000000"), Ok(10_000_000));
        for wrong in [
            "",
            "MiB",
            "1KiB",
            "-8MiB",
            "8 MB",
            "99999999999999999999GiB",
        ] {
            assert!(bytes(wrong).unwrap_err().contains("64MiB"), "{wrong}");
        }
    }

    #[test]
    fn ids_are_sent_in_portions_of_a_bounded_size() {
        let small: Vec<_> = (0..2_500).map(Bson::Int32).collect();
        let sizes: Vec<_> = portions(&small).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1000, 1000, 500]);
        let large = vec![Bson::String("x".repeat(200 << 10)); 3];
        assert_eq!(portions(&large).len(), 3);
    }
}
