//! The registry of schemas that converters speak to.

mod access;
#[cfg(test)]
mod tests;

use super::Verdict;
use super::back::Set;
use super::plan::Reading;
use crate::config::{IdIn, Schemas, SubjectName, table};

const STRATEGY: &str = "{half}.subject.name.strategy";
const ID: &str = "{half}.schema.id.serializer";
const IDS: &str = "io.confluent.kafka.serializers.schema.id.";

/// Properties that change what is written, and the defaults, as of which it is.
const DEFAULTS: &[(&str, &str)] = &[
    ("use.latest.version", "false"),
    ("normalize.schemas", "false"),
    ("enhanced.avro.schema.support", "false"),
    ("scrub.invalid.names", "false"),
    ("connect.meta.data", "true"),
    ("allow.optional.map.keys", "false"),
    ("generalized.sum.type.support", "false"),
    ("discard.type.doc.default", "false"),
    ("use.schema.id", "-1"),
    (
        "context.name.strategy",
        "io.confluent.kafka.serializers.context.NullContextNameStrategy",
    ),
];

/// What changes nothing that is written.
const NONE: &[(&str, &str)] = &[
    ("schemas.cache.", "schemas are kept while they are used"),
    (
        "max.schemas.per.subject",
        "schemas are kept while they are used",
    ),
    ("latest.cache.", "schemas are kept while they are used"),
    ("missing.", "schemas are kept while they are used"),
    (
        "latest.compatibility.strict",
        "has no effect without use.latest.version",
    ),
    (
        "id.compatibility.strict",
        "has no effect without use.schema.id",
    ),
    (
        "flatten.singleton.unions",
        "is for those who read what is written",
    ),
    ("srclient.", "the registry is waited for until it responds"),
    ("http.", "the registry is waited for until it responds"),
    (
        "max.retries",
        "the registry is waited for until it responds",
    ),
    ("retries.", "the registry is waited for until it responds"),
];

/// The converters of a record that speak to a registry, which is one for all.
struct Converters<'r, 'c> {
    reading: &'r mut Reading<'c>,
    halves: &'r [&'r str],
}

impl<'c> Converters<'_, 'c> {
    /// Under which names a half may say it: Confluent's client takes many with its prefix, too.
    fn names(half: &str, name: &str) -> [String; 2] {
        let name = name.replace("{half}", half);
        ["", "schema.registry."].map(|prefix| format!("{half}.converter.{prefix}{name}"))
    }

    /// The properties that say it, also without a value.
    fn properties(&self, name: &str) -> Vec<String> {
        let names = self.halves.iter().flat_map(|half| Self::names(half, name));
        names.filter(|it| self.reading.is_given(it)).collect()
    }

    /// The properties that begin so, and were not looked at.
    fn rest_of(&self, prefix: &str) -> Vec<String> {
        let prefixes = self
            .halves
            .iter()
            .flat_map(|half| Self::names(half, prefix));
        let mut all: Vec<_> = prefixes.flat_map(|it| self.reading.rest_of(&it)).collect();
        all.sort();
        all.dedup();
        all
    }

    /// What all of them say; one that says nothing says the `default`. What they do not agree on is a decision.
    fn said(&mut self, name: &str, variable: &str, default: Option<&'c str>) -> Option<&'c str> {
        let mut values = Vec::new();
        let mut is_elsewhere = false;
        for half in self.halves {
            let names = Self::names(half, name);
            let value = match names.iter().find(|it| self.reading.peek(it).is_some()) {
                Some(property) => {
                    let value = self.reading.get(property);
                    is_elsewhere |= value.is_none();
                    value
                }
                None => default,
            };
            values.push(value);
        }
        if is_elsewhere {
            self.decide_the_rest(name, variable);
            return None;
        }
        if values.windows(2).any(|pair| pair[0] != pair[1]) {
            let sentence = format!("key and value differ; {variable} is one for both");
            self.decide(name, &sentence);
            return None;
        }
        let is_there = !self.properties(name).is_empty();
        values.first().copied().flatten().filter(|_| is_there)
    }

    /// What is said beside a value that Connect looks up, which is a decision already.
    fn decide_the_rest(&mut self, name: &str, variable: &str) {
        for property in self.properties(name) {
            let value = self.reading.peek(&property);
            if value.is_some_and(|value| !value.contains("${")) {
                let sentence = format!("the other half is looked up by Connect; set {variable}");
                self.reading.decide(&property, sentence);
            }
        }
    }

    fn note(&mut self, name: &str, verdict: Verdict, sentence: &str) {
        for property in self.properties(name) {
            self.reading.note(&property, verdict, sentence.to_owned());
        }
    }

    fn taken(&mut self, name: &str, sentence: &str) {
        self.note(name, Verdict::Taken, sentence);
    }

    fn decide(&mut self, name: &str, sentence: &str) {
        self.note(name, Verdict::Decision, sentence);
    }

    /// All that begins so.
    fn without(&mut self, prefix: &str, sentence: &str) {
        for property in self.rest_of(prefix) {
            let sentence = sentence.to_owned();
            self.reading
                .note(&property, Verdict::NoCounterpart, sentence);
        }
    }
}

/// Takes what the converters of these halves of a record are told of their registry.
pub(super) fn translate(reading: &mut Reading<'_>, halves: &[&str]) {
    reading.set(&table::SERIALIZATION, "avro");
    let mut converters = Converters { reading, halves };
    access::translate(&mut converters);
    let auto = "auto.register.schemas";
    if let Some(value) = converters.said(auto, table::SCHEMA_AUTO_REGISTER.name, Some("true")) {
        converters.reading.set(&table::SCHEMA_AUTO_REGISTER, value);
        converters.taken(auto, table::SCHEMA_AUTO_REGISTER.name);
    }
    subjects(&mut converters);
    ids(&mut converters);
    for (name, default) in DEFAULTS {
        let Some(value) = converters.said(name, "what is written", Some(default)) else {
            continue;
        };
        match value == *default {
            true => converters.taken(name, "the default, as here"),
            false => converters.decide(
                name,
                &format!("schemas are as with its default {default}, and nothing changes that"),
            ),
        }
    }
    for (prefix, sentence) in NONE {
        converters.without(prefix, sentence);
    }
    for property in converters.rest_of("") {
        let sentence = "Tailwater does not know this property of the converter; see whether it changes what is written";
        converters.reading.decide(&property, sentence);
    }
}

fn subjects(converters: &mut Converters<'_, '_>) {
    let default = "io.confluent.kafka.serializers.subject.TopicNameStrategy";
    let variable = &table::SCHEMA_SUBJECT;
    let Some(value) = converters.said(STRATEGY, variable.name, Some(default)) else {
        return;
    };
    match value.rsplit('.').next() {
        Some("TopicNameStrategy") => {}
        Some("RecordNameStrategy") => converters.reading.set(variable, "record"),
        Some("TopicRecordNameStrategy") => converters.reading.set(variable, "topic_record"),
        _ => {
            converters.decide(STRATEGY, "SCHEMA_SUBJECT is topic, record or topic_record");
            return;
        }
    }
    converters.taken(STRATEGY, variable.name);
}

fn ids(converters: &mut Converters<'_, '_>) {
    let default = "io.confluent.kafka.serializers.schema.id.PrefixSchemaIdSerializer";
    let variable = &table::SCHEMA_ID_IN;
    let Some(value) = converters.said(ID, variable.name, Some(default)) else {
        return;
    };
    match value.strip_prefix(IDS) {
        Some("PrefixSchemaIdSerializer") => {}
        Some("HeaderSchemaIdSerializer") => converters.reading.set(variable, "header"),
        _ => {
            converters.decide(
                ID,
                "SCHEMA_ID_IN has Confluent's own two, as value and header, and apicurio_header",
            );
            return;
        }
    }
    converters.taken(ID, variable.name);
}

/// What the converters of these halves are told of it; what of it they cannot be told.
pub(super) fn back(set: Set<'_>, schemas: &Schemas, halves: &[&str]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut both = |name: &str, value: &str| {
        for half in halves {
            let name = name.replace("{half}", half);
            set(&format!("{half}.converter.{name}"), value);
        }
    };
    notes.extend(access::back(&mut both, &schemas.registry));
    let auto_register = schemas.auto_register.to_string();
    both("auto.register.schemas", &auto_register);
    let strategy = match schemas.subject {
        SubjectName::Topic => None,
        SubjectName::Record => Some("RecordNameStrategy"),
        SubjectName::TopicRecord => Some("TopicRecordNameStrategy"),
    };
    if let Some(strategy) = strategy {
        let class = format!("io.confluent.kafka.serializers.subject.{strategy}");
        both(STRATEGY, &class);
    }
    match schemas.id_in {
        IdIn::Value => {}
        IdIn::Header => {
            both(ID, &format!("{IDS}HeaderSchemaIdSerializer"));
            notes.push("SCHEMA_ID_IN=header needs a converter of Confluent Platform 8.1 or later; an older one ignores it, and writes the number before the value".into());
        }
        IdIn::ApicurioHeader => notes.push("SCHEMA_ID_IN=apicurio_header is left out: Confluent's converter writes the number before the value, where consumers that look for Apicurio's header do not find it; give the connector Apicurio's converter with apicurio.registry.headers.enabled=true".into()),
    }
    notes.push("SCHEMA_RECHECK_MS is left out: the converter does not look whether the registry still has a schema".into());
    notes
}
