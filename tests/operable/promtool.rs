//! Prometheus's own judgement: of the alert rules, and of what `/metrics` answers.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What `scripts/promtool` exits with where there is none to be had.
const NONE: i32 = 69;

/// Runs promtool with this input.
///
/// # Panics
/// When it finds something wrong, in its own words.
pub fn passes(args: &[&str], input: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new(folder.join("scripts/promtool"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may judge without having read all of it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(NONE) {
        eprintln!("not checked by promtool {args:?}: {said}");
        return;
    }
    assert!(
        output.status.success(),
        "promtool {args:?}:\n{said}\n{input}"
    );
}

#[test]
fn every_alert_fires_where_it_should_and_only_there() {
    passes(
        &["check", "rules", "config/prometheus/tailwater.rules.yml"],
        "",
    );
    passes(
        &[
            "test",
            "rules",
            "config/prometheus/tailwater.rules.test.yml",
        ],
        "",
    );
}

#[test]
fn every_alert_has_a_test() {
    let read = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/prometheus");
        std::fs::read_to_string(folder.join(name)).unwrap()
    };
    let tests = read("tailwater.rules.test.yml");
    for line in read("tailwater.rules.yml").lines() {
        if let Some(alert) = line.trim().strip_prefix("- alert: ") {
            let test = format!("- alertname: {alert}\n");
            assert!(tests.contains(&test), "{alert}");
        }
    }
}
