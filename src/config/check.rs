//! Reading one variable after the other, keeping every complaint.

use super::env::Environment;
use super::of_stream::{self, OfStream};
use super::problem::{Problem, Warning};
use super::shown::{HIDDEN, shown};
use super::variable::{Form, Variable};
use std::time::Duration;

/// Typed access to the environment. A value that is wrong is noted and its default taken, so that
/// the rest can still be checked.
pub(super) struct Check<'a> {
    pub env: &'a Environment,
    pub problems: Vec<Problem>,
    pub warnings: Vec<Warning>,
    /// The stream that is looked at, where it has settings of its own.
    stream: Option<Stream>,
}

struct Stream {
    name: String,
    label: String,
}

impl<'a> Check<'a> {
    pub fn new(env: &'a Environment) -> Self {
        Self {
            env,
            problems: env.problems.clone(),
            warnings: env.warnings.clone(),
            stream: None,
        }
    }

    /// From here on values are those of this stream; none: those of all streams.
    pub fn look_at(&mut self, stream: Option<&str>) {
        self.stream = stream.map(|name| Stream {
            name: name.to_owned(),
            label: of_stream::label(name),
        });
    }

    /// Whether a stream has settings of its own.
    pub fn is_special(&self, stream: &str) -> bool {
        let label = of_stream::label(stream);
        self.env.of_streams.iter().any(|own| own.label == label)
    }

    /// What was given for the stream that is looked at, and for it alone.
    fn own(&self, variable: &Variable) -> Option<&'a OfStream> {
        let stream = self.stream.as_ref()?;
        self.env.of_stream(variable, &stream.label)
    }

    /// Whether a variable stands for several streams of different settings, so that it may mean some of them.
    pub fn is_of_several(&self, variable: &Variable) -> bool {
        !self.env.of_streams.is_empty() && self.own(variable).is_none()
    }

    /// The value that was given.
    pub fn given(&self, variable: &Variable) -> Option<&'a str> {
        let own = self.own(variable).map(|own| own.value.as_str());
        own.or_else(|| self.env.get(variable))
    }

    /// The value that was given, else the default.
    pub fn text(&self, variable: &Variable) -> Option<&'a str> {
        self.given(variable).or(variable.default_value())
    }

    /// The value of a variable that must be set; its example where it is not.
    pub fn required(&mut self, variable: &Variable) -> &'a str {
        self.given(variable).unwrap_or_else(|| {
            self.wrong(variable, format!("is not set; {}", variable.right()));
            variable.example
        })
    }

    /// Notes that the variable is wrong; the sentence says what would be right.
    pub fn wrong(&mut self, variable: &Variable, sentence: impl Into<String>) {
        let mut problem = Problem {
            variable: self.written(variable),
            given: self
                .given(variable)
                .map(|value| shown(variable, value))
                // A path that leads nowhere: `***` would look like a secret that was read.
                .filter(|shown| variable.is_secret() || shown != HIDDEN),
            sentence: sentence.into(),
        };
        // What is wrong for all streams was said of all.
        if !self.problems.contains(&problem) {
            problem.sentence = self.said(variable, problem.sentence);
            self.problems.push(problem);
        }
    }

    pub fn warn(&mut self, variable: &Variable, sentence: impl Into<String>) {
        let mut warning = Warning {
            variable: self.written(variable),
            sentence: sentence.into(),
        };
        if !self.warnings.contains(&warning) {
            warning.sentence = self.said(variable, warning.sentence);
            self.warnings.push(warning);
        }
    }

    /// The variable as it was given, or would be.
    fn written(&self, variable: &Variable) -> String {
        let own = self.own(variable);
        own.map_or_else(|| variable.name.to_owned(), |own| own.name.clone())
    }

    /// A sentence that says which stream it is of, where the variable does not.
    fn said(&self, variable: &Variable, sentence: String) -> String {
        match &self.stream {
            Some(stream) if self.own(variable).is_none() => {
                format!("in the stream {}: {sentence}", stream.name)
            }
            _ => sentence,
        }
    }

    pub fn flag(&mut self, variable: &Variable) -> bool {
        self.read(variable, parse_flag).unwrap_or_default()
    }

    /// A whole number within the form's bounds; none where neither given nor defaulted.
    pub fn number<T: TryFrom<u64>>(&mut self, variable: &Variable) -> Option<T> {
        let Form::Number { min, max, .. } = variable.form else {
            return None;
        };
        let value = self.read(variable, |text| parse_number(text, min, max))?;
        T::try_from(value).ok()
    }

    /// A number of bytes within the form's bounds.
    pub fn bytes(&mut self, variable: &Variable) -> usize {
        let Form::Bytes { min, max } = variable.form else {
            return 0;
        };
        let value = self
            .read(variable, |text| parse_bytes(text, min, max))
            .unwrap_or_default();
        usize::try_from(value).unwrap_or(usize::MAX)
    }

    pub fn millis(&mut self, variable: &Variable) -> Duration {
        Duration::from_millis(self.number(variable).unwrap_or_default())
    }

    pub fn seconds(&mut self, variable: &Variable) -> Duration {
        Duration::from_secs(self.number(variable).unwrap_or_default())
    }

    /// One of the form's words, whatever its case; none where neither given nor defaulted.
    pub fn choose<T: Copy>(&mut self, variable: &Variable, options: &[(&str, T)]) -> Option<T> {
        self.read(variable, |text| {
            options
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(text))
                .map(|(_, value)| *value)
                .ok_or("is none of them")
        })
    }

    /// Names separated by commas, each once.
    pub fn list(&mut self, variable: &Variable) -> Vec<String> {
        let Some(text) = self.given(variable) else {
            return Vec::new();
        };
        let mut names: Vec<String> = Vec::new();
        if self.refuse_uri(variable) {
            return names;
        }
        for name in text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        if names.is_empty() {
            self.wrong(variable, format!("names nothing; {}", variable.right()));
        }
        names
    }

    /// Notes a URI where there can be none. Whatever is said of its parts could be of a password.
    pub fn refuse_uri(&mut self, variable: &Variable) -> bool {
        let uri = self
            .given(variable)
            .is_some_and(|text| text.contains("://"));
        if uri {
            self.wrong(
                variable,
                format!("holds ://, as only a URI does; {}", variable.right()),
            );
        }
        uri
    }

    fn read<T>(
        &mut self,
        variable: &Variable,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Option<T> {
        if let Some(text) = self.given(variable) {
            match parse(text) {
                Ok(value) => return Some(value),
                Err(wrong) => self.wrong(variable, format!("{wrong}; {}", variable.right())),
            }
        }
        variable.default_value().and_then(|text| parse(text).ok())
    }
}

pub(super) fn parse_flag(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("is neither true nor false"),
    }
}

fn parse_number(text: &str, min: u64, max: u64) -> Result<u64, &'static str> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("is no whole number");
    }
    // Digits only, so what does not fit is too large.
    within(text.parse().unwrap_or(u64::MAX), min, max)
}

pub(super) fn parse_bytes(text: &str, min: u64, max: u64) -> Result<u64, &'static str> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err("is no size in bytes, KiB, MiB or GiB"),
    };
    if number.is_empty() {
        return Err("is no size in bytes, KiB, MiB or GiB");
    }
    within(
        number.parse().unwrap_or(u64::MAX).saturating_mul(factor),
        min,
        max,
    )
}

fn within(value: u64, min: u64, max: u64) -> Result<u64, &'static str> {
    if value < min {
        Err("is too small")
    } else if value > max {
        Err("is too large")
    } else {
        Ok(value)
    }
}
