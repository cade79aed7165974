//! `tailwater streams`: which instance has which stream, and giving one to another.

use super::ask::{Instance, PATIENCE, POLL, not_yet, query};
use super::status::word;
use super::{Output, ask};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::thread;
use std::time::Instant;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct StreamsArgs {
    #[command(subcommand)]
    command: StreamsCommand,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum StreamsCommand {
    /// Show every stream, and which instance has it
    List {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Move a stream to an instance, which keeps it while it is alive; wait until it runs there
    Move {
        /// The stream: its name in STREAMS, or its id
        #[arg(value_name = "NAME")]
        stream: String,
        /// The instance, as `tailwater streams list` names it, or the beginning of its name
        #[arg(long, value_name = "INSTANCE")]
        to: String,
    },
    /// Give a stream to the instance that has the fewest; wait until it runs there
    Release {
        /// The stream: its name in STREAMS, or its id
        #[arg(value_name = "NAME")]
        stream: String,
    },
}

/// Asks the instance here; the exit code.
pub(super) fn answer(args: &StreamsArgs) -> u8 {
    ask(|instance: &Instance| -> Result<String, String> {
        match &args.command {
            StreamsCommand::List { output } => {
                let said = instance.get(PATH)?;
                Ok(match output {
                    Output::Text => list(&said),
                    Output::Json => format!("{said:#}"),
                })
            }
            StreamsCommand::Move { stream, to } => {
                let path = query("/admin/streams/move", &[("stream", stream), ("to", to)]);
                moved(instance, stream, &path, Some(to))
            }
            StreamsCommand::Release { stream } => {
                let path = query("/admin/streams/release", &[("stream", stream)]);
                moved(instance, stream, &path, None)
            }
        }
    })
}

const PATH: &str = "/health/subscriptions";

/// Asks for a move, and waits until another instance has the stream.
fn moved(
    instance: &Instance,
    stream: &str,
    path: &str,
    to: Option<&str>,
) -> Result<String, String> {
    // Also where only other instances are configured for it.
    let suffix = format!(":{stream}");
    let is_meant = |row: &&Value| {
        let id = row["stream"].as_str().unwrap_or_default();
        id == stream || id.ends_with(&suffix)
    };
    let owner = || -> Result<Option<String>, String> {
        let said = instance.get(PATH)?;
        let row = said["subscriptions"].as_array().into_iter().flatten();
        let owner = row
            .filter(is_meant)
            .find_map(|row| row["owner"].as_str().map(str::to_owned));
        Ok(owner)
    };
    let before = owner()?;
    instance.post(path, "")?;
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let is_there = |now: &String| match to {
            Some(to) => now.starts_with(to),
            None => Some(now) != before.as_ref(),
        };
        if let Some(now) = owner().ok().flatten().filter(is_there) {
            return Ok(format!("{now} has the stream now"));
        }
        thread::sleep(POLL);
    }
    Err(not_yet())
}

/// A line for each stream, and one for each instance.
fn list(said: &Value) -> String {
    let rows = |field: &str| said[field].as_array().cloned().unwrap_or_default();
    if said["instance"].is_null() {
        return "COORDINATION=none: every stream runs here".to_owned();
    }
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        other => word(other),
    };
    let mut table =
        vec![["stream", "owner", "since", "epoch", "hand-overs", "state"].map(str::to_owned)];
    for row in rows("subscriptions") {
        let owner = match (&row["owner"], &row["previousOwner"]) {
            (Value::Null, Value::String(last)) => format!("nobody; last {last}"),
            (Value::Null, _) => "nobody".to_owned(),
            (owner, _) => word(owner),
        };
        table.push([
            word(&row["stream"]),
            owner,
            text(&row["ownedSince"]),
            text(&row["epoch"]),
            text(&row["handOvers"]),
            word(&row["state"]),
        ]);
    }
    let mut out = aligned(&table);
    let mut table =
        vec![["instance", "version", "last heartbeat", "streams", ""].map(str::to_owned)];
    for row in rows("instances") {
        let note = match (&row["mine"], &row["leaving"]) {
            (_, Value::Bool(true)) => "leaving",
            (Value::Bool(true), _) => "this one",
            _ => "",
        };
        let streams = row["streams"].as_array().map_or(0, Vec::len);
        table.push([
            word(&row["instance"]),
            word(&row["version"]),
            text(&row["lastHeartbeat"]),
            streams.to_string(),
            note.to_owned(),
        ]);
    }
    let _ = write!(out, "\n\n{}", aligned(&table));
    if let Some(why) = said["unreachable"].as_str() {
        // Writing to a string does not fail.
        let _ = write!(out, "\n\nas last seen; it cannot be reached now: {why}");
    }
    out
}

/// Columns with two spaces between them.
pub(super) fn aligned<const N: usize>(table: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in table {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    let lines: Vec<_> = table.iter().map(line).collect();
    lines.join("\n")
}

/// Who has the stream, for `tailwater status`.
pub(super) fn owner(of: &Value) -> Option<String> {
    let ownership = of.get("owner")?;
    Some(match ownership.as_str() {
        Some(_) if of["mine"] == json!(true) => "here".to_owned(),
        Some(owner) => owner.to_owned(),
        None => "nobody".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_and_every_instance_has_a_line() {
        let said = json!({
            "instance": "a/1-0f",
            "subscriptions": [
                {"stream": "w:shop", "owner": "b/2-0e", "mine": false, "ownedSince": "2026-01-01T00:00:00.000Z",
                    "epoch": 4, "handOvers": 3, "state": "standby"},
                {"stream": "w:tenants", "owner": null, "previousOwner": "b/2-0e", "ownedSince": null,
                    "epoch": 1, "handOvers": 0, "state": "unowned"},
            ],
            "instances": [
                {"instance": "a/1-0f", "mine": true, "version": "0.1.0", "streams": [], "leaving": false,
                    "lastHeartbeat": "2026-01-01T00:00:01.000Z"},
                {"instance": "b/2-0e", "mine": false, "version": "0.1.0", "streams": ["w:shop"],
                    "leaving": true, "lastHeartbeat": null},
            ],
        });
        let wanted = "\
stream     owner                since                     epoch  hand-overs  state
w:shop     b/2-0e               2026-01-01T00:00:00.000Z  4      3           standby
w:tenants  nobody; last b/2-0e  -                         1      0           unowned

instance  version  last heartbeat            streams
a/1-0f    0.1.0    2026-01-01T00:00:01.000Z  0        this one
b/2-0e    0.1.0    -                         1        leaving";
        assert_eq!(list(&said), wanted);
    }
}
