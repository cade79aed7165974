//! Regular expressions.
//!
//! MongoDB has PCRE, here it is the `regex` crate, whose time is linear in the text. A pattern is
//! translated construct by construct (see [`translate`]): what both mean alike is taken over, what they
//! mean differently is written out, and the rest is refused by name.

mod class;
mod translate;

use crate::change::raw::Element;
use bson::spec::ElementType;
use regex::{Regex, RegexBuilder};

/// Bytes of a compiled expression, and of the tables that a thread has for it.
const COMPILED: usize = 256 * 1024;
const TABLES: usize = 512 * 1024;

/// A regular expression with its options.
#[derive(Debug)]
pub(super) struct Pattern {
    /// As in BSON: a stored regular expression that is the same one matches too.
    source: Box<[u8]>,
    regex: Regex,
}

/// What the options change.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    /// `i`: without regard to case.
    ignore_case: bool,
    /// `m`: `^` and `$` are at each line.
    lines: bool,
    /// `s`: the dot is a newline too.
    dot_is_any: bool,
    /// `x`: whitespace and comments are left out.
    spaced: bool,
}

impl Pattern {
    /// # Errors
    /// A sentence.
    pub(super) fn new(pattern: &str, options: &str) -> Result<Self, String> {
        let source = format!("{pattern}\0{options}\0").into_bytes();
        if pattern.contains('\0') {
            return Err("the regular expression has a zero byte; write it without".to_owned());
        }
        let mut known = Options::default();
        for option in options.chars() {
            known.set(option)?;
        }
        let (translated, known) = translate::translate(pattern, known)?;
        let regex = RegexBuilder::new(&translated)
            .case_insensitive(known.ignore_case)
            .dot_matches_new_line(known.dot_is_any)
            .size_limit(COMPILED)
            .dfa_size_limit(TABLES)
            .build()
            .map_err(|error| match error {
                regex::Error::CompiledTooBig(_) => {
                    "the regular expression is too large; use a shorter one, or smaller counts"
                        .to_owned()
                }
                _ => "the regular expression is not valid; look at its brackets and counts"
                    .to_owned(),
            })?;
        Ok(Self {
            source: source.into(),
            regex,
        })
    }

    /// Strings and symbols that it finds something in, and the same regular expression. Text that is
    /// not valid UTF-8 is matched by none, as in MongoDB.
    pub(super) fn accepts(&self, value: &Element<'_>) -> bool {
        match value.kind {
            ElementType::String | ElementType::Symbol => value
                .string_bytes()
                .and_then(|text| simdutf8::basic::from_utf8(text).ok())
                .is_some_and(|text| self.regex.is_match(text)),
            ElementType::RegularExpression => *self.source == *value.value,
            _ => false,
        }
    }
}

impl Options {
    fn set(&mut self, option: char) -> Result<(), String> {
        match option {
            'i' => self.ignore_case = true,
            'm' => self.lines = true,
            's' => self.dot_is_any = true,
            'x' => self.spaced = true,
            // UTF-8, which is always so.
            'u' => {}
            other => {
                return Err(format!(
                    "a regular expression has no option {other:?}; use i, m, s, x or u"
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
