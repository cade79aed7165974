//! From PCRE's notation to that of the `regex` crate.
//!
//! The same characters can mean different things to the two, so nothing is passed on unseen. What is
//! written out:
//! - `\d`, `\w`, `\s`, `\b` know ASCII alone;
//! - `$` and `\Z` also match before a newline that ends the text;
//! - with `m`, `^` does not match after a newline that ends the text.
//!
//! `$` becomes an optional newline and the end. That takes the newline away from what follows, so nothing
//! may follow. A `^` of lines is the crate's own where something must follow it, so something must.

use super::Options;
use super::class;
use std::iter::Peekable;
use std::str::Chars;

/// The translated pattern, and the options together with those that it begins with.
pub(super) fn translate(pattern: &str, options: Options) -> Result<(String, Options), String> {
    let mut translation = Translation {
        rest: pattern.chars().peekable(),
        out: String::with_capacity(pattern.len() * 2),
        options,
        groups: vec![Group::default()],
    };
    translation.inline_options()?;
    translation.run()?;
    Ok((translation.out, translation.options))
}

pub(super) type Rest<'a> = Peekable<Chars<'a>>;

struct Translation<'a> {
    rest: Rest<'a>,
    out: String,
    options: Options,
    /// The open groups, the pattern itself first.
    groups: Vec<Group>,
}

/// An open group, and its alternative at hand.
#[derive(Default)]
struct Group {
    last: Last,
    /// This alternative matches some text in any case.
    takes_text: bool,
    /// So do all alternatives before it.
    earlier_may_be_empty: bool,
    /// A `^` of lines that nothing has followed yet; and one in an alternative before.
    open_line: bool,
    earlier_open_line: bool,
    /// A `$` that nothing may follow; and one in an alternative before.
    ended: bool,
    earlier_ended: bool,
}

/// What a count would apply to.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Last {
    #[default]
    Nothing,
    /// Text, or a group that may be empty; with what was so before it.
    Atom {
        takes_text: bool,
        open_line: bool,
    },
    Assertion,
    Counted,
}

impl Translation<'_> {
    /// `(?im)` at the very beginning.
    fn inline_options(&mut self) -> Result<(), String> {
        let mut ahead = self.rest.clone();
        if ahead.next() != Some('(') || ahead.next() != Some('?') {
            return Ok(());
        }
        let letters: String = ahead
            .clone()
            .take_while(|c| c.is_ascii_alphabetic())
            .collect();
        let mut after = ahead.skip(letters.len());
        if letters.is_empty() || after.next() != Some(')') {
            return Ok(());
        }
        for letter in letters.chars() {
            match letter {
                'i' | 'm' | 's' | 'x' => self.options.set(letter)?,
                _ => return Err(format!("(?{letters}) is not supported; use i, m, s and x")),
            }
        }
        self.rest.by_ref().nth(letters.len() + 2);
        Ok(())
    }

    fn run(&mut self) -> Result<(), String> {
        while let Some(next) = self.rest.next() {
            if self.options.spaced && self.skips(next)? {
                continue;
            }
            if self.group().ended && !matches!(next, ')' | '|') {
                return Err(
                    "something follows $; it can only end a pattern or an alternative, or \
                     be written as \\z"
                        .to_owned(),
                );
            }
            match next {
                '\\' => self.escape()?,
                '[' => {
                    let class = class::translate(&mut self.rest, self.options)?;
                    self.atom(&class, true);
                }
                '(' => self.open()?,
                ')' => self.close()?,
                '|' => self.alternative(),
                '*' => self.count("*", 0)?,
                '+' => self.count("+", 1)?,
                '?' => self.count("?", 0)?,
                '{' => self.braces()?,
                '.' => self.atom(".", true),
                '^' if self.options.lines => {
                    self.assertion("(?m:^)");
                    self.group().open_line = true;
                }
                '^' => self.assertion(r"\A"),
                '$' if self.options.lines => self.assertion("(?m:$)"),
                '$' => self.end(),
                literal => self.atom(&escaped(literal), true),
            }
        }
        if self.groups.len() > 1 {
            return Err("a ( has no ); close it, or write \\( for the character".to_owned());
        }
        let group = self.group();
        match group.open_line || group.earlier_open_line {
            true => {
                Err("with the option m, ^ needs something after it that cannot be empty".to_owned())
            }
            false => Ok(()),
        }
    }

    fn group(&mut self) -> &mut Group {
        if self.groups.is_empty() {
            self.groups.push(Group::default());
        }
        let at = self.groups.len() - 1;
        &mut self.groups[at]
    }

    /// With the option `x`: whitespace, and a comment up to the end of its line.
    fn skips(&mut self, next: char) -> Result<bool, String> {
        match next {
            ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r' => Ok(true),
            '#' => {
                self.rest.by_ref().find(|c| *c == '\n');
                Ok(true)
            }
            // PCRE's versions differ in whether these are space.
            '\u{85}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' => Err(
                "with the option x, only ASCII space may be left out; write others as \\x{…}"
                    .to_owned(),
            ),
            _ => Ok(false),
        }
    }

    fn atom(&mut self, translated: &str, takes_text: bool) {
        self.out.push_str(translated);
        let group = self.group();
        group.last = Last::Atom {
            takes_text: group.takes_text,
            open_line: group.open_line,
        };
        if takes_text {
            group.takes_text = true;
            group.open_line = false;
        }
    }

    fn assertion(&mut self, translated: &str) {
        self.out.push_str(translated);
        self.group().last = Last::Assertion;
    }

    /// The end of the text, or the place before a newline there.
    fn end(&mut self) {
        self.assertion(r"(?:\n?\z)");
        self.group().ended = true;
    }

    fn count(&mut self, translated: &str, at_least: u32) -> Result<(), String> {
        let what = translated.chars().next().unwrap_or('*');
        let group = self.group();
        match group.last {
            Last::Nothing => {
                return Err(format!(
                    "{what} has nothing before it to repeat; write \\{what} for the character"
                ));
            }
            Last::Assertion => {
                return Err(format!(
                    "{what} follows an assertion such as ^ or \\b, which cannot be repeated"
                ));
            }
            Last::Counted => {
                return Err(format!(
                    "{what} follows another count; possessive counts are not supported, use a group for two counts"
                ));
            }
            Last::Atom {
                takes_text,
                open_line,
            } if at_least == 0 => {
                group.takes_text = takes_text;
                group.open_line |= open_line;
            }
            Last::Atom { .. } => {}
        }
        group.last = Last::Counted;
        self.out.push_str(translated);
        // Whether it takes little or much first does not change what is found.
        self.rest.next_if_eq(&'?');
        Ok(())
    }

    /// `{n}`, `{n,}`, `{n,m}`
    fn braces(&mut self) -> Result<(), String> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let ahead: String = self.rest.clone().take(COUNT).collect();
        let inner = ahead.split_once('}').map_or("", |(inner, _)| inner);
        let (least, most) = inner.split_once(',').unwrap_or((inner, ""));
        let least = match least.parse::<u32>() {
            Ok(number) if is_number(least) && (most.is_empty() || is_number(most)) => number,
            _ => {
                return Err(
                    "{ begins no count such as {2} or {2,5}; write \\{ for the character"
                        .to_owned(),
                );
            }
        };
        self.rest.by_ref().nth(inner.len());
        self.count(&format!("{{{inner}}}"), least)
    }

    fn open(&mut self) -> Result<(), String> {
        self.out.push_str("(?:");
        match self.rest.peek() {
            Some('*') => return Err(unsupported("(*…)", "a verb")),
            Some('?') => {
                self.rest.next();
                self.special_group()?;
            }
            _ => {}
        }
        self.groups.push(Group::default());
        Ok(())
    }

    /// What follows `(?`: of groups, those that do nothing but hold together.
    fn special_group(&mut self) -> Result<(), String> {
        let ahead: String = self.rest.clone().take(2).collect();
        let refused = match ahead.as_str() {
            "<=" | "<!" => unsupported("(?<=…) or (?<!…)", "a look-behind"),
            "P=" => unsupported("(?P=…)", "a back-reference"),
            "P>" => unsupported("(?P>…)", "a recursion"),
            "P<" => {
                self.rest.next();
                return self.named();
            }
            _ => match self.rest.peek() {
                Some(':') => {
                    self.rest.next();
                    return Ok(());
                }
                Some('<') => return self.named(),
                Some('=' | '!') => unsupported("(?=…) or (?!…)", "a look-ahead"),
                Some('>') => unsupported("(?>…)", "an atomic group"),
                Some('(') => unsupported("(?(…)…)", "a condition"),
                Some('|') => unsupported("(?|…)", "a branch reset"),
                Some('#') => unsupported("(?#…)", "a comment"),
                Some('R' | '&' | '+' | '0'..='9') => unsupported("(?R) or (?1)", "a recursion"),
                _ => unsupported(
                    "(?…)",
                    "a group of this kind, or options elsewhere than at the very beginning",
                ),
            },
        };
        Err(refused)
    }

    /// `<name>`. The name itself is for back-references, which there are not.
    fn named(&mut self) -> Result<(), String> {
        self.rest.next();
        let name: String = self.rest.by_ref().take_while(|c| *c != '>').collect();
        let is_word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match name.is_empty() || !is_word || name.starts_with(|c: char| c.is_ascii_digit()) {
            true => Err("the name of a group is not valid; use letters, digits and _".to_owned()),
            false => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        let inner = match self.groups.pop() {
            Some(inner) if !self.groups.is_empty() => inner,
            _ => {
                return Err("a ) has no (; open it, or write \\) for the character".to_owned());
            }
        };
        self.atom(")", inner.takes_text && !inner.earlier_may_be_empty);
        let group = self.group();
        group.open_line |= inner.open_line || inner.earlier_open_line;
        group.ended = inner.ended || inner.earlier_ended;
        Ok(())
    }

    fn alternative(&mut self) {
        self.out.push('|');
        let group = self.group();
        *group = Group {
            earlier_may_be_empty: group.earlier_may_be_empty || !group.takes_text,
            earlier_open_line: group.earlier_open_line || group.open_line,
            earlier_ended: group.earlier_ended || group.ended,
            ..Group::default()
        };
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(next) = self.rest.next() else {
            return Err("a \\ ends the pattern; write \\\\ for the character".to_owned());
        };
        if let Some(class) = class::shorthand(next) {
            // Case is of no account to it, as in PCRE.
            self.atom(&format!("(?-i:[{class}])"), true);
            return Ok(());
        }
        match next {
            'b' => self.assertion(r"(?-u:\b)"),
            'B' => self.assertion(r"(?-u:\B)"),
            'A' => self.assertion(r"\A"),
            'z' => self.assertion(r"\z"),
            'Z' => self.end(),
            _ => {
                let literal = escaped_character(next, &mut self.rest)?;
                self.atom(&escaped(literal), true);
            }
        }
        Ok(())
    }
}

/// Characters of the longest count, `{65535,65535}`, after its brace.
const COUNT: usize = 12;

fn unsupported(construct: &str, what: &str) -> String {
    format!("{construct}, {what}, is not supported; write the expression without it")
}

/// The character that `\` and `next` stand for, in a class or outside.
pub(super) fn escaped_character(next: char, rest: &mut Rest<'_>) -> Result<char, String> {
    Ok(match next {
        't' => '\t',
        'n' => '\n',
        'r' => '\r',
        'f' => '\x0c',
        'e' => '\x1b',
        'a' => '\x07',
        'x' => return hexadecimal(rest),
        '0'..='9' | 'k' | 'g' => {
            return Err(unsupported(
                &format!("\\{next}"),
                "a back-reference or an octal number",
            ));
        }
        'p' | 'P' | 'X' => {
            return Err(unsupported(&format!("\\{next}"), "a property of Unicode"));
        }
        letter if letter.is_ascii_alphanumeric() => {
            return Err(unsupported(&format!("\\{letter}"), "an escape of PCRE's"));
        }
        other => other,
    })
}

/// `\x41` or `\x{41}`
fn hexadecimal(rest: &mut Rest<'_>) -> Result<char, String> {
    let digits: String = match rest.next_if_eq(&'{') {
        Some(_) => rest.take_while(|c| *c != '}').collect(),
        None => rest.take(2).collect(),
    };
    let is_hexadecimal = digits.len() >= 2 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    u32::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| is_hexadecimal)
        .and_then(char::from_u32)
        .ok_or_else(|| "\\x names no character; write two digits, or \\x{…}".to_owned())
}

/// A character that stands for itself.
pub(super) fn escaped(literal: char) -> String {
    match literal.is_ascii_alphanumeric() || !literal.is_ascii() {
        true => literal.to_string(),
        false => format!("\\x{:02X}", u32::from(literal)),
    }
}
