//! Reading the environment: process variables, a `.env` file, secrets from files.
//!
//! This only gathers text and where it came from. What the text means is [`super::validate`]'s.

use super::file;
use super::of_stream::{self, OfStream};
use super::problem::{Problem, Warning};
use super::shown::quote;
use super::table::{self, Raw};
use super::typo;
use super::variable::{Form, Variable};
use super::{dotenv, properties};
use crate::log::Escaped;
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
            Origin::File(path) => write!(f, "file {}", Escaped(path.display())),
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
    /// What was given for one stream alone.
    pub of_streams: Vec<OfStream>,
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
        let mut warnings = Vec::new();
        if let Some(path) = dotenv {
            let found = dotenv::read(path, is_ours, |name| is_set(&entries, name));
            // Of two lines with one name the last counts, also where it makes it empty.
            let mut of_dotenv = BTreeMap::new();
            let of_file: BTreeMap<_, _> = found.pairs.into_iter().collect();
            for (name, value) in of_file {
                if !is_empty(&name, &value) && !is_set(&entries, &name) {
                    of_dotenv.insert(
                        name,
                        Entry {
                            value,
                            origin: Origin::DotEnv,
                        },
                    );
                }
            }
            entries.extend(of_dotenv);
            problems.extend(found.problems);
            warnings.extend(found.warnings);
        }
        let mut environment = Self {
            raw: Raw::default(),
            origins: BTreeMap::new(),
            properties: Vec::new(),
            of_streams: Vec::new(),
            problems,
            warnings,
        };
        environment.take_secret_files(&mut entries);
        environment.take_properties(&mut entries);
        environment.take_those_of_streams(&mut entries);
        environment.take_variables(entries);
        environment
    }

    /// The given value; none where the variable is not set.
    pub fn get(&self, variable: &Variable) -> Option<&str> {
        self.raw.get(variable)
    }

    /// The same for the stream of this label alone.
    pub fn of_stream(&self, variable: &Variable, label: &str) -> Option<&OfStream> {
        let mut given = self.of_streams.iter();
        given.find(|given| given.variable.name == variable.name && given.label == label)
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
                Err((given, reason)) => self.problems.push(Problem {
                    variable: file_variable,
                    given,
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

    /// Takes each `NAME__STREAM`.
    fn take_those_of_streams(&mut self, entries: &mut BTreeMap<String, Entry>) {
        let names: Vec<_> = entries
            .keys()
            .filter_map(|name| of_stream::read(name).map(|read| (name.clone(), read)))
            .collect();
        for (name, (variable, label)) in names {
            let Some(entry) = entries.remove(&name) else {
                continue;
            };
            let known = self.of_stream(variable, &label);
            let sentence = match known {
                _ if !of_stream::may_differ(variable) => {
                    format!(
                        "{} is the same for all streams; set that instead",
                        variable.name
                    )
                }
                Some(other) => format!("is given beside {}; give only one of the two", other.name),
                None => {
                    self.of_streams.push(OfStream {
                        name,
                        variable,
                        label,
                        value: entry.value.trim().to_owned(),
                        origin: entry.origin,
                    });
                    continue;
                }
            };
            self.problems.push(Problem {
                variable: name,
                given: None,
                sentence,
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
        let unknown: BTreeSet<String> = entries.into_keys().collect();
        self.warnings.extend(typo::warnings(&unknown));
    }
}

fn is_empty(name: &str, value: &str) -> bool {
    value.is_empty() || (value.trim().is_empty() && !is_secret(name))
}

/// Whether this is set, or for a secret its other form: `NAME` or `NAME_FILE`.
fn is_set(entries: &BTreeMap<String, Entry>, name: &str) -> bool {
    let base = name.strip_suffix("_FILE").filter(|base| is_secret(base));
    let base = base.unwrap_or(name);
    entries.contains_key(base) || (is_secret(base) && entries.contains_key(&format!("{base}_FILE")))
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
    if of_stream::read(name).is_some() {
        return true;
    }
    let name = name.strip_suffix("_FILE").unwrap_or(name);
    name.starts_with(properties::PREFIX) || table::ALL.iter().any(|variable| variable.name == name)
}

/// More than a secret has, in bytes: a key with its certificates has some thousands.
const SECRET_LIMIT: u64 = 1 << 20;

/// Reads a secret, without the one newline that editors and `echo` leave at the end.
///
/// Where that fails: the path, unless it leads nowhere and so may be the secret itself, and why.
fn read_secret(path: &Path) -> Result<String, (Option<String>, String)> {
    let shown = || Some(quote(&path.display().to_string()));
    let failed = |reason: &str| (shown(), reason.to_owned());
    let bytes = file::read(path, SECRET_LIMIT).map_err(|refusal| {
        let given = refusal.is_of_something().then(shown).flatten();
        (given, refusal.to_string())
    })?;
    let mut text = String::from_utf8(bytes).map_err(|_| failed("the file is not UTF-8 text"))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(failed("the file is empty"));
    }
    Ok(text)
}
