//! What is wrong with a configuration, and what is only odd.

use crate::log::Escaped;
use std::fmt;

/// One variable that is wrong: which, what was given, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The variable's name, or `.env` for the file itself.
    pub variable: String,
    /// The value, with secrets already hidden; none where nothing was given or it must not show.
    pub given: Option<String>,
    /// What is wrong, and after a semicolon what would be right.
    pub sentence: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.given {
            // Whatever it quotes, it stays one line.
            Some(given) => {
                let Self {
                    variable, sentence, ..
                } = self;
                write!(
                    f,
                    "{}",
                    Escaped(format_args!("{variable}={given}: {sentence}"))
                )
            }
            None => write!(
                f,
                "{}",
                Escaped(format_args!("{}: {}", self.variable, self.sentence))
            ),
        }
    }
}

/// Something odd that does not stop the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub variable: String,
    pub sentence: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = format_args!("{}: {}", self.variable, self.sentence);
        write!(f, "{}", Escaped(line))
    }
}

/// Everything that is wrong with a configuration, all at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    pub problems: Vec<Problem>,
    /// Shown with the problems: a misspelt name is often why another is missing.
    pub warnings: Vec<Warning>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("the configuration has an error:")?,
            n => write!(f, "the configuration has {n} errors:")?,
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        for warning in &self.warnings {
            write!(f, "\n  warning: {warning}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigErrors> for crate::error::Error {
    fn from(errors: ConfigErrors) -> Self {
        Self::new(crate::error::Code::Config, errors.to_string())
    }
}
