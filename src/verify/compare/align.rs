//! The changes of one document, as two watchers tell them: which are the same, and which are not.

use super::format::Action;
use crate::verify::entry::Hash;
use std::ops::Range;

/// A change, as far as it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub action: Action,
    /// The hash of the document after it; none where the record does not say.
    pub content: Option<Hash>,
}

impl Told {
    /// Whether both can mean the same change: what one does not show may be what the other shows.
    fn fits(self, other: Self) -> bool {
        let contents = self.content.zip(other.content);
        self.action == other.action && contents.is_none_or(|(one, other)| one == other)
    }
}

/// What became of the changes that are not the same on both sides; indices into them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Alignment {
    pub same: u64,
    /// Only the first has them.
    pub lost: Vec<usize>,
    /// Only the second has them.
    pub extra: Vec<usize>,
    /// Both have them, at another place in the order.
    pub reordered: Vec<(usize, usize)>,
    /// At the same place, with another document.
    pub different: Vec<(usize, usize)>,
    /// At the same place, with a document that the other side shows with another of its changes: both looked it up,
    /// one later.
    pub looked_up: Vec<(usize, usize)>,
}

/// Beyond so many pairs the order is followed step by step, and not searched for the best one.
const MOST: usize = 4 << 20;

/// Compares two tellings.
pub fn align(first: &[Told], second: &[Told]) -> Alignment {
    let pairs = pairs(first, second);
    let mut alignment = Alignment {
        same: pairs.len() as u64,
        ..Alignment::default()
    };
    let (mut lost, mut extra) = (Vec::new(), Vec::new());
    let (mut a, mut b) = (0, 0);
    let end = (first.len(), second.len());
    for (next_a, next_b) in pairs.into_iter().chain([end]) {
        between(
            &mut alignment,
            (first, a..next_a),
            (second, b..next_b),
            &mut lost,
            &mut extra,
        );
        (a, b) = (next_a + 1, next_b + 1);
    }
    // What both have stands at another place; where one shows less than the other, that is not said of it.
    for index in lost {
        let is_same =
            |other: &usize| first[index].content.is_some() && first[index] == second[*other];
        let is_looked_up = |other: &usize| is_looked_up((first, index), (second, *other));
        if let Some(at) = extra.iter().position(is_same) {
            alignment.reordered.push((index, extra.remove(at)));
        } else if let Some(at) = extra.iter().position(is_looked_up) {
            alignment.looked_up.push((index, extra.remove(at)));
        } else {
            alignment.lost.push(index);
        }
    }
    alignment.extra = extra;
    alignment
}

/// Pairs what stands between two changes that are the same on both sides: one of the same kind with another document
/// is different, and not lost and extra.
fn between(
    alignment: &mut Alignment,
    (first, ours): (&[Told], Range<usize>),
    (second, theirs): (&[Told], Range<usize>),
    lost: &mut Vec<usize>,
    extra: &mut Vec<usize>,
) {
    let mut theirs: Vec<usize> = theirs.collect();
    for index in ours {
        let is_alike = |other: &usize| first[index].action == second[*other].action;
        let Some(at) = theirs.iter().position(is_alike) else {
            lost.push(index);
            continue;
        };
        // Those before it have no counterpart here.
        extra.extend(theirs.drain(..at));
        let other = theirs.remove(0);
        match is_looked_up((first, index), (second, other)) {
            true => alignment.looked_up.push((index, other)),
            false => alignment.different.push((index, other)),
        }
    }
    extra.extend(theirs);
}

/// Whether two changes may be one whose document was looked up at different times: what one shows is what a later
/// change of the other made.
fn is_looked_up((first, a): (&[Told], usize), (second, b): (&[Told], usize)) -> bool {
    let is_later = |of: &[Told], from: usize, content: Option<Hash>| {
        let later = of.get(from + 1..).unwrap_or_default();
        content.is_some() && later.iter().any(|it| it.content == content)
    };
    let are_updates = first[a].action == Action::Change && second[b].action == Action::Change;
    are_updates && (is_later(second, b, first[a].content) || is_later(first, a, second[b].content))
}

/// The longest common subsequence, as pairs of indices.
fn pairs(first: &[Told], second: &[Told]) -> Vec<(usize, usize)> {
    let mut head = 0;
    while head < first.len().min(second.len()) && first[head].fits(second[head]) {
        head += 1;
    }
    let mut pairs: Vec<_> = (0..head).map(|index| (index, index)).collect();
    let (ours, theirs) = (&first[head..], &second[head..]);
    let width = theirs.len() + 1;
    if ours.len().saturating_mul(theirs.len()) > MOST {
        let mut from = 0;
        for (index, told) in ours.iter().enumerate() {
            let found = theirs[from..].iter().take(64).position(|it| told.fits(*it));
            if let Some(at) = found {
                pairs.push((head + index, head + from + at));
                from += at + 1;
            }
        }
        return pairs;
    }
    // lengths[i][j]: of the longest one of what begins at i and j.
    let mut lengths = vec![0_u32; (ours.len() + 1) * width];
    for i in (0..ours.len()).rev() {
        for j in (0..theirs.len()).rev() {
            lengths[i * width + j] = match ours[i].fits(theirs[j]) {
                true => lengths[(i + 1) * width + j + 1] + 1,
                false => lengths[(i + 1) * width + j].max(lengths[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < ours.len() && j < theirs.len() {
        if ours[i].fits(theirs[j]) {
            pairs.push((head + i, head + j));
            (i, j) = (i + 1, j + 1);
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use Action::{Change, Delete, Insert};

    fn told(action: Action, content: u8) -> Told {
        let content = (content > 0).then_some([content; 16]);
        Told { action, content }
    }

    fn all() -> Vec<Told> {
        vec![
            told(Insert, 1),
            told(Change, 2),
            told(Change, 3),
            told(Delete, 0),
        ]
    }

    #[test]
    fn the_same_changes_are_the_same() {
        let same = align(&all(), &all());
        assert_eq!(same.same, 4);
        assert_eq!(
            same,
            Alignment {
                same: 4,
                ..Alignment::default()
            }
        );
    }

    #[test]
    fn what_one_does_not_show_is_not_different() {
        let mut blind = all();
        blind[1].content = None;
        assert_eq!(align(&all(), &blind).same, 4);
    }

    #[test]
    fn a_lost_and_an_extra_change_are_found() {
        let mut less = all();
        less.remove(1);
        assert_eq!(align(&all(), &less).lost, [1]);
        assert_eq!(align(&less, &all()).extra, [1]);
        assert_eq!(align(&all(), &[]).lost, [0, 1, 2, 3]);
    }

    #[test]
    fn changes_in_another_order_are_reordered() {
        let mut other = all();
        other.swap(1, 2);
        let found = align(&all(), &other);
        assert_eq!((found.same, found.reordered.len()), (3, 1), "{found:?}");
        assert!(found.lost.is_empty() && found.extra.is_empty() && found.different.is_empty());
    }

    #[test]
    fn another_document_at_the_same_place_is_different() {
        let mut other = all();
        other[2] = told(Change, 9);
        let found = align(&all(), &other);
        assert_eq!(found.different, [(2, 2)], "{found:?}");
        assert_eq!(found.same, 3);
    }

    #[test]
    fn a_document_that_was_looked_up_later_is_no_difference() {
        let mut other = all();
        other[1] = told(Change, 3);
        let found = align(&all(), &other);
        assert!(
            found.different.is_empty() && found.lost.is_empty(),
            "{found:?}"
        );
        assert_eq!(
            found.looked_up.len() + found.reordered.len(),
            1,
            "{found:?}"
        );
    }
}
