//! A table: a row for each subject in each case.

use super::shape::Column;
use super::stats::{self, Group};
use crate::error::Fallible;
use crate::record::Run;
use std::fmt::Write as _;

/// # Errors
/// None in practice: it writes to a string.
pub fn write<'a>(
    text: &mut String,
    columns: &[Column],
    runs: impl Iterator<Item = &'a Run>,
) -> Fallible {
    let groups = stats::groups(runs);
    let many_cases = groups.iter().any(|group| group.case != groups[0].case);
    let columns: Vec<&Column> = columns
        .iter()
        .filter(|c| groups.iter().any(|group| group.spread(c.value).is_some()))
        .collect();
    let (case, rule) = if many_cases { ("| ", "|---") } else { ("", "") };
    write!(text, "{case}| ")?;
    for column in &columns {
        write!(text, "| {} ", column.title)?;
    }
    write!(text, "|\n{rule}|---")?;
    writeln!(text, "{}|", "|---".repeat(columns.len()))?;
    for group in &groups {
        if many_cases {
            write!(text, "| {} ", group.case)?;
        }
        write!(text, "| {} ", group.subject)?;
        for column in &columns {
            write!(text, "| {} ", cell(column, group, &groups))?;
        }
        writeln!(text, "|")?;
    }
    Ok(())
}

/// How many turns there were.
pub fn turns<'a>(runs: impl Iterator<Item = &'a Run>) -> String {
    let groups = stats::groups(runs);
    let turns = groups.iter().map(Group::turns);
    let (fewest, most) = turns.fold((usize::MAX, 0), |(low, high), n| (low.min(n), high.max(n)));
    if fewest == most {
        format!("turns: {most}")
    } else {
        format!("turns: {fewest} to {most}")
    }
}

fn cell(column: &Column, group: &Group<'_>, all: &[Group<'_>]) -> String {
    let Some(spread) = group.spread(column.value) else {
        return "–".to_owned();
    };
    if let Some(reference) = column.of {
        let reference = all
            .iter()
            .find(|other| other.case == group.case && other.subject == reference)
            .and_then(|other| other.spread(column.value));
        return reference.map_or("–".to_owned(), |reference| {
            format!("{:.0} %", 100.0 * spread.median / reference.median)
        });
    }
    let number = |value: f64| number(value, column.decimals);
    if column.spread && spread.turns > 1 {
        format!(
            "{} ({}–{})",
            number(spread.median),
            number(spread.lowest),
            number(spread.highest)
        )
    } else {
        number(spread.median)
    }
}

/// With a comma at the thousands.
pub fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left.is_multiple_of(3) && !out.ends_with('-') {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}
