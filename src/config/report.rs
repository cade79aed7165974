//! The configuration written down: what is in force, the reference table, the example file.

use super::env::{Environment, Origin};
use super::shown::{quote, shown};
use super::variable::{Fallback, Form, Group, Variable};
use super::{Config, of_stream, properties, table};
use crate::log::Escaped;
use serde::Serialize;
use std::fmt::Write;

/// One variable's effective value, fit to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    pub variable: String,
    /// None where it is not set and has no value then; secrets are `***`.
    pub value: Option<String>,
    #[serde(serialize_with = "as_text")]
    pub origin: Origin,
}

fn as_text<S: serde::Serializer>(origin: &Origin, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(origin)
}

/// What is in force, in the table's order, properties last.
pub(super) fn settings(environment: &Environment, config: &Config) -> Vec<Setting> {
    let mut settings: Vec<_> = table::ALL
        .iter()
        .map(|variable| {
            let written = environment.get(variable).or(variable.default_value());
            let derived = derived(variable, config)
                .filter(|value| !written.is_some_and(|w| w.eq_ignore_ascii_case(value)));
            let (value, origin) = match derived {
                Some(value) => (Some(quote(&value)), Origin::Derived),
                None => (
                    written.map(|value| shown(variable, value)),
                    environment.origin(variable),
                ),
            };
            Setting {
                variable: variable.name.to_owned(),
                value,
                origin,
            }
        })
        .collect();
    settings.extend(environment.of_streams.iter().map(|own| Setting {
        variable: own.name.clone(),
        value: Some(shown(own.variable, &own.value)),
        origin: own.origin.clone(),
    }));
    settings.extend(environment.properties.iter().map(|property| Setting {
        variable: property.variable.clone(),
        value: Some(properties::shown(&property.name, &property.value)),
        origin: property.origin.clone(),
    }));
    settings
}

/// The value of a variable that follows from others.
fn derived(variable: &Variable, config: &Config) -> Option<String> {
    // Of several streams there is no one value.
    let [stream] = config.streams.as_slice() else {
        return match variable.name {
            "LOG_LEVEL" => Some(config.log.level.as_str().to_ascii_lowercase()),
            _ => None,
        };
    };
    let topics = &stream.sink.topics;
    Some(match variable.name {
        "LOG_LEVEL" => config.log.level.as_str().to_ascii_lowercase(),
        "STREAM_ID" => stream.id.clone(),
        "MONGODB_DATABASE" => match &stream.source.scope {
            super::Scope::Database(name) => name.clone(),
            super::Scope::Deployment { .. } => return None,
        },
        "RESUME_DATABASE" => match &stream.resume.backend {
            super::ResumeBackend::MongoDb { database, .. } => database.clone(),
            _ => return None,
        },
        "KAFKA_TOPIC_INSERT" => topics.insert.clone(),
        "KAFKA_TOPIC_UPDATE" => topics.update.clone(),
        "KAFKA_TOPIC_REPLACE" => topics.replace.clone(),
        "KAFKA_TOPIC_DELETE" => topics.delete.clone(),
        _ => return None,
    })
}

/// The settings as an aligned table for a terminal.
pub fn text(settings: &[Setting]) -> String {
    let width = settings
        .iter()
        .map(|setting| setting.variable.len())
        .max()
        .unwrap_or_default();
    let mut out = String::new();
    for Setting {
        variable,
        value,
        origin,
    } in settings
    {
        let value = value.as_deref().unwrap_or("(not set)");
        // Names and origins may be anything, too.
        let line = Escaped(format!("{variable:width$}  {value}  [{origin}]"));
        let _ = writeln!(out, "{line}");
    }
    out
}

/// The reference: a Markdown table for each group.
pub fn reference() -> String {
    let mut out = String::new();
    for group in Group::ALL {
        let _ = write!(
            out,
            "### {}\n\n| Variable | Default | Takes | What it does |\n|---|---|---|---|\n",
            group.title()
        );
        for variable in table::ALL.iter().filter(|variable| variable.group == group) {
            let default = match variable.default {
                Fallback::Required => "**required**".to_owned(),
                Fallback::Value(value) => format!("`{value}`"),
                Fallback::Words(words) => words.replace('<', "&lt;").replace('>', "&gt;"),
            };
            let file = match variable.file_variable() {
                Some(file) => format!(" Also as `{file}`."),
                None => String::new(),
            };
            let per_stream = match of_stream::may_differ(variable) {
                true => " Per stream.",
                false => "",
            };
            let _ = writeln!(
                out,
                "| `{}` | {default} | {} | {}{file}{per_stream} |",
                variable.name,
                markdown(&takes(variable)),
                markdown(variable.doc),
            );
        }
        out.push('\n');
        if group == Group::Kafka {
            out.push_str(PROPERTIES);
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

const PROPERTIES: &str = "\
Any other property of librdkafka: `KAFKA_PROP_<NAME>`, with `_` for each dot, as in \
`KAFKA_PROP_COMPRESSION_TYPE=zstd`. Those that would break a promise are refused with the reason. \
Those that hold a secret can also be given as `KAFKA_PROP_<NAME>_FILE`.

";

fn takes(variable: &Variable) -> String {
    match variable.form {
        Form::Flag => "`true`, `false`".to_owned(),
        Form::Choice(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
        form => form.to_string(),
    }
}

fn markdown(text: &str) -> String {
    text.replace('|', "\\|")
        .replace('*', "\\*")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// `config/tailwater.env.example`: every variable, commented out unless it must be set.
pub fn example_env() -> String {
    let mut out = String::from(EXAMPLE_HEADER);
    for group in Group::ALL {
        let _ = write!(out, "\n# ---- {} ----\n", group.title());
        for variable in table::ALL.iter().filter(|variable| variable.group == group) {
            out.push('\n');
            for line in wrap(variable.doc, 96) {
                let _ = writeln!(out, "# {line}");
            }
            let default = match variable.default {
                Fallback::Required => "required".to_owned(),
                Fallback::Value(value) => format!("default {value}"),
                Fallback::Words(words) => format!("default: {words}"),
            };
            for line in wrap(&format!("Takes {}; {default}.", variable.form), 96) {
                let _ = writeln!(out, "# {line}");
            }
            let comment = if variable.default == Fallback::Required {
                ""
            } else {
                "#"
            };
            let value = match variable.default {
                Fallback::Value(value) => value,
                _ => variable.example,
            };
            let quote = if value.contains(['"', '$', '#', ' ']) {
                "'"
            } else {
                ""
            };
            let _ = writeln!(out, "{comment}{}={quote}{value}{quote}", variable.name);
            if let Some(file) = variable.file_variable() {
                let _ = writeln!(
                    out,
                    "#{file}=/run/secrets/{}",
                    variable.name.to_ascii_lowercase()
                );
            }
        }
        if group == Group::Kafka {
            out.push_str(EXAMPLE_PROPERTIES);
        }
    }
    out
}

const EXAMPLE_HEADER: &str = "\
# Tailwater's configuration, every variable with its default or an example.
# Copy it to .env and change what you need; what the environment sets wins over this file.
# An empty variable is an unset one. Put a value with # or quotes in it in single quotes.
";

const EXAMPLE_PROPERTIES: &str = "
# Any other property of librdkafka, with _ for each dot.
#KAFKA_PROP_COMPRESSION_TYPE=zstd
";

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let at = lines.len() - 1;
        if !lines[at].is_empty() && lines[at].chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
            continue;
        }
        if !lines[at].is_empty() {
            lines[at].push(' ');
        }
        lines[at].push_str(word);
    }
    lines
}
