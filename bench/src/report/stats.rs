//! What many turns come to.

use crate::record::Run;

/// The turns of one subject in one case.
pub struct Group<'a> {
    pub case: &'a str,
    pub subject: &'a str,
    runs: Vec<&'a Run>,
}

/// A value over all turns.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
    pub turns: usize,
}

impl Group<'_> {
    pub fn turns(&self) -> usize {
        self.runs.len()
    }

    /// None where no turn has the value.
    pub fn spread(&self, value: &str) -> Option<Spread> {
        let values = self.runs.iter().filter_map(|run| run.get(value));
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let turns = sorted.len();
        let (lowest, highest) = (*sorted.first()?, *sorted.last()?);
        let median = (sorted[(turns - 1) / 2] + sorted[turns / 2]) / 2.0;
        Some(Spread {
            median,
            lowest,
            highest,
            turns,
        })
    }
}

/// The runs by case and subject: cases as they came, and subjects within each.
pub fn groups<'a>(runs: impl Iterator<Item = &'a Run>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for run in runs {
        let same = |group: &&mut Group<'_>| group.case == run.case && group.subject == run.subject;
        if let Some(group) = groups.iter_mut().find(same) {
            group.runs.push(run);
            continue;
        }
        let behind = groups.iter().rposition(|group| group.case == run.case);
        let new = Group {
            case: &run.case,
            subject: &run.subject,
            runs: vec![run],
        };
        groups.insert(behind.map_or(groups.len(), |at| at + 1), new);
    }
    groups
}
