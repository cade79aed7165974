//! Reading the environment: process variables, a `.env` file, secrets from files.
//!
//! This only gathers text and where it came from. What the text means is [`super::validate`]'s.

use super::problem::{Problem, Warning};
use super::table::{self, Raw};
use super::typo;
use super::variable::{Form, Variable};
use super::{dotenv_file, properties, uri};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    Environment,
    /// The `.env` file in the working directory.
    DotEnv,
    /// The file that `NAME_FILE` names.
    File(PathBuf),
    /// Follows from other variables.
    Derived,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Environment => f.write_str("env"),
            Origin::DotEnv => f.write_str(".env"),
            Origin::File(path) => write!(f, "file {}", path.display()),
            Origin::Derived => f.write_str("derived"),
        }
    }
}

/// One librdkafka property from `KAFKA_PROP_*`.
pub(super) struct Property {
    /// The variable, `KAFKA_PROP_COMPRESSION_TYPE`.
    pub variable: String,
    /// librdkafka's name, `compression.type`.
    pub name: String,
    pub value: String,
    pub origin: Origin,
}

/// What was given: trimmed, empty ones left out.
pub(super) struct Environment {
    raw: Raw,
    origins: BTreeMap<&'static str, Origin>,
    pub properties: Vec<Property>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
}

struct Entry {
    value: String,
    origin: Origin,
}

impl Environment {
    /// The process's environment and, where it exists, `.env` in the working directory.
    pub fn of_process() -> Self {
        Self::read(std::env::vars_os(), Some(Path::new(".env")))
    }

    /// Gathers the variables; `dotenv` is read where it exists, and the real environment wins.
    pub fn read(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
        dotenv: Option<&Path>,
    ) -> Self {
        let mut problems = Vec::new();
        let mut entries = BTreeMap::new();
        for (name, value) in vars {
            // A name that is not UTF-8 is none of ours.
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => {
                    entries.insert(
                        name,
                        Entry {
                            value,
                            origin: Origin::Environment,
                        },
                    );
                }
                Err(_) if is_ours(&name) => problems.push(Problem {
                    variable: name,
                    given: None,
                    sentence: "is not valid UTF-8; give it as UTF-8 text".into(),
                }),
                Err(_) => {}
            }
        }
        entries.retain(|name, entry| !is_empty(name, &entry.value));
        if let Some(path) = dotenv {
            match dotenv_file::read(path) {
                Ok(pairs) => {
                    for (name, value) in pairs {
                        if !is_empty(&name, &value) {
                            entries.entry(name).or_insert(Entry {
                                value,
                                origin: Origin::DotEnv,
                            });
                        }
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        let mut environment = Self {
            raw: Raw::default(),
            origins: BTreeMap::new(),
            properties: Vec::new(),
            problems,
            warnings: Vec::new(),
        };
        environment.take_secret_files(&mut entries);
        environment.take_properties(&mut entries);
        environment.take_variables(entries);
        environment
    }

    /// The given value; none where the variable is not set.
    pub fn get(&self, variable: &Variable) -> Option<&str> {
        self.raw.get(variable)
    }

    pub fn origin(&self, variable: &Variable) -> Origin {
        self.origins
            .get(variable.name)
            .cloned()
            .unwrap_or(Origin::Default)
    }

    /// Turns each `NAME_FILE` of a secret into `NAME`.
    fn take_secret_files(&mut self, entries: &mut BTreeMap<String, Entry>) {
        let names: Vec<_> = entries
            .keys()
            .filter(|name| name.strip_suffix("_FILE").is_some_and(is_secret))
            .cloned()
            .collect();
        for file_variable in names {
            let Some(entry) = entries.remove(&file_variable) else {
                continue;
            };
            let name = file_variable
                .strip_suffix("_FILE")
                .unwrap_or_default()
                .to_owned();
            if entries.contains_key(&name) {
                self.problems.push(Problem {
                    variable: file_variable,
                    given: None,
                    sentence: format!("is given beside {name}; give only one of the two"),
                });
                continue;
            }
            let path = PathBuf::from(entry.value.trim());
            match read_secret(&path) {
                Ok(value) => {
                    entries.insert(
                        name,
                        Entry {
                            value,
                            origin: Origin::File(path),
                        },
                    );
                }
                Err(reason) => self.problems.push(Problem {
                    variable: file_variable,
                    given: Some(path.display().to_string()),
                    sentence: format!(
                        "{reason}; give the path of a readable file that holds only the secret"
                    ),
                }),
            }
        }
    }

    fn take_properties(&mut self, entries: &mut BTreeMap<String, Entry>) {
        let names: Vec<_> = entries
            .keys()
            .filter(|name| name.starts_with(properties::PREFIX))
            .cloned()
            .collect();
        for variable in names {
            let Some(entry) = entries.remove(&variable) else {
                continue;
            };
            self.properties.push(Property {
                name: properties::property_name(&variable),
                value: entry.value.trim().to_owned(),
                origin: entry.origin,
                variable,
            });
        }
    }

    fn take_variables(&mut self, mut entries: BTreeMap<String, Entry>) {
        let mut ours = Vec::new();
        for &variable in table::ALL {
            if let Some(entry) = entries.remove(variable.name) {
                let value = match variable.form {
                    Form::Secret => entry.value,
                    _ => entry.value.trim().to_owned(),
                };
                self.origins.insert(variable.name, entry.origin);
                ours.push((variable.name.to_owned(), value));
            }
        }
        // Only exact names reach envy, which would take `batch_size` for `BATCH_SIZE`; and every
        // field is an optional string, so that it has nothing to fail on.
        match envy::from_iter(ours) {
            Ok(raw) => self.raw = raw,
            Err(_) => self.problems.push(Problem {
                variable: "environment".into(),
                given: None,
                sentence: "cannot be read".into(),
            }),
        }
        for (name, harmless) in NOT_YET {
            if let Some(entry) = entries.remove(name)
                && !entry.value.trim().eq_ignore_ascii_case(harmless)
            {
                self.problems.push(Problem {
                    variable: name.to_owned(),
                    given: Some(quote(&entry.value)),
                    sentence: "this version cannot do that yet; unset it".into(),
                });
            }
        }
        let unknown: BTreeSet<String> = entries.into_keys().collect();
        self.warnings.extend(typo::warnings(&unknown));
    }
}

/// Variables of rooms that are not built yet, with the value that asks for nothing: who sets them
/// counts on what they do, so that ignoring them would be wrong.
const NOT_YET: [(&str, &str); 3] = [
    ("COORDINATION", "none"),
    ("STREAMS", ""),
    ("LISTENERS_COLLECTION", ""),
];

/// A value as it may be shown beside its variable.
pub(super) fn shown(variable: &Variable, value: &str) -> String {
    match variable.form {
        Form::Secret => "***".to_owned(),
        Form::Uri => uri::redact(value),
        _ => quote(value),
    }
}

/// A value, or a part of one, as it may be shown in a sentence: on one line, not too long, without
/// credentials pasted into the wrong place, and of a resume token only the beginning, since the rest
/// holds a document's key.
pub(super) fn quote(text: &str) -> String {
    let scrubbed = uri::scrub(text);
    let is_token = scrubbed
        .get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case("token:"));
    let limit = if is_token { 14 } else { 200 };
    let mut shown = String::new();
    for c in scrubbed.chars().take(limit) {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    if scrubbed.chars().nth(limit).is_some() {
        shown.push('…');
    }
    shown
}

fn is_empty(name: &str, value: &str) -> bool {
    value.is_empty() || (value.trim().is_empty() && !is_secret(name))
}

fn is_secret(name: &str) -> bool {
    match name.starts_with(properties::PREFIX) {
        true => properties::is_secret(&properties::property_name(name)),
        false => table::ALL
            .iter()
            .any(|variable| variable.name == name && variable.is_secret()),
    }
}

fn is_ours(name: &str) -> bool {
    let name = name.strip_suffix("_FILE").unwrap_or(name);
    name.starts_with(properties::PREFIX) || table::ALL.iter().any(|variable| variable.name == name)
}

/// Reads a secret, without the one newline that editors and `echo` leave at the end.
fn read_secret(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("the file cannot be read: {error}"))?;
    let mut text = String::from_utf8(bytes).map_err(|_| "the file is not UTF-8 text".to_owned())?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        Err("the file is empty".to_owned())
    } else {
        Ok(text)
    }
}
