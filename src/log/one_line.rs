//! Keeps each event on one line: what it quotes may hold the end of a line, and what follows would pass for
//! an event of its own.

use std::io::{self, Write};
use tracing_subscriber::fmt::MakeWriter;

/// Writers of text lines, one event each.
#[derive(Debug, Clone)]
pub(super) struct OneLine<W> {
    pub writer: W,
    /// Whether the formatter's own colours are to be let through.
    pub colour: bool,
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = Line<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line {
            writer: self.writer.make_writer(),
            colour: self.colour,
        }
    }
}

/// Takes one event, as the formatter writes it: in one piece.
#[derive(Debug)]
pub(super) struct Line<W> {
    writer: W,
    colour: bool,
}

impl<W: Write> Write for Line<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let mut escaped = String::with_capacity(event.len());
        for (at, c) in line.char_indices() {
            let is_safe = match c {
                '\u{1b}' => self.colour && is_colour(&line[at + 1..]),
                '\u{2028}' | '\u{2029}' => false,
                c => !c.is_control(),
            };
            if is_safe {
                escaped.push(c);
            } else {
                escaped.extend(c.escape_default());
            }
        }
        if line.len() < text.len() {
            escaped.push('\n');
        }
        self.writer.write_all(escaped.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Whether what follows an escape changes nothing but the colour: `[1;31m`.
fn is_colour(rest: &str) -> bool {
    rest.strip_prefix('[').is_some_and(|rest| {
        rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';')
            .starts_with('m')
    })
}
