//! The report: `report.md` with a table for each measurement, and a chart where one says more.

mod bars;
mod lines;
mod sections;
mod shape;
mod stats;
mod table;

use crate::error::Fallible;
use crate::record::{self, Line, Run};
use sections::{BOUNDS, SECTIONS};
use shape::Chart;
use std::fmt::Write as _;
use std::path::Path;

/// What `scripts/bench` says of the machine and the versions.
const MACHINE: &str = "machine.md";

/// Writes `report.md` and the charts into `folder`, of all that was measured.
///
/// # Errors
/// When there are no results, or a file cannot be written.
pub fn write(folder: &Path) -> Fallible {
    let lines = record::read(folder)?;
    let runs: Vec<&Run> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Run(run) => Some(run),
            _ => None,
        })
        .collect();
    let mut text = std::fs::read_to_string(folder.join(MACHINE)).unwrap_or_default();
    text.push_str(
        "\nMedians of all turns, with the lowest and the highest in brackets. What is per event counts \
         from the first record on, unless it says otherwise.\n",
    );
    for section in SECTIONS {
        let of_mode = runs.iter().copied().filter(|run| run.mode == section.mode);
        if of_mode.clone().next().is_none() {
            continue;
        }
        writeln!(text, "\n## {}\n\n{}\n", section.title, section.text)?;
        table::write(&mut text, section.columns, of_mode.clone())?;
        writeln!(text, "\n- {}", table::turns(of_mode.clone()))?;
        for note in notes(&lines, section.mode) {
            writeln!(text, "- {note}")?;
        }
        if section.bounds {
            writeln!(text, "\nCores kept busy meanwhile:\n")?;
            table::write(&mut text, BOUNDS, of_mode.clone())?;
        }
        for chart in section.charts {
            let name = chart.file();
            let path = folder.join(format!("{name}.svg"));
            match chart {
                Chart::Bars(bars) => bars::draw(&path, bars, of_mode.clone())?,
                Chart::Lines(lines) => lines::draw(&path, lines, of_mode.clone())?,
            }
            writeln!(text, "\n![{}]({name}.svg)", chart.title())?;
        }
    }
    writeln!(text, "\n## Settings that differ from defaults\n")?;
    for (subjects, settings) in settings(&lines) {
        writeln!(text, "- **{}**: `{settings}`", subjects.join("; "))?;
    }
    std::fs::write(folder.join("report.md"), &text)?;
    println!("{text}");
    Ok(())
}

fn notes<'a>(lines: &'a [Line], of: &str) -> Vec<&'a str> {
    let mut notes: Vec<&str> = Vec::new();
    for line in lines {
        if let Line::Note { mode, text } = line
            && mode == of
            && !notes.contains(&text.as_str())
        {
            notes.push(text);
        }
    }
    notes
}

/// What was set, and the subjects for which it was.
fn settings(lines: &[Line]) -> Vec<(Vec<&str>, &str)> {
    let mut settings: Vec<(Vec<&str>, &str)> = Vec::new();
    for line in lines {
        let Line::Setting { subject, text } = line else {
            continue;
        };
        match settings.iter_mut().find(|(_, known)| known == text) {
            Some((subjects, _)) if subjects.contains(&subject.as_str()) => {}
            Some((subjects, _)) => subjects.push(subject),
            None => settings.push((vec![subject], text)),
        }
    }
    settings
}
