//! The `.env` file: which lines of it are ours, and what is said of those that nobody can read.

mod lines;
#[cfg(test)]
mod tests;

use super::file::{self, Refusal};
use super::problem::{Problem, Warning};
use lines::Unread;
use std::path::Path;

/// More than any `.env` file has, in bytes.
const LIMIT: u64 = 1 << 20;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct DotEnv {
    /// In the order of the file: of two with one name, the last counts.
    pub pairs: Vec<(String, String)>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
}

/// Reads the file where there is one. `is_ours` says which names are Tailwater's, `is_set` which are set in
/// the environment, so that the file does not matter for them.
///
/// The file may hold secrets of anybody: nothing of its content is told but names of ours.
pub(super) fn read(
    path: &Path,
    is_ours: impl Fn(&str) -> bool,
    is_set: impl Fn(&str) -> bool,
) -> DotEnv {
    let bytes = match file::read(path, LIMIT) {
        Ok(bytes) => bytes,
        Err(refusal) => return refused(path, &refusal),
    };
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        let sentence = "is UTF-16 text; save it as UTF-8, or remove it";
        return DotEnv {
            problems: vec![problem(path, sentence)],
            ..DotEnv::default()
        };
    }
    // Lines of others may have any encoding.
    let text = String::from_utf8_lossy(&bytes);
    let is_whole = matches!(text, std::borrow::Cow::Borrowed(_));
    let parsed = lines::parse(&text);
    let mut found = DotEnv::default();
    for line in &parsed.unread {
        match our_name(line, &is_ours).filter(|name| !is_set(name)) {
            Some(name) => found.problems.push(Problem {
                variable: name.clone(),
                given: None,
                sentence: format!(
                    "line {} of .env names it and cannot be read; give {name}=value",
                    line.number
                ),
            }),
            None => found.warnings.push(Warning {
                variable: ".env".into(),
                sentence: format!("line {} is not read: it is no NAME=value", line.number),
            }),
        }
    }
    for pair in parsed.pairs {
        for (number, name) in pair.within {
            if is_ours(&name) && !is_set(&name) {
                found.warnings.push(Warning {
                    variable: name,
                    sentence: format!(
                        "line {number} of .env does not set it: a quote on line {} is not closed before it, so \
                         that it is a part of that value; close the quote on its own line",
                        pair.number
                    ),
                });
            }
        }
        if is_ours(&pair.name) && !is_set(&pair.name) {
            if !is_whole && pair.value.contains(char::REPLACEMENT_CHARACTER) {
                found.problems.push(Problem {
                    variable: pair.name,
                    given: None,
                    sentence: "is not valid UTF-8 in .env; save the file as UTF-8".into(),
                });
                continue;
            }
            if let Some(oddity) = pair.oddity {
                found.warnings.push(Warning {
                    variable: pair.name.clone(),
                    sentence: format!("{oddity} (line {} of .env)", pair.number),
                });
            }
        }
        found.pairs.push((pair.name, pair.value));
    }
    found
}

fn refused(path: &Path, refusal: &Refusal) -> DotEnv {
    let mut found = DotEnv::default();
    match refusal {
        Refusal::Missing => {}
        // A folder of this name is a Python environment more often than not.
        Refusal::NoFile(_) => found.warnings.push(Warning {
            variable: path.display().to_string(),
            sentence: format!("{refusal}: it is not read"),
        }),
        // Whether the file is there at all cannot be told in a folder that may not be searched.
        Refusal::Unreadable(_) if path.symlink_metadata().is_err() => {
            found.warnings.push(Warning {
                variable: path.display().to_string(),
                sentence: format!("{refusal}; whether there is one cannot be seen"),
            });
        }
        Refusal::Unreadable(_) | Refusal::TooLarge(_) => {
            let sentence = format!("{refusal}; correct it or remove it");
            found.problems.push(problem(path, &sentence));
        }
    }
    found
}

fn problem(path: &Path, sentence: &str) -> Problem {
    Problem {
        variable: path.display().to_string(),
        given: None,
        sentence: sentence.to_owned(),
    }
}

/// The variable of ours that a line is about which cannot be read: `NAME value`, `set NAME=value`,
/// `"NAME": "value"`, a bare `NAME`.
fn our_name(line: &Unread, is_ours: impl Fn(&str) -> bool) -> Option<String> {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let mut candidates = words(&line.text);
    candidates.truncate(2);
    if let Some((left, _)) = line.text.split_once('=') {
        candidates.extend(words(left).pop());
    }
    candidates.into_iter().find(|word| is_ours(word))
}
