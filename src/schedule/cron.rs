//! A cron line in a time zone: when it is due, over every change of the offset.
//!
//! The pattern is matched against the clock on the wall, within stretches in which the zone's offset stays the same. So
//! what happens at a change is decided here, as Debian's cron does: a line with a fixed hour and minute that the clock
//! jumps over is due when it has jumped, and is due once in an hour that comes twice. A line whose hour or minute
//! begins with `*` keeps its interval: nothing in what is jumped over, and both times in what comes twice.

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A line that is right.
#[derive(Debug, Clone)]
pub struct Line {
    text: String,
    cron: Cron,
    zone: TimeZone,
    keeps_interval: bool,
}

/// How many changes of the offset are looked over for the next time: two a year for 29 February at an hour that is
/// jumped over, with room.
const CHANGES: usize = 100;

/// A stretch of time with one offset.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// When it begins, and the offset before; none in the first one.
    begin: Option<(i64, i64)>,
    /// The first second behind it.
    end: Option<i64>,
    offset: i64,
}

impl Line {
    /// Reads a line of five fields, or of six with the seconds first, in a zone of the IANA database.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, String> {
        let parser = CronParser::builder()
            .seconds(Seconds::Optional)
            .year(Year::Disallowed)
            .build();
        let cron = parser
            .parse(text)
            .map_err(|error| format!("is no cron line: {error}; {RIGHT}"))?;
        Ok(Self {
            keeps_interval: keeps_interval(text),
            text: text.split_whitespace().collect::<Vec<_>>().join(" "),
            cron,
            zone,
        })
    }

    /// As it was written, with single spaces.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The zone's name.
    pub fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The first second behind `after` at which it is due, both since the Unix epoch; none where it never is.
    pub fn next_after(&self, after: i64) -> Option<i64> {
        let mut from = after.checked_add(1)?;
        for _ in 0..CHANGES {
            let stretch = self.stretch(from)?;
            if let Some(due) = self.first_within(&stretch, from) {
                return Some(due);
            }
            from = stretch.end?;
        }
        None
    }

    /// The first second of a stretch, from `from` on, at which it is due.
    fn first_within(&self, stretch: &Stretch, from: i64) -> Option<i64> {
        let Stretch { begin, end, offset } = *stretch;
        let mut local = from + offset;
        if let Some((begin, before)) = begin.filter(|_| !self.keeps_interval) {
            // What the clock has jumped over.
            let is_jumped_over = offset > before
                && from == begin
                && self
                    .match_from(begin + before)
                    .is_some_and(|found| found < begin + offset);
            if is_jumped_over {
                return Some(begin);
            }
            // What comes a second time.
            local = local.max(begin + before.max(offset));
        }
        let due = self.match_from(local)? - offset;
        end.is_none_or(|end| due < end).then_some(due)
    }

    /// The first time on the wall clock, from this one on, that the pattern matches: as seconds of a day without offset.
    fn match_from(&self, local: i64) -> Option<i64> {
        let from = DateTime::<Utc>::from_timestamp(local, 0)?;
        let found = self.cron.find_next_occurrence(&from, true).ok()?;
        Some(found.timestamp())
    }

    fn stretch(&self, at: i64) -> Option<Stretch> {
        let timestamp = |second: i64| Timestamp::from_second(second).ok();
        let offset =
            |second: i64| Some(i64::from(self.zone.to_offset(timestamp(second)?).seconds()));
        let mut before = self.zone.preceding(timestamp(at.checked_add(1)?)?);
        let begin = before.next().map(|change| change.timestamp().as_second());
        let end = self.zone.following(timestamp(at)?).next();
        Some(Stretch {
            begin: match begin {
                Some(begin) => Some((begin, offset(begin - 1)?)),
                None => None,
            },
            end: end.map(|change| change.timestamp().as_second()),
            offset: offset(at)?,
        })
    }
}

/// What a cron line looks like.
pub const RIGHT: &str = "give minute, hour, day of the month, month and day of the week, such as 0 9 * * 1-5, with the \
                         seconds before them where they matter";

/// Whether the line stands for an interval, and not for times on the clock.
fn keeps_interval(text: &str) -> bool {
    let fields: Vec<_> = text.split_whitespace().collect();
    let days = 3;
    let times = fields.len().saturating_sub(days);
    match fields.as_slice() {
        [nickname] => nickname.eq_ignore_ascii_case("@hourly"),
        _ => fields
            .iter()
            .take(times)
            .any(|field| field.starts_with('*')),
    }
}

#[cfg(test)]
mod tests;
