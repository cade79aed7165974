//! A chart of bars: the median of each subject in each case, with whiskers from the lowest turn to the
//! highest.

use super::shape::Bars;
use super::stats::{self, Group, Spread};
use super::table::number;
use crate::error::Fallible;
use crate::record::Run;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

const WIDTH: i32 = 860;
const BAR: i32 = 20;
const GAP: i32 = 8;
/// Space for the names, and for the numbers behind the bars.
const LEFT: i32 = 250;
const RIGHT: i32 = 190;
const TOP: i32 = 48;
/// A light ground of its own, so that it reads the same on a light page and on a dark one.
pub const GROUND: RGBColor = RGBColor(250, 250, 248);
pub const INK: RGBColor = RGBColor(40, 44, 52);
/// Tailwater, and everybody else.
const OURS: RGBColor = RGBColor(14, 116, 144);
const LIMITS: RGBColor = RGBColor(148, 163, 184);
const PEERS: RGBColor = RGBColor(217, 119, 6);

/// # Errors
/// When the file cannot be written.
pub fn draw<'a>(path: &Path, chart: &Bars, runs: impl Iterator<Item = &'a Run>) -> Fallible {
    let groups = stats::groups(runs);
    let rows: Vec<(&Group<'_>, Spread)> = groups
        .iter()
        .filter_map(|group| Some((group, group.spread(chart.value)?)))
        .collect();
    let many_cases = groups.iter().any(|group| group.case != groups[0].case);
    let most = rows
        .iter()
        .map(|(_, s)| s.highest)
        .fold(f64::MIN_POSITIVE, f64::max);
    let breaks = rows.windows(2).filter(|two| two[0].0.case != two[1].0.case);
    let height = TOP + (BAR + GAP) * rows.len() as i32 + GAP * (breaks.count() as i32 + 1);
    let root = SVGBackend::new(path, (WIDTH as u32, height as u32)).into_drawing_area();
    root.fill(&GROUND)?;
    let write = |text: String, at: (i32, i32), size: i32, side: HPos| {
        let style = ("sans-serif", size).into_font().color(&INK);
        let style = style.pos(Pos::new(side, VPos::Center));
        root.draw(&Text::new(text, at, style))
    };
    write(chart.title.to_owned(), (GAP * 2, TOP / 2), 18, HPos::Left)?;
    let x = |value: f64| LEFT + (f64::from(WIDTH - LEFT - RIGHT) * value / most) as i32;
    let mut y = TOP;
    let mut case = groups[0].case;
    for (group, spread) in rows {
        if group.case != case {
            case = group.case;
            y += GAP;
        }
        let middle = y + BAR / 2;
        let name = if many_cases {
            format!("{case}: {}", group.subject)
        } else {
            group.subject.to_owned()
        };
        write(name, (LEFT - GAP, middle), 13, HPos::Right)?;
        let bar = [(LEFT, y), (x(spread.median).max(LEFT + 1), y + BAR)];
        root.draw(&Rectangle::new(bar, colour(group.subject).filled()))?;
        let mut text = number(spread.median, chart.decimals);
        let mut end = x(spread.median);
        if spread.turns > 1 {
            let (low, high) = (x(spread.lowest), x(spread.highest));
            end = end.max(high);
            for line in [
                [(low, middle), (high, middle)],
                [(low, middle - 5), (low, middle + 5)],
                [(high, middle - 5), (high, middle + 5)],
            ] {
                root.draw(&PathElement::new(line.to_vec(), INK.stroke_width(1)))?;
            }
            let number = |value| number(value, chart.decimals);
            text += &format!("  ({}–{})", number(spread.lowest), number(spread.highest));
        }
        write(text, (end + GAP, middle), 13, HPos::Left)?;
        y += BAR + GAP;
    }
    root.present()?;
    Ok(())
}

fn colour(subject: &str) -> RGBColor {
    if subject.starts_with("Tailwater") {
        OURS
    } else if subject.starts_with("mongo-kafka") || subject.starts_with("Debezium") {
        PEERS
    } else {
        LIMITS
    }
}
