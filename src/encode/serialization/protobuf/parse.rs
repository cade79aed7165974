//! The language of Protobuf's files, as far as messages go.

use std::iter::Peekable;
use std::vec::IntoIter;

/// A file.
#[derive(Debug, Default)]
pub(super) struct File {
    pub package: String,
    /// In the file's order; what is nested has a name with dots.
    pub messages: Vec<Message>,
    /// The first of what is not written here, and so cannot be written anew.
    pub beyond: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Message {
    pub name: String,
    pub fields: Vec<Field>,
    /// What is behind the word `reserved`.
    pub reserved: Vec<String>,
    /// The greatest number that is a field's or reserved.
    pub last_number: u32,
}

#[derive(Debug)]
pub(super) struct Field {
    pub name: String,
    pub number: u32,
    pub label: Label,
    /// The name of its type; that of the values of a map.
    pub of: String,
    /// Its name in JSON, where the file says it.
    pub json_name: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    One,
    Repeated,
    Map,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// The greatest number that a field may have.
const LAST_NUMBER: u32 = (1 << 29) - 1;
/// How deep messages may lie in one another.
const MAX_DEPTH: usize = 64;

/// Reads a file.
///
/// # Errors
/// A sentence: why it cannot be read.
pub(super) fn file(text: &str) -> Result<File, String> {
    let mut parser = Parser {
        tokens: tokens(text)?.into_iter().peekable(),
        file: File::default(),
    };
    parser.file()?;
    Ok(parser.file)
}

const UNREADABLE: &str = "is no file in Protobuf's language";

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let unreadable = || UNREADABLE.to_owned();
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
    let mut tokens = Vec::new();
    let mut rest = text.trim_start_matches('\u{FEFF}');
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            rest = rest.trim_start();
        } else if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if rest.starts_with("/*") {
            rest = rest.split_once("*/").ok_or_else(unreadable)?.1;
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if matches!(first, '"' | '\'') {
            let (text, after) = string(&rest[1..], first).ok_or_else(unreadable)?;
            tokens.push(Token::Text(text));
            rest = after;
        } else {
            tokens.push(Token::Sign(first));
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(tokens)
}

/// The string that ends with `quote`, and what comes after it.
fn string(text: &str, quote: char) -> Option<(String, &str)> {
    let mut bytes = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            let read = String::from_utf8_lossy(&bytes).into_owned();
            return Some((read, &text[at + c.len_utf8()..]));
        }
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let (_, escape) = chars.next()?;
        let (radix, most, mut number) = match escape {
            'x' | 'X' => (16, 2, 0),
            '0'..='7' => (8, 2, escape.to_digit(8)?),
            _ => {
                let plain = match escape {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    'v' => '\u{b}',
                    other => other,
                };
                bytes.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        for _ in 0..most {
            let Some(digit) = chars.peek().and_then(|(_, c)| c.to_digit(radix)) else {
                break;
            };
            number = number * radix + digit;
            chars.next();
        }
        bytes.push(u8::try_from(number).ok()?);
    }
    None
}

struct Parser {
    tokens: Peekable<IntoIter<Token>>,
    file: File,
}

type Outcome<T = ()> = Result<T, String>;

impl Parser {
    fn file(&mut self) -> Outcome {
        let mut syntax = None;
        while let Some(token) = self.tokens.next() {
            match token {
                Token::Sign(';') => {}
                Token::Word(word) => match word.as_str() {
                    "syntax" => {
                        self.sign('=')?;
                        syntax = self.tokens.next();
                        self.sign(';')?;
                    }
                    "package" => {
                        self.file.package = self.word()?;
                        self.sign(';')?;
                    }
                    "import" => self.skip()?,
                    "message" => self.message("", 0)?,
                    _ => {
                        self.note(&word);
                        self.skip()?;
                    }
                },
                _ => return unreadable(),
            }
        }
        match syntax {
            Some(Token::Text(third)) if third == "proto3" => Ok(()),
            _ => Err("is not of the syntax proto3".to_owned()),
        }
    }

    fn note(&mut self, what: &str) {
        self.file.beyond.get_or_insert_with(|| format!("`{what}`"));
    }

    fn message(&mut self, scope: &str, depth: usize) -> Outcome {
        if depth > MAX_DEPTH {
            return unreadable();
        }
        let name = self.word()?;
        let mut message = Message {
            name: match scope {
                "" => name,
                scope => format!("{scope}.{name}"),
            },
            ..Message::default()
        };
        // It stands before what is nested in it.
        let index = self.file.messages.len();
        self.file.messages.push(Message::default());
        self.sign('{')?;
        self.body(&mut message, depth)?;
        self.file.messages[index] = message;
        Ok(())
    }

    fn body(&mut self, message: &mut Message, depth: usize) -> Outcome {
        loop {
            let word = match self.tokens.next() {
                Some(Token::Sign('}')) => return Ok(()),
                Some(Token::Sign(';')) => continue,
                Some(Token::Word(word)) => word,
                _ => return unreadable(),
            };
            // A field's type may be named like a statement, and then a name and `=` follow.
            match word.as_str() {
                "message" => {
                    self.note("message in a message");
                    let scope = message.name.clone();
                    self.message(&scope, depth + 1)?;
                }
                "oneof" => {
                    self.note("oneof");
                    self.word()?;
                    self.sign('{')?;
                    self.body(message, depth)?;
                }
                "reserved" => self.reserved(message)?,
                "option" | "extensions" | "enum" | "extend" | "group" => {
                    self.note(&word);
                    self.skip()?;
                }
                _ => {
                    let field = self.field(word)?;
                    message.last_number = message.last_number.max(field.number);
                    if field.number >= LAST_NUMBER {
                        self.note("a field with the last number");
                    }
                    message.fields.push(field);
                }
            }
        }
    }

    fn reserved(&mut self, message: &mut Message) -> Outcome {
        let mut text = String::new();
        loop {
            let part = match self.tokens.next() {
                Some(Token::Sign(';')) => break,
                Some(Token::Sign(sign)) => {
                    text.push(sign);
                    continue;
                }
                Some(Token::Word(word)) => {
                    if let Some(number) = number(&word) {
                        message.last_number = message.last_number.max(number);
                    }
                    word
                }
                Some(Token::Text(name)) => format!("{name:?}"),
                None => return unreadable(),
            };
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(&part);
        }
        message.reserved.push(text);
        if message.last_number >= LAST_NUMBER {
            self.note("reserved numbers up to the last");
        }
        Ok(())
    }

    fn field(&mut self, first: String) -> Outcome<Field> {
        let (label, of) = match first.as_str() {
            "map" => {
                self.sign('<')?;
                let key = self.word()?;
                if key != "string" {
                    return Err(format!("has a map whose keys are {key}"));
                }
                self.sign(',')?;
                let of = self.word()?;
                self.sign('>')?;
                (Label::Map, of)
            }
            "repeated" => (Label::Repeated, self.word()?),
            "optional" => (Label::One, self.word()?),
            _ => (Label::One, first),
        };
        let name = self.word()?;
        self.sign('=')?;
        let number = number(&self.word()?).ok_or_else(|| UNREADABLE.to_owned())?;
        let json_name = self.options()?;
        Ok(Field {
            name,
            number,
            label,
            of,
            json_name,
        })
    }

    /// What follows a field's number, up to its end.
    fn options(&mut self) -> Outcome<Option<String>> {
        let mut json_name = None;
        match self.tokens.next() {
            Some(Token::Sign(';')) => return Ok(None),
            Some(Token::Sign('[')) => {}
            _ => return unreadable(),
        }
        loop {
            match (self.tokens.next(), self.tokens.peek()) {
                (Some(Token::Word(word)), Some(Token::Sign('='))) if word == "json_name" => {
                    self.tokens.next();
                    match self.tokens.next() {
                        Some(Token::Text(name)) => json_name = Some(name),
                        _ => return unreadable(),
                    }
                }
                (Some(Token::Sign(',')), _) => {}
                (Some(Token::Sign(']')), _) => break,
                (Some(Token::Word(word)), _) => self.note(&word),
                (Some(_), _) => self.note("option"),
                (None, _) => return unreadable(),
            }
        }
        self.sign(';')?;
        Ok(json_name)
    }

    /// Leaves out a statement, to its `;` or its block's end.
    fn skip(&mut self) -> Outcome {
        let mut depth = 0;
        loop {
            match self.tokens.next() {
                Some(Token::Sign('{')) => depth += 1,
                Some(Token::Sign('}')) if depth == 1 => break,
                Some(Token::Sign('}')) if depth > 1 => depth -= 1,
                Some(Token::Sign(';')) if depth == 0 => break,
                Some(Token::Sign('}')) | None => return unreadable(),
                Some(_) => {}
            }
        }
        // An option in braces has one after it.
        self.tokens.next_if_eq(&Token::Sign(';'));
        Ok(())
    }

    fn word(&mut self) -> Outcome<String> {
        match self.tokens.next() {
            Some(Token::Word(word)) => Ok(word),
            _ => unreadable(),
        }
    }

    fn sign(&mut self, wanted: char) -> Outcome {
        match self.tokens.next() {
            Some(Token::Sign(sign)) if sign == wanted => Ok(()),
            _ => unreadable(),
        }
    }
}

/// A field's number, or the greatest that there is.
fn number(word: &str) -> Option<u32> {
    let radix = |digits: &str, radix| u32::from_str_radix(digits, radix).ok();
    if word == "max" {
        return Some(LAST_NUMBER);
    }
    match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) => radix(digits, 16),
        None if word.starts_with('0') => radix(word, 8),
        None => radix(word, 10),
    }
}

fn unreadable<T>() -> Outcome<T> {
    Err(UNREADABLE.to_owned())
}
