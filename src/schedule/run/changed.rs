//! What is logged of schedules when it changes: one that gets no records, and all of them gone.

use crate::log::event_id;
use crate::schedule::set::Set;
use crate::status::schedules::{Shown, State};
use std::collections::BTreeMap;

/// So many are logged one by one of each reading.
const MOST: usize = 20;

/// What has changed between two readings of the documents.
#[derive(Debug, Default)]
struct Changed<'a> {
    /// Those that get no records, and why; in another way than before.
    refused: Vec<(&'a Shown, &'a str)>,
    /// Those that get records again.
    works: Vec<&'a Shown>,
    /// How many there were, where none is left.
    gone: Option<usize>,
}

fn refusal(shown: &Shown) -> Option<&str> {
    match &shown.state {
        State::Waiting(reason) | State::Invalid(reason) => Some(reason),
        State::Active | State::Disabled | State::Done => None,
    }
}

impl<'a> Changed<'a> {
    fn between(before: Option<&'a Set>, now: &'a Set) -> Self {
        let known = before.map_or(&[][..], |before| &before.shown);
        let known: BTreeMap<&str, &Shown> = known
            .iter()
            .map(|(key, shown)| (key.as_str(), shown))
            .collect();
        let mut changed = Self {
            gone: Some(known.len()).filter(|count| *count > 0 && now.shown.is_empty()),
            ..Self::default()
        };
        for (key, shown) in &now.shown {
            let former = known.get(key.as_str()).and_then(|known| refusal(known));
            match refusal(shown) {
                Some(why) if former != Some(why) => changed.refused.push((shown, why)),
                None if former.is_some() => changed.works.push(shown),
                _ => {}
            }
        }
        changed
    }
}

/// Logs what has changed since the documents were read last; `at` is where they are.
pub(super) fn tell(before: Option<&Set>, now: &Set, at: &str) {
    let changed = Changed::between(before, now);
    for (shown, reason) in changed.refused.iter().take(MOST) {
        tracing::warn!(
            event_id = event_id::SCHEDULE_REFUSED,
            schedule = shown.name,
            id = %shown.id,
            state = shown.state.name(),
            reason,
            "a schedule gets no records as long as that lasts"
        );
    }
    if let Some(more @ 1..) = changed.refused.len().checked_sub(MOST) {
        tracing::warn!(
            event_id = event_id::SCHEDULE_REFUSED,
            more,
            "and so many schedules more; tailwater schedules list shows all"
        );
    }
    for shown in changed.works.iter().take(MOST) {
        tracing::info!(
            event_id = event_id::SCHEDULE_WORKS,
            schedule = shown.name,
            id = %shown.id,
            "a schedule gets records again"
        );
    }
    if let Some(before) = changed.gone {
        tracing::warn!(
            event_id = event_id::SCHEDULES_GONE,
            at,
            before,
            "no schedule is left: the collection was dropped or emptied, and no job is due any more"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::Bson;

    fn set(states: &[(&str, State)]) -> Set {
        let shown = |(name, state): &(&str, State)| Shown {
            id: Bson::from(*name),
            name: (*name).to_owned(),
            timing: String::new(),
            job: String::new(),
            topic: String::new(),
            state: state.clone(),
            since: 0,
            next: None,
            last: None,
            produced: 0,
        };
        Set {
            shown: states
                .iter()
                .map(|it| (it.0.to_owned(), shown(it)))
                .collect(),
            ..Set::default()
        }
    }

    #[test]
    fn each_change_is_told_once() {
        let invalid = || State::Invalid("every: is no time".to_owned());
        let first = set(&[("a", invalid()), ("b", State::Active)]);
        let names = |changed: &Changed<'_>| {
            let refused = changed.refused.iter().map(|(shown, _)| shown.name.clone());
            let works = changed.works.iter().map(|shown| shown.name.clone());
            (
                refused.collect::<Vec<_>>().join(","),
                works.collect::<Vec<_>>().join(","),
                changed.gone,
            )
        };
        let told = |before: Option<&Set>, now: &Set| names(&Changed::between(before, now));
        let is = |refused: &str, works: &str, gone| (refused.to_owned(), works.to_owned(), gone);
        assert_eq!(told(None, &first), is("a", "", None));
        assert_eq!(told(Some(&first), &first), is("", "", None));
        let other = State::Waiting("its topic is missing".to_owned());
        let second = set(&[("a", other), ("b", invalid()), ("c", State::Disabled)]);
        assert_eq!(told(Some(&first), &second), is("a,b", "", None));
        assert_eq!(told(Some(&second), &first), is("a", "b", None));
        assert_eq!(told(Some(&first), &set(&[])), is("", "", Some(2)));
        assert_eq!(told(Some(&set(&[])), &set(&[])), is("", "", None));
    }
}
