//! `tailwater schedules`: shows the schedules and when they are due, and makes a job of one now.

use super::ask::{Instance, query};
use super::status::word;
use super::{Output, ask, files, print};
use crate::api::escaped;
use crate::schedule::{Schedule, fields, file};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SchedulesArgs {
    #[command(subcommand)]
    command: SchedulesCommand,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
enum SchedulesCommand {
    /// Show every schedule, how it is, and when it is due next
    List {
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Show when schedules are due next
    Next {
        /// Only the one of this name
        name: Option<String>,
        /// How many times of each
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
        count: u8,
    },
    /// Make a record of a schedule's job now; when it is due next stays as it is
    Run { name: String },
    /// Check files of schedules, without a server: exit code 2 where something is wrong
    Lint {
        /// YAML or JSON files; - for the standard input
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print the JSON Schema of files of schedules
    Schema,
}

const PATH: &str = "/api/schedules";

/// Asks the instance here; the exit code.
pub(super) fn answer(args: &SchedulesArgs) -> u8 {
    match &args.command {
        SchedulesCommand::Lint { files } => return lint(files),
        SchedulesCommand::Schema => return print(&format!("{:#}\n", fields::schema())),
        _ => {}
    }
    ask(|instance: &Instance| -> Result<String, String> {
        match &args.command {
            SchedulesCommand::List { output } => {
                let said = listed(instance, PATH)?;
                Ok(match output {
                    Output::Json => format!("{said:#}"),
                    Output::Text => list(&said),
                })
            }
            SchedulesCommand::Next { name, count } => {
                let count = count.to_string();
                let mut asked = vec![("times", count.as_str())];
                asked.extend(name.as_deref().map(|name| ("name", name)));
                Ok(next(&listed(instance, &query(PATH, &asked))?))
            }
            SchedulesCommand::Run { name } => {
                let path = format!("{PATH}/{}/run", escaped(name));
                let done = instance.call(&path, &json!({}))?;
                Ok(format!("{name}: made the record {}", word(&done["id"])))
            }
            SchedulesCommand::Lint { .. } | SchedulesCommand::Schema => {
                Err("this needs no instance".to_owned())
            }
        }
    })
}

fn lint(paths: &[PathBuf]) -> u8 {
    files::lint(paths, |path| {
        let text = files::text(path).map_err(|sentence| vec![sentence])?;
        let right = file::lint(path, &text)?;
        let line = |schedule: &Schedule| {
            let (timing, topic) = (schedule.timing(), &schedule.topic);
            format!("{}: {timing} -> {topic}", schedule.name)
        };
        Ok(right.iter().map(line).collect())
    })
}

fn listed(instance: &Instance, path: &str) -> Result<Value, String> {
    let said = instance.get(path)?;
    match said["schedules"].is_array() {
        true => Ok(said),
        false => Err(said["detail"]
            .as_str()
            .unwrap_or("this is no Tailwater with schedules")
            .to_owned()),
    }
}

fn rows(said: &Value) -> impl Iterator<Item = &Value> {
    said["schedules"].as_array().into_iter().flatten()
}

fn list(said: &Value) -> String {
    let mut out = format!("schedules are {} here", word(&said["state"]));
    if let Some(owner) = said["owner"].as_str() {
        let _ = write!(out, "; {owner} has them");
    }
    for row in rows(said) {
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "\n{}: {}, {} -> {}",
            word(&row["name"]),
            word(&row["state"]),
            word(&row["timing"]),
            word(&row["topic"])
        );
        if let Some(next) = row["times"][0].as_str() {
            let _ = write!(out, ", next {next}");
        }
        if let Some(last) = row["last"].as_str() {
            let _ = write!(out, ", last {last}");
        }
        if let Some(reason) = row["reason"].as_str() {
            let _ = write!(out, "\n  {reason}");
        }
    }
    out
}

fn next(said: &Value) -> String {
    let mut times: Vec<(String, String)> = Vec::new();
    for row in rows(said) {
        let of = row["times"].as_array().into_iter().flatten();
        times.extend(of.map(|time| (word(time), word(&row["name"]))));
    }
    times.sort();
    let lines: Vec<_> = times
        .iter()
        .map(|(time, name)| format!("{time}  {name}"))
        .collect();
    match lines.is_empty() {
        true => "nothing is due".to_owned(),
        false => lines.join("\n"),
    }
}
