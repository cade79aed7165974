//! ISO 8601 text for milliseconds since the Unix epoch, UTC, over the whole range of an `i64`.

use super::number;
use super::output::Output;

const DAY: i64 = 86_400_000;

/// The first millisecond of the year 10000.
pub(in crate::encode) const YEAR_10000: i64 = 253_402_300_800_000;

/// Appends `2020-01-01T07:27:07.000Z`.
///
/// Years outside 0..=9999 are written as JavaScript does, `±YYYYYY`, with more digits where an
/// `i64` reaches further than JavaScript's dates.
pub(in crate::encode) fn write_millis(out: &mut Vec<u8>, millis: i64) {
    iso(&mut Output::new(out), millis, true);
}

/// A time, as a calendar and a clock have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::encode) struct Parts {
    pub(in crate::encode) year: i64,
    pub(in crate::encode) month: u32,
    pub(in crate::encode) day: u32,
    pub(in crate::encode) hour: u32,
    pub(in crate::encode) minute: u32,
    pub(in crate::encode) second: u32,
    pub(in crate::encode) millisecond: u32,
}

/// The parts of a time, UTC.
pub(in crate::encode) fn parts(millis: i64) -> Parts {
    let (days, in_day) = (millis.div_euclid(DAY), millis.rem_euclid(DAY) as u32);
    let (year, month, day) = civil(days);
    let (seconds, millisecond) = (in_day / 1000, in_day % 1000);
    Parts {
        year,
        month,
        day,
        hour: seconds / 3600,
        minute: seconds / 60 % 60,
        second: seconds % 60,
        millisecond,
    }
}

/// As [`write_millis`]; without `fraction`, milliseconds are left out where they are zero.
#[inline]
pub(super) fn iso(out: &mut Output<'_>, millis: i64, fraction: bool) {
    let (days, in_day) = (millis.div_euclid(DAY), millis.rem_euclid(DAY) as u32);
    let (year, month, day) = civil(days);
    let (seconds, ms) = (in_day / 1000, in_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);

    let mut text = *b"0000-00-00T00:00:00.000Z";
    if (0..=9999).contains(&year) {
        put_two(&mut text, 0, year as u32 / 100);
        put_two(&mut text, 2, year as u32 % 100);
    } else {
        expanded_year(out, year);
    }
    put_two(&mut text, 5, month);
    put_two(&mut text, 8, day);
    put_two(&mut text, 11, hour);
    put_two(&mut text, 14, minute);
    put_two(&mut text, 17, second);
    text[20] = b'0' + (ms / 100) as u8;
    put_two(&mut text, 21, ms % 100);

    let text = if (0..=9999).contains(&year) {
        &text[..]
    } else {
        &text[4..]
    };
    if fraction || ms != 0 {
        out.extend(text);
    } else {
        out.extend(&text[..text.len() - 5]);
        out.push(b'Z');
    }
}

#[inline(always)]
fn put_two(text: &mut [u8; 24], at: usize, value: u32) {
    text[at] = b'0' + (value / 10) as u8;
    text[at + 1] = b'0' + (value % 10) as u8;
}

#[cold]
fn expanded_year(out: &mut Output<'_>, year: i64) {
    out.push(if year < 0 { b'-' } else { b'+' });
    let digits = year.unsigned_abs();
    let mut below = 100_000;
    while digits < below && below > 1 {
        out.push(b'0');
        below /= 10;
    }
    number::integer(out, digits);
}

/// Days since the epoch as year, month and day of the proleptic Gregorian calendar.
///
/// Years are counted from March, so that the leap day ends them, in cycles of 400 years.
#[inline]
fn civil(days: i64) -> (i64, u32, u32) {
    const CYCLE: i64 = 146_097;
    let from_march = days + 719_468;
    let (cycle, in_cycle) = (
        from_march.div_euclid(CYCLE),
        from_march.rem_euclid(CYCLE) as u32,
    );
    let year = (in_cycle - in_cycle / 1460 + in_cycle / 36_524 - in_cycle / 146_096) / 365;
    let in_year = in_cycle - (365 * year + year / 4 - year / 100);
    let from_march = (5 * in_year + 2) / 153;
    let day = in_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (
        i64::from(year) + cycle * 400 + i64::from(month <= 2),
        month,
        day,
    )
}
