//! What there is to say of one environment variable.

use std::fmt;

/// One environment variable: its name, what it takes, what it means.
///
/// The parser, the error sentences, `tailwater config`, the reference table and the example file
/// all read these rows, so that they cannot disagree.
#[derive(Debug)]
pub struct Variable {
    pub name: &'static str,
    pub group: Group,
    pub form: Form,
    pub default: Fallback,
    /// A value that is right: shown in sentences and in the example file.
    pub example: &'static str,
    /// One line: what it does, and why one would change it.
    pub doc: &'static str,
}

impl Variable {
    /// Whether the value, or a part of it, must never be shown.
    pub fn is_secret(&self) -> bool {
        matches!(self.form, Form::Secret | Form::Uri)
    }

    /// The variable that names a file with the value, for secrets.
    pub fn file_variable(&self) -> Option<String> {
        self.is_secret().then(|| format!("{}_FILE", self.name))
    }

    /// The default as it would be written, where it is a fixed value.
    pub fn default_value(&self) -> Option<&'static str> {
        match self.default {
            Fallback::Value(value) => Some(value),
            Fallback::Required | Fallback::Words(_) => None,
        }
    }

    /// What would be right, as the end of a sentence.
    pub fn right(&self) -> String {
        let form = &self.form;
        match form {
            Form::Flag | Form::Choice(_) => format!("give {form}"),
            _ => format!("give {form}, such as {}", self.example),
        }
    }
}

/// What applies when a variable is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// There is no default: it must be set.
    Required,
    /// This value, read by the same parser as a given one.
    Value(&'static str),
    /// No fixed value; what happens then, in words.
    Words(&'static str),
}

/// The heading under which a variable is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Source,
    Kafka,
    Topics,
    Records,
    Schemas,
    Flow,
    Checkpoints,
    Snapshots,
    Coordination,
    Listeners,
    Schedules,
    Live,
    Workers,
    Operations,
}

impl Group {
    pub const ALL: [Group; 14] = [
        Group::Source,
        Group::Kafka,
        Group::Topics,
        Group::Records,
        Group::Schemas,
        Group::Flow,
        Group::Checkpoints,
        Group::Snapshots,
        Group::Coordination,
        Group::Listeners,
        Group::Schedules,
        Group::Live,
        Group::Workers,
        Group::Operations,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Group::Source => "Source: MongoDB",
            Group::Kafka => "Kafka: the connection",
            Group::Topics => "Topics",
            Group::Records => "Records",
            Group::Schemas => "Schemas",
            Group::Flow => "Batches, memory, failures",
            Group::Checkpoints => "Checkpoints",
            Group::Snapshots => "Snapshots",
            Group::Coordination => "Several instances",
            Group::Listeners => "Listeners",
            Group::Schedules => "Schedules",
            Group::Live => "Live changes",
            Group::Workers => "Workers",
            Group::Operations => "Operations",
        }
    }
}

/// What a variable takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `true` or `false`.
    Flag,
    /// A whole number; both bounds are allowed.
    Number { unit: Unit, min: u64, max: u64 },
    /// A number of bytes, also as `16MiB`; both bounds are allowed.
    Bytes { min: u64, max: u64 },
    /// One of these words, in any case.
    Choice(&'static [&'static str]),
    /// Anything else, described in words.
    Text(&'static str),
    /// The path of a file: shown only where it leads somewhere.
    Path(&'static str),
    /// The path of a file that is made where there is none.
    NewPath(&'static str),
    /// A MongoDB connection string: shown with its hosts and its database alone.
    Uri,
    /// Never shown.
    Secret,
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Count,
    Milliseconds,
    Seconds,
    Days,
}

impl Unit {
    fn suffix(self) -> &'static str {
        match self {
            Unit::Count => "",
            Unit::Milliseconds => " ms",
            Unit::Seconds => " s",
            Unit::Days => " days",
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Form::Flag => f.write_str("true or false"),
            Form::Number { unit, min, max } => {
                write!(f, "a whole number from {min} to {max}{}", unit.suffix())
            }
            Form::Bytes { min, max } => write!(f, "a size from {} to {}", size(min), size(max)),
            Form::Choice(words) => write!(f, "one of {}", words.join(", ")),
            Form::Text(words) | Form::Path(words) | Form::NewPath(words) => f.write_str(words),
            Form::Uri => f.write_str("a MongoDB connection string"),
            Form::Secret => f.write_str("a secret"),
        }
    }
}

/// A number of bytes in the largest unit that leaves no rest.
pub(super) fn size(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}
