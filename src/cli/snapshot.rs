//! `tailwater snapshot`: starts, stops and follows snapshots of the instance here.

use super::ask::Instance;
use super::status::word;
use super::{Output, ask};
use clap::{Args, Subcommand};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::thread;
use std::time::{Duration, Instant};

/// How often a snapshot that is followed is looked at.
const POLL: Duration = Duration::from_millis(500);

/// How often there is a line where the output is no terminal.
const LINE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SnapshotArgs {
    #[command(subcommand)]
    command: SnapshotCommand,
    #[command(flatten)]
    which: super::StreamArg,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum SnapshotCommand {
    /// Copy what is there: a collection, or all that SNAPSHOT_COLLECTIONS says
    Start {
        /// The collection; as database.collection where the stream watches several databases
        #[arg(long, value_name = "NAME")]
        collection: Option<String>,
        /// Which of its documents: a query of MongoDB, in Extended JSON
        #[arg(long, value_name = "JSON", requires = "collection")]
        filter: Option<String>,
        /// Wait until it is complete
        #[arg(long)]
        follow: bool,
    },
    /// Stop a snapshot; what was copied stays
    Stop,
    /// Pause a snapshot; the stream continues
    Pause,
    /// Continue a paused snapshot
    Resume,
    /// Show how far snapshots are
    Status {
        /// Wait until all are over
        #[arg(long)]
        follow: bool,
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
}

const PATH: &str = "/api/snapshots";

/// Asks the instance here; the exit code.
pub(super) fn answer(args: &SnapshotArgs) -> u8 {
    let stream = args.which.stream.as_deref();
    ask(|instance: &Instance| -> Result<String, String> {
        let steer = |what: &str| {
            let done = instance.call(&format!("{PATH}/{what}"), &json!({ "stream": stream }))?;
            Ok::<_, String>(word(&done["snapshot"]))
        };
        match &args.command {
            SnapshotCommand::Start {
                collection,
                filter,
                follow,
            } => {
                let filter: Option<Value> = filter
                    .as_deref()
                    .map(serde_json::from_str)
                    .transpose()
                    .map_err(|error| format!("--filter: is no JSON: {error}"))?;
                let body = json!({ "stream": stream, "collection": collection, "filter": filter });
                let done = instance.call(PATH, &without_nulls(body))?;
                let id = word(&done["snapshot"]);
                match follow {
                    true => followed(instance, stream, Some(&id)),
                    false => Ok(format!(
                        "snapshot {id} has begun; `tailwater snapshot status` shows how far it is"
                    )),
                }
            }
            SnapshotCommand::Stop => Ok(format!("snapshot {} is stopped", steer("stop")?)),
            SnapshotCommand::Pause => Ok(format!("snapshot {} is paused", steer("pause")?)),
            SnapshotCommand::Resume => Ok(format!("snapshot {} continues", steer("resume")?)),
            SnapshotCommand::Status {
                follow: true,
                output: _,
            } => followed(instance, stream, None),
            SnapshotCommand::Status { output, .. } => {
                let shown = of(instance, stream)?;
                Ok(match output {
                    Output::Json => format!("{:#}", json!({ "snapshots": shown })),
                    Output::Text => text(&shown),
                })
            }
        }
    })
}

/// A field that is null is not given.
fn without_nulls(mut body: Value) -> Value {
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    body
}

/// The snapshots of the streams that are meant.
fn of(instance: &Instance, stream: Option<&str>) -> Result<Vec<Value>, String> {
    let listed = instance.get(PATH)?;
    let all = listed["snapshots"].as_array().cloned().unwrap_or_default();
    let is_meant = |snapshot: &Value| {
        stream.is_none_or(|name| {
            let id = snapshot["stream"].as_str().unwrap_or_default();
            id == name || id.ends_with(&format!(":{name}"))
        })
    };
    Ok(all.into_iter().filter(is_meant).collect())
}

/// The collections that could not be copied.
fn skipped(snapshot: &Value) -> Vec<String> {
    let all = snapshot["skipped"].as_array().into_iter().flatten();
    all.map(word).collect()
}

fn is_over(snapshot: &Value) -> bool {
    ["finished", "stopped"].contains(&snapshot["state"].as_str().unwrap_or_default())
}

/// Shows how far the snapshots are until they are over, or the one of this id is: bars on a terminal, lines elsewhere.
fn followed(instance: &Instance, stream: Option<&str>, id: Option<&str>) -> Result<String, String> {
    let is_terminal = std::io::stderr().is_terminal();
    let bars = MultiProgress::new();
    let mut shown: BTreeMap<String, ProgressBar> = BTreeMap::new();
    let mut line = Instant::now();
    loop {
        let mut snapshots = of(instance, stream)?;
        snapshots.retain(|snapshot| id.is_none_or(|id| snapshot["id"] == id));
        if snapshots.iter().all(is_over) {
            drop(bars.clear());
            return match snapshots.iter().find(|s| s["state"] == "stopped") {
                Some(stopped) => Err(format!("snapshot {} was stopped", word(&stopped["id"]))),
                None if snapshots.iter().any(|s| !skipped(s).is_empty()) => Err(text(&snapshots)),
                None => Ok(text(&snapshots)),
            };
        }
        if is_terminal {
            show(&bars, &mut shown, &snapshots);
        } else if line.elapsed() >= LINE {
            line = Instant::now();
            super::complain(&text(&snapshots));
        }
        thread::sleep(POLL);
    }
}

/// A bar for each collection that is being read.
fn show(bars: &MultiProgress, shown: &mut BTreeMap<String, ProgressBar>, snapshots: &[Value]) {
    let reading = snapshots.iter().flat_map(|snapshot| {
        let reading = snapshot["reading"].as_array().into_iter().flatten();
        reading.map(|each| (word(&each["collection"]), each))
    });
    let reading: BTreeMap<_, _> = reading.collect();
    shown.retain(|name, bar| {
        let is_read = reading.contains_key(name);
        if !is_read {
            bar.finish_and_clear();
        }
        is_read
    });
    for (name, each) in reading {
        let bar = shown.entry(name.clone()).or_insert_with(|| {
            let template = "{msg:30} {bar:30} {pos}/{len} {per_sec} {eta}";
            let style = ProgressStyle::with_template(template);
            let bar = bars.add(ProgressBar::new(0).with_message(name));
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        let rows = each["rows"].as_u64().unwrap_or_default();
        bar.set_length(each["total"].as_u64().unwrap_or_default().max(rows));
        bar.set_position(rows);
    }
}

/// A line for each, and one for each collection that is being read.
fn text(snapshots: &[Value]) -> String {
    if snapshots.is_empty() {
        return "no snapshot has been taken here".to_owned();
    }
    let mut out = String::new();
    for snapshot in snapshots {
        if !out.is_empty() {
            out.push('\n');
        }
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "{}: snapshot {} ({}) {}: {} rows of {} collections, {} left out because the stream brought them",
            word(&snapshot["stream"]),
            word(&snapshot["id"]),
            word(&snapshot["reason"]),
            word(&snapshot["state"]),
            word(&snapshot["rows"]),
            word(&snapshot["collections"]),
            word(&snapshot["leftOut"]),
        );
        if let Some(seconds) = snapshot["secondsLeft"].as_u64() {
            let _ = write!(out, ", about {seconds} s left");
        }
        let skipped = skipped(snapshot);
        if !skipped.is_empty() {
            let names = skipped.join(", ");
            let _ = write!(out, "\n  could not be copied, as the log says: {names}");
        }
        for each in snapshot["reading"].as_array().into_iter().flatten() {
            let total = each["total"].as_u64();
            let of = total.map_or_else(String::new, |total| format!(" of about {total}"));
            let _ = write!(
                out,
                "\n  {} {}{of}",
                word(&each["collection"]),
                word(&each["rows"])
            );
        }
        if let Some(why) = snapshot["problem"]["text"].as_str() {
            let since = word(&snapshot["problem"]["since"]);
            let _ = write!(out, "\n  nothing can be read since {since}: {why}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_told_with_what_is_being_read_and_what_is_in_its_way() {
        let snapshot = json!({
            "stream": "w:shop", "id": "1f", "reason": "initial", "state": "running", "rows": 12,
            "collections": 3, "leftOut": 1, "secondsLeft": 4,
            "skipped": ["shop.c", "shop.d"],
            "reading": [{"collection": "shop.a", "rows": 5, "total": 50}, {"collection": "shop.b", "rows": 2, "total": null}],
            "problem": {"text": "reading shop.a: not master", "since": "2026-01-01T00:00:00.000Z"},
        });
        let wanted = "\
w:shop: snapshot 1f (initial) running: 12 rows of 3 collections, 1 left out because the stream brought them, about 4 s left
  could not be copied, as the log says: shop.c, shop.d
  shop.a 5 of about 50
  shop.b 2
  nothing can be read since 2026-01-01T00:00:00.000Z: reading shop.a: not master";
        assert_eq!(text(&[snapshot]), wanted);
        assert_eq!(text(&[]), "no snapshot has been taken here");
    }
}
