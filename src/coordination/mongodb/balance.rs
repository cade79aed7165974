//! Who should take what is free, and who gives what to whom.
//!
//! A pure function of what all instances see, so that they come to the same plan without asking each
//! other. Every move makes the spread strictly more even, so that nothing goes back and forth.

use std::collections::{BTreeMap, BTreeSet};

/// Where a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place<'a> {
    /// Nobody has it; it may be on its way to an instance.
    Free { to: Option<&'a str> },
    /// An instance has it, which may be giving it to another.
    Of {
        owner: &'a str,
        to: Option<&'a str>,
        /// A person moved it there: it stays.
        is_pinned: bool,
    },
}

/// Everything that the plan is made from.
#[derive(Debug, Clone, Default)]
pub struct Picture<'a> {
    pub streams: BTreeMap<&'a str, Place<'a>>,
    /// The instances that can be given something, and which streams each of them can run.
    pub instances: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

/// What is to be done; each instance does its own part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan<'a> {
    /// Which instance takes a free stream.
    pub takes: BTreeMap<&'a str, &'a str>,
    /// Streams that change their instance.
    pub moves: Vec<Move<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move<'a> {
    pub stream: &'a str,
    pub from: &'a str,
    pub to: &'a str,
}

/// From how many streams more than another an instance gives one away.
const UNEVEN: usize = 2;

/// The plan for this picture.
pub fn plan<'a>(picture: &Picture<'a>) -> Plan<'a> {
    let mut plan = Plan::default();
    let mut load: BTreeMap<&str, usize> = picture.instances.keys().map(|id| (*id, 0)).collect();
    for (stream, place) in &picture.streams {
        let (Place::Free { to } | Place::Of { to, .. }) = place;
        let held_by = match place {
            Place::Free { .. } => None,
            Place::Of { owner, .. } => Some(owner),
        };
        if let Some(id) = to.as_ref().or(held_by) {
            *load.entry(id).or_default() += 1;
        }
        if let Place::Free { to: Some(to) } = place {
            plan.takes.insert(stream, to);
        }
    }
    for (stream, place) in &picture.streams {
        if matches!(place, Place::Free { to: None })
            && let Some(id) = least(picture, &load, stream, None)
        {
            *load.entry(id).or_default() += 1;
            plan.takes.insert(stream, id);
        }
    }
    let mut movable: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (stream, place) in &picture.streams {
        if let Place::Of {
            owner,
            to: None,
            is_pinned: false,
        } = place
        {
            movable.entry(owner).or_default().push(stream);
        }
    }
    while let Some(next) = next_move(picture, &load, &movable) {
        *load.entry(next.from).or_default() -= 1;
        *load.entry(next.to).or_default() += 1;
        if let Some(streams) = movable.get_mut(next.from) {
            streams.retain(|stream| *stream != next.stream);
        }
        plan.moves.push(next);
    }
    plan
}

/// How many streams this instance has at most when all is even. Where not every instance can run every
/// stream there is no such number.
pub fn share(picture: &Picture<'_>, id: &str) -> usize {
    let all: BTreeSet<&str> = picture.streams.keys().copied().collect();
    let instances = &picture.instances;
    if instances.is_empty() || instances.values().any(|able| !able.is_superset(&all)) {
        return usize::MAX;
    }
    let rank = instances.keys().take_while(|other| **other < id).count();
    let (each, rest) = (all.len() / instances.len(), all.len() % instances.len());
    each + usize::from(rank < rest)
}

/// The instance that should have `stream` next, if `from` gives it away. Least loaded first.
pub fn successor<'a>(picture: &Picture<'a>, stream: &str, from: &str) -> Option<&'a str> {
    let mut load: BTreeMap<&str, usize> = BTreeMap::new();
    for place in picture.streams.values() {
        let id = match place {
            Place::Free { to } => *to,
            Place::Of { owner, to, .. } => to.or(Some(*owner)),
        };
        if let Some(id) = id {
            *load.entry(id).or_default() += 1;
        }
    }
    least(picture, &load, stream, Some(from))
}

fn least<'a>(
    picture: &Picture<'a>,
    load: &BTreeMap<&'a str, usize>,
    stream: &str,
    but: Option<&str>,
) -> Option<&'a str> {
    let able = picture
        .instances
        .iter()
        .filter(|(id, streams)| but != Some(**id) && streams.contains(stream));
    able.map(|(id, _)| *id)
        .min_by_key(|id| (load.get(id).copied().unwrap_or(0), *id))
}

/// From the one with most to the one with least between which a stream can be moved.
fn next_move<'a>(
    picture: &Picture<'a>,
    load: &BTreeMap<&'a str, usize>,
    movable: &BTreeMap<&'a str, Vec<&'a str>>,
) -> Option<Move<'a>> {
    let of = |id: &str| load.get(id).copied().unwrap_or(0);
    let mut givers: Vec<&str> = movable.keys().copied().collect();
    givers.sort_by_key(|id| (std::cmp::Reverse(of(id)), *id));
    let mut takers: Vec<&str> = picture.instances.keys().copied().collect();
    takers.sort_by_key(|id| (of(id), *id));
    for from in givers {
        for to in takers.iter().copied() {
            if of(from) < of(to) + UNEVEN {
                break;
            }
            let able = picture.instances.get(to)?;
            let found = movable
                .get(from)?
                .iter()
                .rev()
                .find(|stream| able.contains(*stream));
            if let Some(stream) = found {
                return Some(Move { stream, from, to });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAMS: [&str; 12] = [
        "s00", "s01", "s02", "s03", "s04", "s05", "s06", "s07", "s08", "s09", "s10", "s11",
    ];
    const INSTANCES: [&str; 5] = ["a", "b", "c", "d", "e"];

    fn picture<'a>(instances: &[&'a str], owner: impl Fn(usize) -> Option<&'a str>) -> Picture<'a> {
        let able: BTreeSet<&str> = STREAMS.into_iter().collect();
        let place = |index| match owner(index) {
            None => Place::Free { to: None },
            Some(owner) => Place::Of {
                owner,
                to: None,
                is_pinned: false,
            },
        };
        Picture {
            streams: STREAMS
                .into_iter()
                .enumerate()
                .map(|(index, stream)| (stream, place(index)))
                .collect(),
            instances: instances.iter().map(|id| (*id, able.clone())).collect(),
        }
    }

    /// The owners after the plan, and how many each has.
    fn after<'a>(picture: &Picture<'a>) -> (BTreeMap<&'a str, &'a str>, BTreeMap<&'a str, usize>) {
        let plan = plan(picture);
        let mut owners = plan.takes.clone();
        for (stream, place) in &picture.streams {
            if let Place::Of { owner, to, .. } = place {
                owners.insert(stream, to.unwrap_or(owner));
            }
        }
        for step in &plan.moves {
            assert_eq!(owners.insert(step.stream, step.to), Some(step.from));
        }
        let mut load: BTreeMap<&str, usize> = picture.instances.keys().map(|id| (*id, 0)).collect();
        for owner in owners.values() {
            *load.entry(owner).or_default() += 1;
        }
        (owners, load)
    }

    #[test]
    fn twelve_streams_on_three_instances_are_four_each_with_as_few_moves_as_possible() {
        let three = picture(&INSTANCES[..3], |_| None);
        let (_, load) = after(&three);
        assert!(load.values().all(|count| *count == 4), "{load:?}");

        // `c` is dead, and its four are free: nobody gives anything away.
        let two = picture(&INSTANCES[..2], |index| {
            Some(INSTANCES[index % 3]).filter(|id| *id != "c")
        });
        assert!(plan(&two).moves.is_empty());
        assert!(after(&two).1.values().all(|count| *count == 6));

        // It is back: the others give two each.
        let again = picture(&INSTANCES[..3], |index| Some(INSTANCES[index % 2]));
        let moves = plan(&again).moves;
        assert_eq!(moves.len(), 4);
        assert!(moves.iter().all(|step| step.to == "c"), "{moves:?}");
        assert!(after(&again).1.values().all(|count| *count == 4));
    }

    #[test]
    fn what_is_on_its_way_counts_where_it_goes() {
        let mut picture = picture(&["a", "b"], |index| Some(if index < 8 { "a" } else { "b" }));
        for stream in ["s00", "s01"] {
            let place = Place::Of {
                owner: "a",
                to: Some("b"),
                is_pinned: false,
            };
            picture.streams.insert(stream, place);
        }
        assert_eq!(plan(&picture), Plan::default());
    }

    #[test]
    fn what_a_person_moved_stays_and_something_else_makes_room() {
        let mut picture = picture(&["a", "b"], |index| Some(if index < 5 { "a" } else { "b" }));
        let pinned = Place::Of {
            owner: "b",
            to: None,
            is_pinned: true,
        };
        picture.streams.insert("s11", pinned);
        let moves = plan(&picture).moves;
        assert_eq!(
            moves,
            [Move {
                stream: "s10",
                from: "b",
                to: "a"
            }]
        );
    }

    #[test]
    fn a_stream_goes_only_where_it_can_run() {
        let mut picture = picture(&["a", "b"], |_| Some("a"));
        picture.instances.insert("b", ["s03"].into());
        let moves = plan(&picture).moves;
        assert_eq!(
            moves,
            [Move {
                stream: "s03",
                from: "a",
                to: "b"
            }]
        );
        assert_eq!(successor(&picture, "s03", "a"), Some("b"));
        assert_eq!(successor(&picture, "s04", "a"), None);
    }

    proptest! {
        #[test]
        fn a_plan_makes_it_even_and_the_next_one_is_empty(
            owners in proptest::collection::vec(proptest::option::of(0..5usize), 12),
            live in 1..5usize,
        ) {
            let picture_before = picture(&INSTANCES[..live], |index| {
                owners[index].filter(|owner| *owner < live).map(|owner| INSTANCES[owner])
            });
            let (owners, load) = after(&picture_before);
            let (most, least) = (load.values().max().unwrap(), load.values().min().unwrap());
            prop_assert!(most - least < UNEVEN, "{load:?}");
            let then = picture(&INSTANCES[..live], |index| owners.get(STREAMS[index]).copied());
            prop_assert_eq!(plan(&then), Plan::default());
        }
    }
}
