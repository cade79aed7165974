//! When a schedule is due. All times are milliseconds since the Unix epoch.

use super::cron::Line;
use jiff::Timestamp;
use std::fmt;

/// When a schedule is due.
#[derive(Debug, Clone)]
pub enum Timing {
    Cron(Box<Line>),
    /// At multiples of so many milliseconds since the epoch.
    Every(i64),
    At(i64),
}

/// The shortest and the longest interval, in milliseconds.
const SHORTEST: i64 = 1_000;
const LONGEST: i64 = 366 * DAY;
const DAY: i64 = 86_400_000;

/// The units of an interval.
const UNITS: [(&str, i64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", DAY),
];

/// How far back the last due time is looked for, ever farther: what is due often is found in the first.
const BACK: [i64; 6] = [60_000, 3_600_000, DAY, 31 * DAY, 366 * DAY, 9 * 366 * DAY];

impl Timing {
    /// Reads an interval such as `15m`.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn every(text: &str) -> Result<Self, String> {
        let right = "give a whole number with ms, s, m, h or d, such as 15m";
        let digits = text
            .trim()
            .trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text.trim()[digits.len()..].to_ascii_lowercase();
        let factor = UNITS.iter().find(|(name, _)| *name == unit);
        let (Ok(number), Some((_, factor))) = (digits.trim().parse::<u32>(), factor) else {
            return Err(format!("{text} is no interval; {right}"));
        };
        let millis = i64::from(number) * factor;
        match (SHORTEST..=LONGEST).contains(&millis) {
            true => Ok(Self::Every(millis)),
            false => Err(format!("{text} is not from 1s to 366d; {right}")),
        }
    }

    /// The first due time behind `after`; none where there is none any more.
    pub fn next_after(&self, after: i64) -> Option<i64> {
        match self {
            Self::Cron(line) => line.next_after(after.div_euclid(1_000))?.checked_mul(1_000),
            Self::Every(millis) => after
                .div_euclid(*millis)
                .checked_add(1)?
                .checked_mul(*millis),
            Self::At(at) => (*at > after).then_some(*at),
        }
    }

    /// The last due time behind `from` and not behind `until`.
    pub fn latest(&self, from: i64, until: i64) -> Option<i64> {
        let line = match self {
            Self::Cron(line) => line,
            Self::Every(millis) => {
                let due = until.div_euclid(*millis) * millis;
                return (due > from).then_some(due);
            }
            Self::At(at) => return (*at > from && *at <= until).then_some(*at),
        };
        let (from, until) = (from.div_euclid(1_000), until.div_euclid(1_000));
        let starts = BACK.iter().map(|back| until.saturating_sub(back / 1_000));
        for start in starts.chain([from]) {
            let start = start.max(from);
            let mut latest = None;
            let mut next = line.next_after(start).filter(|due| *due <= until);
            while let Some(due) = next {
                latest = Some(due);
                next = line.next_after(due).filter(|due| *due <= until);
            }
            if latest.is_some() || start == from {
                return latest.map(|due| due * 1_000);
            }
        }
        None
    }

    /// Whether it is due once in all.
    pub fn is_once(&self) -> bool {
        matches!(self, Self::At(_))
    }
}

/// The same for the same timing, and as people read it.
impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cron(line) => write!(f, "cron {} {}", line.text(), line.zone()),
            Self::Every(millis) => {
                let of = |(_, factor): &&(&str, i64)| millis % factor == 0;
                let (unit, factor) = UNITS.iter().rev().find(of).unwrap_or(&UNITS[0]);
                write!(f, "every {}{unit}", millis / factor)
            }
            Self::At(at) => write!(f, "at {}", text(*at)),
        }
    }
}

/// A time as RFC 3339, in UTC; without the part of a second where that is 0.
pub fn text(millis: i64) -> String {
    Timestamp::from_millisecond(millis).map_or_else(|_| millis.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    #[test]
    fn an_interval_is_due_at_multiples_of_the_epoch() {
        let every = Timing::every("15m").unwrap();
        assert_eq!(every.next_after(0), Some(900_000));
        assert_eq!(every.next_after(899_999), Some(900_000));
        assert_eq!(every.next_after(900_000), Some(1_800_000));
        assert_eq!(every.next_after(-1), Some(0));
        assert_eq!(every.latest(0, 2_000_000), Some(1_800_000));
        assert_eq!(every.latest(1_800_000, 2_000_000), None);
        assert_eq!(every.to_string(), "every 15m");
        assert_eq!(Timing::every("90s").unwrap().to_string(), "every 90s");
        for wrong in [
            "",
            "m",
            "15",
            "15 minutes",
            "1.5h",
            "-1m",
            "0s",
            "999ms",
            "400d",
            "99999999999d",
        ] {
            assert!(Timing::every(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_time_is_due_once_and_however_far_it_is() {
        let at = Timing::At(i64::from(u32::MAX) * 100_000);
        let due = at.next_after(0).unwrap();
        assert_eq!(at.next_after(due), None);
        assert_eq!(at.latest(0, due - 1), None);
        assert_eq!(at.latest(0, i64::MAX), Some(due));
    }

    /// Whatever the line, the last due time is the one before the next.
    #[test]
    fn the_last_due_time_is_found_however_long_ago_it_was() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        for text in [
            "* * * * * *",
            "* 0 * * * *",
            "*/5 * * * *",
            "0 9 * * 1-5",
            "0 0 1 1 *",
            "0 0 29 2 *",
        ] {
            let timing = Timing::Cron(Box::new(Line::parse(text, zone.clone()).unwrap()));
            let until: i64 = 1_790_000_000_500;
            let latest = timing.latest(0, until).unwrap();
            assert!(latest <= until, "{text}");
            assert!(timing.next_after(latest).unwrap() > until, "{text}");
            assert_eq!(timing.latest(latest, until), None, "{text}");
        }
    }
}
