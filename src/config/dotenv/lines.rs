//! The text of a `.env` file, read as the Node package `dotenv` reads it, since such files are written for
//! that. Its rules, found by trying it (versions 16 to 18 agree):
//!
//! - `NAME=value`, with any space around the `=`, or `NAME: value`; `export` may stand before. A name is
//!   letters, digits, `_`, `.` and `-`.
//! - A value in `'`, `"` or `` ` `` reaches to the matching quote, over lines too, unless something else
//!   than a comment follows on that quote's line; then it is read as one without quotes. A quote behind a
//!   backslash ends nothing, where another one does. In `"` alone, `\n` and `\r` become ends of lines.
//! - Any other value reaches to the first `#` or to the end of its line, without the spaces around it.
//! - `$` has no meaning. Of two lines with one name the last counts. What is none of this is passed over.

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub pairs: Vec<Pair>,
    pub unread: Vec<Unread>,
}

/// One variable.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub name: String,
    pub value: String,
    /// The line of its name, from 1.
    pub number: usize,
    /// What may be meant otherwise.
    pub oddity: Option<&'static str>,
    /// Lines within the value that set a variable by themselves, if the quote were closed before.
    pub within: Vec<(usize, String)>,
}

/// A line with something on it that is neither a variable nor a comment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unread {
    pub number: usize,
    pub text: String,
}

const CUT: &str =
    "ends at a #, which begins a comment; where it belongs to the value, put the value in quotes";
const UNCLOSED: &str = "begins with a quote that is not closed, which is a part of the value then";

/// Reads the whole text. Never fails: what is wrong depends on which names matter.
pub(super) fn parse(text: &str) -> Parsed {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let scanner = Scanner { text: &text };
    let mut parsed = Parsed::default();
    let (mut at, mut counted, mut number) = (0, 0, 1);
    loop {
        at = scanner.after_space(at);
        if at == text.len() {
            return parsed;
        }
        number += text[counted..at].matches('\n').count();
        counted = at;
        if let Some(entry) = scanner.entry(at) {
            let (value, oddity) = entry.value(&text);
            let raw = &text[entry.raw.0..entry.raw.1];
            let first = number + text[at..entry.raw.0].matches('\n').count();
            parsed.pairs.push(Pair {
                name: entry.name.to_owned(),
                value,
                number,
                oddity,
                within: assignments_within(raw, first),
            });
            at = scanner.line_end(entry.end);
            continue;
        }
        let end = scanner.line_end(at);
        if !text[at..].starts_with('#') {
            let text = text[at..end].to_owned();
            parsed.unread.push(Unread { number, text });
        }
        at = end;
    }
}

/// The lines of a value, but for its first, that are assignments to look at, with their numbers. Of the last one
/// the quote that ends the value is a part.
fn assignments_within(raw: &str, first: usize) -> Vec<(usize, String)> {
    let lines = raw.lines().enumerate().skip(1);
    let named = lines.filter_map(|(index, line)| {
        let line = line.trim_matches(is_space);
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, _) = line.split_once('=')?;
        let name = name.trim_end_matches(is_space);
        (!name.is_empty() && name.chars().all(is_of_name)).then(|| (first + index, name.to_owned()))
    });
    named.collect()
}

/// A name and where its value stands.
struct Entry<'a> {
    name: &'a str,
    raw: (usize, usize),
    end: usize,
    /// Whether the value ends at a `#` with no space before it.
    is_cut: bool,
}

impl Entry<'_> {
    fn value(&self, text: &str) -> (String, Option<&'static str>) {
        let raw = text[self.raw.0..self.raw.1].trim_matches(is_space);
        let first = raw.chars().next();
        let quote = first.filter(|first| matches!(first, '\'' | '"' | '`'));
        let inner = quote.and_then(|quote| raw[1..].strip_suffix(quote));
        let mut value = inner.unwrap_or(raw).to_owned();
        if quote == Some('"') {
            value = value.replace("\\n", "\n").replace("\\r", "\r");
        }
        let oddity = match (self.is_cut, quote.is_some() && inner.is_none()) {
            (true, _) => Some(CUT),
            (false, true) => Some(UNCLOSED),
            (false, false) => None,
        };
        (value, oddity)
    }
}

struct Scanner<'a> {
    text: &'a str,
}

impl<'a> Scanner<'a> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// The first position from `at` that is no white space; ends of lines are.
    fn after_space(&self, at: usize) -> usize {
        let rest = &self.text[at..];
        self.text.len() - rest.trim_start_matches(is_space).len()
    }

    /// Where the line of `at` ends: at the end of the text, or before the character that ends it.
    fn line_end(&self, at: usize) -> usize {
        let rest = &self.text[at..];
        at + rest.find('\n').unwrap_or(rest.len())
    }

    fn entry(&self, at: usize) -> Option<Entry<'a>> {
        let exported = self.text[at..].strip_prefix("export").and_then(|rest| {
            let name = self.after_space(at + "export".len());
            rest.starts_with(is_space).then(|| self.assignment(name))?
        });
        // `export` may be a name, too.
        exported.or_else(|| self.assignment(at))
    }

    fn assignment(&self, at: usize) -> Option<Entry<'a>> {
        let rest = &self.text[at..];
        let name = &rest[..rest.find(|c| !is_of_name(c)).unwrap_or(rest.len())];
        if name.is_empty() {
            return None;
        }
        let behind = at + name.len();
        let equals = self.after_space(behind);
        if self.byte(equals) == Some(b'=') {
            return Some(self.entry_with(name, equals + 1));
        }
        let colon = self.text[behind..].strip_prefix(':')?;
        let space = colon.chars().next().filter(|c| is_space(*c))?;
        Some(self.entry_with(name, behind + 1 + space.len_utf8()))
    }

    fn entry_with(&self, name: &'a str, at: usize) -> Entry<'a> {
        let quote = self.after_space(at);
        if let Some(end) = self.quoted(quote) {
            return Entry {
                name,
                raw: (quote, end),
                end: self.after_quote(end),
                is_cut: false,
            };
        }
        let line_end = self.line_end(at);
        let line = &self.text[at..line_end];
        let (end, is_cut) = match line.find('#') {
            Some(mark) => (at + mark, !line[..mark].ends_with(is_space)),
            None => (line_end, false),
        };
        Entry {
            name,
            raw: (at, end),
            end,
            is_cut,
        }
    }

    /// Where the value ends whose quote is at `at`, behind the closing quote; none where it is not closed,
    /// or more follows.
    fn quoted(&self, at: usize) -> Option<usize> {
        let quote = self.byte(at).filter(|b| matches!(b, b'\'' | b'"' | b'`'))?;
        let mut ends = Vec::new();
        for (i, byte) in self.text.bytes().enumerate().skip(at + 1) {
            if byte == quote {
                ends.push(i + 1);
                let is_escaped = i > at + 1 && self.byte(i - 1) == Some(b'\\');
                if !is_escaped {
                    break;
                }
            }
        }
        ends.into_iter().rev().find(|end| self.is_at_end(*end))
    }

    /// Whether nothing but a comment follows on the line.
    fn is_at_end(&self, at: usize) -> bool {
        let next = self.after_space(at);
        matches!(self.byte(next), None | Some(b'#')) || self.line_end(at) < next
    }

    /// Where to read on behind a closed value: behind the spaces, unless those reach over lines.
    fn after_quote(&self, at: usize) -> usize {
        self.after_space(at).min(self.line_end(at))
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// White space as JavaScript has it.
fn is_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}'
}
