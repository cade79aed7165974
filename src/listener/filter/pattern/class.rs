//! Character classes: `[…]`, and the shorthands such as `\d`.
//!
//! In PCRE shorthands and POSIX classes know ASCII alone and take no account of the option `i`, while
//! letters do. The crate applies the option to a whole class, and then to more letters than ASCII has.

use super::Options;
use super::translate::{Rest, escaped, escaped_character};

/// What a shorthand stands for, as an item of a class.
pub(super) fn shorthand(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "[:digit:]",
        'D' => "[:^digit:]",
        'w' => "[:word:]",
        'W' => "[:^word:]",
        's' => "[:space:]",
        'S' => "[:^space:]",
        _ => return None,
    })
}

const POSIX: [&str; 14] = [
    "alpha", "digit", "alnum", "upper", "lower", "space", "blank", "punct", "print", "graph",
    "cntrl", "xdigit", "word", "ascii",
];

/// Translates what follows a `[`, up to its `]`.
pub(super) fn translate(rest: &mut Rest<'_>, options: Options) -> Result<String, String> {
    let mut class = Class::default();
    let negated = rest.next_if_eq(&'^').is_some();
    let mut is_first = true;
    loop {
        let Some(next) = rest.next() else {
            return Err("a [ has no ]; close it, or write \\[ for the character".to_owned());
        };
        match next {
            ']' if !is_first => break,
            '[' if matches!(rest.peek(), Some('.' | '=')) => {
                return Err("[.….] and [=…=] are not supported; name the characters".to_owned());
            }
            '[' if rest.peek() == Some(&':') => class.posix(rest, options)?,
            '\\' => class.escape(rest)?,
            '-' if !is_first && rest.peek() != Some(&']') => {
                return Err(
                    "a - within [] stands at neither end nor between two characters; write \\- \
                     for the character"
                        .to_owned(),
                );
            }
            literal => class.from(literal, rest)?,
        }
        is_first = false;
    }
    class.write(negated, options)
}

/// Items of a class, those that the option `i` applies to and the others.
#[derive(Default)]
struct Class {
    characters: String,
    shorthands: String,
    /// Whether the option `i` makes a difference to one of the characters.
    has_cases: bool,
}

impl Class {
    /// `[:alpha:]`
    fn posix(&mut self, rest: &mut Rest<'_>, options: Options) -> Result<(), String> {
        rest.next();
        let negated = rest.next_if_eq(&'^').is_some();
        let name: String = rest.clone().take_while(char::is_ascii_alphabetic).collect();
        let end: String = rest.clone().skip(name.len()).take(2).collect();
        if !POSIX.contains(&name.as_str()) || end != ":]" {
            return Err(
                "[: begins no class such as [:alpha:]; write \\[ for the character".to_owned(),
            );
        }
        rest.nth(name.len() + 1);
        // Without regard to case there is one class of letters.
        let name = match name.as_str() {
            "upper" | "lower" if options.ignore_case => "alpha",
            other => other,
        };
        let not = if negated { "^" } else { "" };
        self.shorthands.push_str(&format!("[:{not}{name}:]"));
        self.no_range(rest)
    }

    fn escape(&mut self, rest: &mut Rest<'_>) -> Result<(), String> {
        let Some(next) = rest.next() else {
            return Err("a \\ ends the pattern; write \\\\ for the character".to_owned());
        };
        if let Some(shorthand) = shorthand(next) {
            self.shorthands.push_str(shorthand);
            return self.no_range(rest);
        }
        let literal = match next {
            'b' => '\x08',
            _ => escaped_character(next, rest)?,
        };
        self.from(literal, rest)
    }

    /// A hyphen after a class is no range, and PCRE's versions differ in what it is.
    fn no_range(&mut self, rest: &mut Rest<'_>) -> Result<(), String> {
        let mut ahead = rest.clone();
        match (ahead.next(), ahead.next()) {
            (Some('-'), Some(after)) if after != ']' => {
                Err("a - follows a class within []; write \\- for the character".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// A character, or a range that begins with it.
    fn from(&mut self, first: char, rest: &mut Rest<'_>) -> Result<(), String> {
        let mut ahead = rest.clone();
        let last = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(after)) if after != ']' => {
                rest.nth(1);
                match after {
                    '\\' => {
                        let next = rest.next().unwrap_or('\\');
                        if shorthand(next).is_some() {
                            return Err("a range within [] ends with a class; write \\- for the character -".to_owned());
                        }
                        match next {
                            'b' => '\x08',
                            _ => escaped_character(next, rest)?,
                        }
                    }
                    '[' if matches!(rest.peek(), Some(':' | '.' | '=')) => {
                        return Err(
                            "a range within [] ends with a class; write \\- for the character -"
                                .to_owned(),
                        );
                    }
                    other => other,
                }
            }
            _ => first,
        };
        if last < first {
            return Err(
                "a range within [] goes backwards; give the lower character first".to_owned(),
            );
        }
        self.characters.push_str(&escaped(first));
        if last != first {
            self.characters.push('-');
            self.characters.push_str(&escaped(last));
        }
        let has_no_case = |c: char| c.is_ascii() && !c.is_ascii_alphabetic();
        self.has_cases |= !(has_no_case(first) && has_no_case(last))
            || (first < 'A' && last > 'Z')
            || (first < 'a' && last > 'z');
        Ok(())
    }

    fn write(self, negated: bool, options: Options) -> Result<String, String> {
        let Self {
            characters,
            shorthands,
            has_cases,
        } = self;
        let not = if negated { "^" } else { "" };
        if !options.ignore_case || shorthands.is_empty() {
            return Ok(format!("[{not}{characters}{shorthands}]"));
        }
        if !has_cases {
            return Ok(format!("(?-i:[{not}{characters}{shorthands}])"));
        }
        match negated {
            false => Ok(format!("(?:[{characters}]|(?-i:[{shorthands}]))")),
            true => Err(
                "with the option i, a class [^…] of both letters and classes is not supported; \
                 write it without one of them"
                    .to_owned(),
            ),
        }
    }
}
