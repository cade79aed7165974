//! `tailwater status`: one screen of how the instance here is.

use super::ask::{Instance, NO, of_stream};
use super::streams::owner;
use super::{Output, ask};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Asks and prints; 1 where the instance is unhealthy or not there.
pub(super) fn answer(stream: Option<&str>, output: Output) -> u8 {
    let mut is_well = true;
    let asked = ask(|instance: &Instance| -> Result<String, String> {
        let health = instance.get(&of_stream("/health/detailed", stream))?;
        instance.is_meant(&health)?;
        let status = instance.get(&of_stream("/status", stream))?;
        is_well = health["status"] != "unhealthy";
        Ok(match output {
            Output::Text if health["streams"].is_array() => several(&health, &status),
            Output::Text => text(&health, &status),
            Output::Json => format!("{:#}", json!({ "health": health, "status": status })),
        })
    });
    match is_well {
        true => asked,
        false => NO,
    }
}

pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".to_owned(),
        other => other.to_string(),
    }
}

fn head(health: &Value) -> String {
    let mut out = word(&health["status"]);
    if let Some(reason) = health["reason"].as_str() {
        // Writing to a string does not fail.
        let _ = write!(out, ": {reason}");
    }
    if health["dryRun"] == true {
        out += "\na dry run: nothing is produced and nothing stored";
    }
    out
}

/// Several streams: a line for each, with what is wrong with it.
fn several(health: &Value, status: &Value) -> String {
    let streams = |answer: &Value| answer["streams"].as_array().cloned().unwrap_or_default();
    let names = streams(health);
    let name = |stream: &Value| word(stream.get("name").unwrap_or(&stream["stream"]));
    let width = names
        .iter()
        .map(|s| name(s).len())
        .max()
        .unwrap_or(0)
        .max(6);
    let mut out = head(health);
    let _ = write!(
        out,
        "\n\n{:width$}  {:<10}  {:>8}  {:>10}  health",
        "stream", "state", "behind", "events/s"
    );
    if names.iter().any(|stream| stream.get("owner").is_some()) {
        out += ", owner";
    }
    for (stream, status) in names.iter().zip(streams(status)) {
        let behind = status["lagMs"].as_f64().unwrap_or_default() / 1e3;
        let _ = write!(
            out,
            "\n{:width$}  {:<10}  {behind:>6.1} s  {:>10}  {}",
            name(stream),
            word(&stream["state"]),
            word(&status["rate"]),
            head(stream)
        );
        if let Some(owner) = owner(stream) {
            let _ = write!(out, ", {owner}");
        }
    }
    for stream in &names {
        let label = format!("{}: ", name(stream));
        listeners(&mut out, &stream["components"]["listeners"], &label);
    }
    out
}

/// How the listeners of a stream do, where it has any, with what is wrong with each.
fn listeners(out: &mut String, listeners: &Value, stream: &str) {
    if listeners["state"] != "on" {
        return;
    }
    let _ = write!(
        out,
        "\nlisteners   {stream}{} active, {} disabled, {} invalid",
        word(&listeners["active"]),
        word(&listeners["disabled"]),
        word(&listeners["failed"])
    );
    for each in listeners["invalid"].as_array().into_iter().flatten() {
        let _ = write!(
            out,
            "\n            {}: {}",
            word(&each["id"]),
            word(&each["reason"])
        );
    }
}

fn text(health: &Value, status: &Value) -> String {
    let mut out = head(health);
    let stream = &health["stream"];
    let _ = write!(
        out,
        "\n\nstream      {}, {}",
        word(stream),
        word(&health["state"])
    );
    if let Some(owner) = owner(health) {
        let _ = write!(out, "\nowner       {owner}");
        if let Some(since) = health["ownedSince"].as_str() {
            let _ = write!(out, " since {since}");
        }
        let _ = write!(
            out,
            ", epoch {}, {} hand-overs",
            word(&health["epoch"]),
            word(&health["handOvers"])
        );
    }
    let lag = status["lagMs"].as_f64().unwrap_or_default() / 1e3;
    let _ = write!(
        out,
        "\nbehind      {lag:.1} s, {} records in flight",
        word(&status["bufferSize"])
    );
    let _ = write!(
        out,
        "\nevents      {}, {} a second",
        word(&status["events"]),
        word(&status["rate"])
    );
    if let Some(position) = health["databases"][0]
        .get("position")
        .filter(|p| !p.is_null())
    {
        let _ = write!(
            out,
            "\ncheckpoint  at {} (tw-seq {}), {} s old",
            word(&position["time"]),
            word(&position["seq"]),
            word(&status["checkpointAgeSeconds"])
        );
    }
    listeners(&mut out, &health["components"]["listeners"], "");
    for wait in health["waiting"].as_array().into_iter().flatten() {
        let _ = write!(
            out,
            "\nwaiting     {} s for {}",
            word(&wait["seconds"]),
            word(&wait["what"])
        );
        if let Some(reason) = wait["reason"].as_str() {
            let _ = write!(out, ": {}", reason.lines().next().unwrap_or_default());
        }
    }
    for (name, component) in [
        ("mongodb", "source"),
        ("kafka", "sink"),
        ("store", "checkpoint"),
    ] {
        let component = &health["components"][component];
        let _ = write!(out, "\n{name:<10}  {}", word(&component["state"]));
        if let Some(since) = component["since"].as_str() {
            let _ = write!(out, " since {since}");
        }
        if let Some(error) = component["lastError"]["message"].as_str() {
            let _ = write!(
                out,
                "; last error: {}",
                error.lines().next().unwrap_or_default()
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_waits_is_told_in_one_screen() {
        let health = json!({
            "status": "unhealthy", "reason": "kafka cannot be reached", "stream": "w:shop",
            "state": "running",
            "waiting": [{"for": "topic", "what": "topic shop.b", "seconds": 12, "reason": "it does not exist"}],
            "databases": [{"position": {"seq": 7, "time": "2026-01-01T00:00:00.000Z"}}],
            "components": {
                "source": {"state": "connected", "since": "2026-01-01T00:00:00.000Z", "lastError": null},
                "sink": {"state": "disconnected", "since": null,
                    "lastError": {"message": "all brokers are down\nmore", "at": "x"}},
                "checkpoint": {"state": "stored", "since": null, "lastError": null},
            },
        });
        let status = json!({
            "lagMs": 1500, "bufferSize": 3, "events": 10, "rate": 0.5, "checkpointAgeSeconds": 2,
        });
        let wanted = "\
unhealthy: kafka cannot be reached

stream      w:shop, running
behind      1.5 s, 3 records in flight
events      10, 0.5 a second
checkpoint  at 2026-01-01T00:00:00.000Z (tw-seq 7), 2 s old
waiting     12 s for topic shop.b: it does not exist
mongodb     connected since 2026-01-01T00:00:00.000Z
kafka       disconnected; last error: all brokers are down
store       stored";
        assert_eq!(text(&health, &status), wanted);
    }

    #[test]
    fn of_several_streams_each_has_a_line_with_what_is_wrong_with_it() {
        let health = json!({
            "status": "degraded", "reason": "1 of 2 streams unhealthy; tenants: kafka cannot be reached",
            "streams": [
                {"stream": "w:shop", "name": "shop", "state": "running", "status": "healthy"},
                {"stream": "w:tenants", "name": "tenants", "state": "running", "status": "unhealthy",
                    "reason": "kafka cannot be reached",
                    "components": {"listeners": {"state": "on", "active": 3, "disabled": 0, "failed": 1,
                        "invalid": [{"id": "a", "reason": "jobName: is missing"}]}}},
            ],
        });
        let status = json!({"streams": [
            {"lagMs": 0, "rate": 12.5}, {"lagMs": 90_000, "rate": 0.0},
        ]});
        let wanted = "\
degraded: 1 of 2 streams unhealthy; tenants: kafka cannot be reached

stream   state         behind    events/s  health
shop     running        0.0 s        12.5  healthy
tenants  running       90.0 s         0.0  unhealthy: kafka cannot be reached
listeners   tenants: 3 active, 0 disabled, 1 invalid
            a: jobName: is missing";
        assert_eq!(several(&health, &status), wanted);
    }
}
