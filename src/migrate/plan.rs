//! What becomes of each property of a connector.

use super::Connector;
use crate::config::Variable;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Begins a line of the `.env` that stands for an open decision.
pub const DECIDE: &str = "# decide: ";

/// What becomes of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// A variable says the same.
    Taken,
    /// Nothing here says it; the sentence tells what that means.
    NoCounterpart,
    /// A person has to say what is wanted.
    Decision,
}

/// One property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub property: String,
    pub verdict: Verdict,
    /// What it has become, or what its absence means; without values that may be secret.
    pub sentence: String,
}

/// What a connector's configuration becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Names of variables and their values, in the order of the table of variables.
    pub variables: Vec<(&'static str, String)>,
    pub notes: Vec<Note>,
}

impl Plan {
    /// For people: each property in a line, the open decisions last.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for (verdict, title) in [
            (Verdict::Taken, "taken"),
            (Verdict::NoCounterpart, "no counterpart"),
            (Verdict::Decision, "needs a decision"),
        ] {
            let notes: Vec<_> = self.of(verdict).collect();
            if notes.is_empty() {
                continue;
            }
            let _ = writeln!(out, "{title}:");
            for note in notes {
                let _ = writeln!(out, "  {}: {}", note.property, note.sentence);
            }
        }
        out
    }

    fn of(&self, verdict: Verdict) -> impl Iterator<Item = &Note> {
        self.notes
            .iter()
            .filter(move |note| note.verdict == verdict)
    }

    /// The `.env`, with `first` as its first line.
    pub fn to_env(&self, first: &str) -> String {
        let mut out = format!("{first}\n");
        for (name, value) in &self.variables {
            let _ = writeln!(out, "{name}={}", quoted(value));
        }
        for note in self.of(Verdict::Decision) {
            let _ = writeln!(out, "{DECIDE}{}: {}", note.property, note.sentence);
        }
        out
    }
}

/// A value as a line of a `.env` holds it.
fn quoted(value: &str) -> String {
    let value = value.replace(['\n', '\r'], " ");
    let is_plain =
        !value.contains('#') && value.trim() == value && !value.starts_with(['"', '\'', '`']);
    if is_plain {
        return value;
    }
    let quote = ['\'', '`', '"']
        .into_iter()
        .find(|quote| !value.contains(*quote));
    quote.map_or_else(|| value.clone(), |quote| format!("{quote}{value}{quote}"))
}

/// A configuration that is being read: every property is asked for once.
pub(super) struct Reading<'a> {
    connector: &'a Connector,
    seen: BTreeSet<String>,
    variables: BTreeMap<usize, (&'static str, String)>,
    notes: Vec<Note>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(connector: &'a Connector) -> Self {
        Self {
            connector,
            seen: BTreeSet::new(),
            variables: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// The connector's name.
    pub(super) fn name(&self) -> Option<&'a str> {
        self.connector.name.as_deref()
    }

    /// A property, which counts as looked at then. One that Connect resolves elsewhere is a decision.
    pub(super) fn get(&mut self, property: &str) -> Option<&'a str> {
        let value = self.connector.get(property)?;
        let is_new = self.seen.insert(property.to_owned());
        if value.contains("${") {
            if is_new {
                self.note(property, Verdict::Decision, "its value is looked up by a config provider of Connect, which Tailwater does not have; set the variable to the value itself".into());
            }
            return None;
        }
        Some(value)
    }

    /// A property, without looking at it.
    pub(super) fn peek(&self, property: &str) -> Option<&'a str> {
        self.connector.get(property)
    }

    /// Whether a property is there, also without a value; without looking at it.
    pub(super) fn is_given(&self, property: &str) -> bool {
        self.connector.properties.contains_key(property)
    }

    /// The properties that begin so, and were not looked at.
    pub(super) fn rest_of(&self, prefix: &str) -> Vec<String> {
        let all = self.connector.properties.keys();
        let left = all.filter(|name| name.starts_with(prefix) && !self.seen.contains(*name));
        left.cloned().collect()
    }

    /// Sets a variable.
    pub(super) fn set(&mut self, variable: &'static Variable, value: impl Into<String>) {
        let rank = crate::config::table::ALL
            .iter()
            .position(|known| known.name == variable.name);
        let rank = rank.unwrap_or(usize::MAX);
        self.variables.insert(rank, (variable.name, value.into()));
    }

    pub(super) fn is_set(&self, variable: &Variable) -> bool {
        self.variables
            .values()
            .any(|(name, _)| *name == variable.name)
    }

    /// Sets a variable to what a property says.
    pub(super) fn take(
        &mut self,
        property: &str,
        variable: &'static Variable,
        value: impl Into<String>,
    ) {
        let value = value.into();
        let said = match variable.is_secret() || matches!(variable.form, crate::config::Form::Uri) {
            true => variable.name.to_owned(),
            false => format!("{}={value}", variable.name),
        };
        self.set(variable, value);
        self.note(property, Verdict::Taken, said);
    }

    /// The same, where the property is there.
    pub(super) fn take_as_is(&mut self, property: &str, variable: &'static Variable) {
        if let Some(value) = self.get(property) {
            self.take(property, variable, value);
        }
    }

    pub(super) fn note(&mut self, property: &str, verdict: Verdict, sentence: String) {
        self.seen.insert(property.to_owned());
        self.notes.push(Note {
            property: property.to_owned(),
            verdict,
            sentence,
        });
    }

    pub(super) fn taken(&mut self, property: &str, sentence: &str) {
        self.note(property, Verdict::Taken, sentence.into());
    }

    pub(super) fn decide(&mut self, property: &str, sentence: impl Into<String>) {
        self.note(property, Verdict::Decision, sentence.into());
    }

    /// Properties that nothing here says, where they are there. A `*` at the end stands for any rest.
    pub(super) fn without(&mut self, list: &[(&str, &str)]) {
        for (property, meaning) in list {
            let names = match property.strip_suffix('*') {
                Some(prefix) => self.rest_of(prefix),
                None => self
                    .peek(property)
                    .map(|_| (*property).to_owned())
                    .into_iter()
                    .collect(),
            };
            for name in names {
                self.note(&name, Verdict::NoCounterpart, (*meaning).to_owned());
            }
        }
    }

    /// All that was not looked at is a decision.
    pub(super) fn finish(mut self) -> Plan {
        for property in self.rest_of("") {
            if self.connector.get(&property).is_some() {
                self.decide(
                    &property,
                    "Tailwater does not know this property; see what it does for your consumers",
                );
            }
        }
        self.notes.sort_by(|one, other| {
            (one.verdict, &one.property).cmp(&(other.verdict, &other.property))
        });
        Plan {
            variables: self.variables.into_values().collect(),
            notes: self.notes,
        }
    }
}
