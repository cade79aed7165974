//! What was found out about both ends before the first event, in sentences.

use crate::error::{Code, Error};
use crate::log::Escaped;
use serde::Serialize;
use std::fmt;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be, or worth knowing.
    Ok,
    /// Tailwater runs, with less than was asked for or at a risk.
    Warn,
    /// Tailwater cannot run like this.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable, for scripts: `mongodb.version`, `kafka.topics`.
    pub name: &'static str,
    pub severity: Severity,
    /// What is the case.
    pub sentence: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The code under which an error stops the process.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "code_name")]
    pub code: Option<Code>,
    /// Whether waiting may help (a server that is not up yet), as against what a person must change.
    pub is_transient: bool,
    /// The stream that it is about, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
}

fn code_name<S: serde::Serializer>(code: &Option<Code>, serializer: S) -> Result<S::Ok, S::Error> {
    code.map(Code::name).serialize(serializer)
}

impl Finding {
    pub fn ok(name: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            name,
            severity: Severity::Ok,
            sentence: sentence.into(),
            remedy: None,
            code: None,
            is_transient: false,
            stream: None,
        }
    }

    pub fn warn(name: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warn,
            ..Self::ok(name, sentence)
        }
    }

    /// What a person must change.
    pub fn error(name: &'static str, code: Code, sentence: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code: Some(code),
            ..Self::ok(name, sentence)
        }
    }

    /// What may be different in a while.
    pub fn not_yet(name: &'static str, code: Code, sentence: impl Into<String>) -> Self {
        Self {
            is_transient: true,
            ..Self::error(name, code, sentence)
        }
    }

    /// Writes it to the log, as loud as it is bad.
    pub fn log(&self) {
        match self.severity {
            Severity::Ok => tracing::info!(check = self.name, "{}", self.sentence),
            Severity::Warn | Severity::Error => {
                tracing::warn!(check = self.name, "{}", self.on_one_line());
            }
        }
    }

    /// Sentence and remedy for a log line, which has no line breaks. The commands of a remedy, one a line, are
    /// commands to a shell, too, with semicolons between.
    pub fn on_one_line(&self) -> String {
        let Some(remedy) = &self.remedy else {
            return self.sentence.clone();
        };
        let (advice, commands) = remedy.split_once('\n').unwrap_or((remedy, ""));
        let commands: Vec<_> = commands.lines().collect();
        let line = format!("{}; {advice} {}", self.sentence, commands.join("; "));
        line.trim_end().to_owned()
    }

    /// An error of Kafka: brokers that do not answer may do so in a while.
    pub fn of_kafka(name: &'static str, error: Error) -> Self {
        match error.code {
            Code::SinkUnavailable => Self::not_yet(name, error.code, error.detail),
            code => Self::error(name, code, error.detail),
        }
    }

    #[must_use]
    pub fn code(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Ok => "ok   ",
            Severity::Warn => "warn ",
            Severity::Error => "error",
        };
        // What it quotes, a collection's name for one, may hold the end of a line.
        let sentence = Escaped(&self.sentence);
        write!(f, "{severity}  {:<22}  ", self.name)?;
        if let Some(stream) = &self.stream {
            write!(f, "{}: ", Escaped(stream))?;
        }
        write!(f, "{sentence}")?;
        for line in self.remedy.iter().flat_map(|remedy| remedy.lines()) {
            write!(f, "\n{:31}{}", "", Escaped(line))?;
        }
        Ok(())
    }
}

/// All findings, in the order they were made. `Display` is what `tailwater check` prints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Adds what was found of another stream: what is the same for both is there once, and the rest says of which
    /// stream it is.
    pub fn merge(&mut self, stream: Option<&str>, other: Self) {
        for mut finding in other.findings {
            let same = |known: &&mut Finding| {
                known.name == finding.name && known.sentence == finding.sentence
            };
            if let Some(known) = self.findings.iter_mut().find(same) {
                known.stream = None;
                continue;
            }
            finding.stream = stream.map(str::to_owned);
            self.findings.push(finding);
        }
    }

    /// The worst of it; `Ok` for an empty report.
    pub fn severity(&self) -> Severity {
        self.findings
            .iter()
            .map(|finding| finding.severity)
            .max()
            .unwrap_or(Severity::Ok)
    }

    /// Why the process must stop: all errors that do not end by waiting, under the first one's code.
    pub fn refusal(&self) -> Option<Error> {
        self.joined(false)
    }

    /// Why the process must wait, when nothing makes it stop.
    pub fn waiting_for(&self) -> Option<Error> {
        if self.refusal().is_some() {
            None
        } else {
            self.joined(true)
        }
    }

    fn joined(&self, is_transient: bool) -> Option<Error> {
        let mut errors = self
            .findings
            .iter()
            .filter(|f| f.severity == Severity::Error && f.is_transient == is_transient)
            .peekable();
        let code = errors.peek()?.code.unwrap_or(Code::Internal);
        let sentences: Vec<_> = errors.map(Finding::on_one_line).collect();
        Some(Error::new(code, sentences.join("; also: ")))
    }

    /// For `tailwater check --json`: `{"severity":…,"findings":[…]}`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"severity": self.severity(), "findings": self.findings})
    }
}

impl Extend<Finding> for Report {
    fn extend<T: IntoIterator<Item = Finding>>(&mut self, findings: T) {
        self.findings.extend(findings);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings
            .iter()
            .try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.push(Finding::ok("mongodb.version", "MongoDB 8.0.4"));
        report.push(
            Finding::not_yet(
                "kafka.reachable",
                Code::SinkUnavailable,
                "no broker answers",
            )
            .remedy("is Kafka up?"),
        );
        report
    }

    #[test]
    fn no_name_that_is_quoted_can_pass_for_a_finding() {
        let forged = "views: a\nok     mongodb.version         all is well\r\u{1b}[2J";
        let finding = Finding::ok("mongodb.views", forged).remedy("drop a\u{2028}b\rc");
        let text = finding.to_string();
        assert!(!text.contains(['\r', '\u{1b}', '\u{2028}']), "{text:?}");
        assert!(!text.contains("\nok"), "{text:?}");
    }

    #[test]
    fn what_heals_is_waited_for_and_what_does_not_stops() {
        let mut report = report();
        assert!(report.refusal().is_none());
        assert_eq!(report.waiting_for().unwrap().code, Code::SinkUnavailable);
        report.push(Finding::error(
            "mongodb.privileges",
            Code::SourceRefused,
            "may not read",
        ));
        assert_eq!(report.refusal().unwrap().code, Code::SourceRefused);
        assert!(report.waiting_for().is_none());
        assert_eq!(report.severity(), Severity::Error);
        assert!(Report::default().refusal().is_none());
    }

    #[test]
    fn a_log_line_has_the_commands_of_a_remedy_on_one_line() {
        let mut report = Report::default();
        let refused = |what: &str| Finding::error("kafka.topics", Code::SinkRefused, what);
        report.push(refused("two topics are missing").remedy("create them:\ncreate a\ncreate b"));
        report.push(refused("may not write"));
        assert_eq!(
            report.refusal().unwrap().detail,
            "two topics are missing; create them: create a; create b; also: may not write"
        );
    }

    #[test]
    fn a_report_is_read_by_people_and_by_scripts() {
        let text = report().to_string();
        assert!(
            text.contains("error  kafka.reachable         no broker answers\n"),
            "{text}"
        );
        assert!(
            text.lines().nth(2).unwrap().trim() == "is Kafka up?",
            "{text}"
        );
        let json = report().to_json();
        assert_eq!(json["severity"], "error");
        assert_eq!(json["findings"][1]["code"], "sink_unavailable");
        assert_eq!(json["findings"][1]["is_transient"], true);
        assert!(json["findings"][0].get("remedy").is_none());
    }
}
