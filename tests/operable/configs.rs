//! The alert rules, the dashboard and the runbook speak of metrics, states and codes that there are.

use std::collections::BTreeSet;
use tailwater::error::Code;
use tailwater::metrics::names::{self, Kind};
use tailwater::status::State;

fn read(path: &str) -> String {
    let path = format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The metrics a query names.
fn metrics_in(query: &str) -> BTreeSet<&str> {
    query
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("tailwater_") || word.starts_with("process_"))
        .collect()
}

fn assert_exists(query: &str) {
    let names = metrics_in(query);
    assert!(!names.is_empty(), "no metric in {query}");
    for name in names {
        let exists = names::ALL.iter().any(|metric| match metric.kind {
            Kind::Histogram => name
                .strip_prefix(metric.name)
                .is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix)),
            Kind::Counter | Kind::Gauge => name == metric.name,
        });
        assert!(exists, "{name} in {query} does not exist");
    }
}

#[test]
fn every_query_of_the_dashboard_names_an_existing_metric() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("config/grafana/tailwater.json")).unwrap();
    let mut count = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            assert_exists(target["expr"].as_str().unwrap());
            count += 1;
        }
    }
    assert!(count > 20, "{count} queries");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            assert_exists(variable["query"].as_str().unwrap());
        }
    }
}

#[test]
fn every_alert_names_existing_metrics_and_has_a_page_in_the_runbook() {
    let rules = read("config/prometheus/tailwater.rules.yml");
    let runbook = read("docs/operations.md");
    let mut alerts = Vec::new();
    for line in rules.lines().map(str::trim) {
        if let Some(alert) = line.strip_prefix("- alert: ") {
            assert!(runbook.contains(&format!("\n### {alert}\n")), "{alert}");
            alerts.push(alert);
        } else if let Some(query) = line.strip_prefix("expr: ") {
            if !query.starts_with("up{") {
                assert_exists(query);
            }
        } else if let Some(link) = line.strip_prefix("runbook: docs/operations.md#") {
            assert_eq!(
                Some(link),
                alerts.last().map(|a| a.to_ascii_lowercase()).as_deref()
            );
        }
    }
    assert_eq!(rules.matches("runbook:").count(), alerts.len());
    let documented = runbook.matches("\n### Tailwater").count();
    assert_eq!(documented, alerts.len(), "a page without its alert");
    for name in metrics_in(&read("config/prometheus/tailwater.rules.test.yml")) {
        assert_exists(name);
    }
}

#[test]
fn the_runbook_explains_every_state_and_every_code() {
    let runbook = read("docs/operations.md");
    for state in State::ALL {
        let row = format!("\n| `{}` |", state.name());
        assert!(runbook.contains(&row), "no row for state {}", state.name());
    }
    let errors = read("docs/errors.md");
    for code in Code::ALL {
        let headed = format!("`{}` ({})", code.name(), code.exit_code());
        assert!(errors.contains(&headed), "no page for {}", code.name());
        let row = format!("\n| {} | `{}` |", code.exit_code(), code.name());
        assert!(runbook.contains(&row), "no row for code {}", code.name());
    }
}

/// The value of a key of the Kubernetes manifest.
fn manifest_value<'a>(manifest: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = manifest.lines().map(str::trim);
    lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

#[test]
fn the_manifests_take_away_what_is_not_needed() {
    let manifest = read("config/kubernetes/tailwater.yaml");
    for (key, value) in [
        ("runAsNonRoot", "true"),
        ("seccompProfile", "{ type: RuntimeDefault }"),
        ("readOnlyRootFilesystem", "true"),
        ("allowPrivilegeEscalation", "false"),
        ("capabilities", "{ drop: [ALL] }"),
        ("automountServiceAccountToken", "false"),
    ] {
        assert_eq!(manifest_value(&manifest, key), Some(value), "{key}");
    }
    let user = manifest_value(&manifest, "runAsUser").unwrap();
    let dockerfile = read("Dockerfile");
    assert!(dockerfile.contains(&format!("\nUSER {user}\n")), "{user}");
    let unit = read("config/tailwater@.service");
    for line in [
        "CapabilityBoundingSet=",
        "SystemCallFilter=@system-service",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
    ] {
        assert!(unit.lines().any(|of_unit| of_unit == line), "{line}");
    }
}

#[test]
fn images_can_be_given_by_digest_and_the_page_names_each_parameter() {
    let page = read("SECURITY.md");
    for file in ["Dockerfile", "docker-compose.yml"] {
        let text = read(file);
        for line in text.lines().map(str::trim) {
            let image = line.strip_prefix("FROM ").or(line.strip_prefix("image: "));
            // What is built here has no digest before it is pushed.
            let is_own = |image: &str| {
                ["build", "base", "tailwater"]
                    .iter()
                    .any(|own| image.starts_with(own))
            };
            let Some(image) = image.filter(|image| !is_own(image)) else {
                continue;
            };
            let parameter = image
                .strip_prefix("${")
                .and_then(|rest| rest.split([':', '}']).next());
            let parameter =
                parameter.unwrap_or_else(|| panic!("{file}: {image} is fixed to a tag"));
            assert!(
                page.contains(parameter),
                "{parameter} is not in SECURITY.md"
            );
        }
    }
}

/// Two replicas without coordination would fence each other for ever.
#[test]
fn the_manifests_with_two_instances_coordinate_them() {
    let manifest = read("config/kubernetes/tailwater.yaml");
    assert_eq!(manifest_value(&manifest, "replicas"), Some("2"));
    assert!(manifest.contains("{ name: COORDINATION, value: kafka }"));
    assert!(manifest.contains("kind: PodDisruptionBudget"));
    let compose = read("docker-compose.yml");
    assert!(compose.contains("COORDINATION: ${COORDINATION:-kafka}"));
    assert!(compose.contains("profiles: [standby]"));
}

#[test]
fn no_example_token_of_ours_is_taken() {
    let manifest = read("config/kubernetes/tailwater.yaml");
    let example = read("config/tailwater.env.example");
    let of_example = example
        .lines()
        .find_map(|line| line.strip_prefix("#ADMIN_TOKEN="));
    for token in [manifest_value(&manifest, "ADMIN_TOKEN"), of_example] {
        let errors = tailwater::config::Config::from_vars([
            ("MONGODB_URI", "mongodb://h/d"),
            ("KAFKA_BROKERS", "h:1"),
            ("ADMIN_TOKEN", token.unwrap()),
        ])
        .unwrap_err()
        .to_string();
        assert!(errors.contains("ADMIN_TOKEN=***: "), "{errors}");
    }
}
