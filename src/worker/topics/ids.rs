//! Which topics there are, whatever their names: one that was deleted and made again is another one.

use crate::kafka::described::Id;
use crate::tasks;
use crate::worker::dead_letters::DeadLetters;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Which topics there were at the last look. Of those that are gone it is kept, too: one that comes back is another one.
#[derive(Debug, Default)]
pub struct Ids(BTreeMap<String, Seen>);

#[derive(Debug)]
struct Seen {
    id: Id,
    /// The one before: a broker may not have heard of the new one yet.
    former: Option<Id>,
    /// When the look began that has seen it last.
    at: Instant,
}

impl Ids {
    /// Those that are others than at the last look, and when that was.
    pub async fn look(
        &mut self,
        asked: &DeadLetters,
        topics: &BTreeSet<String>,
        patience: Duration,
    ) -> BTreeMap<String, Instant> {
        let (client, names, began) = (asked.clone(), topics.clone(), Instant::now());
        let found = tasks::blocking("the ids of topics", move || {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            client.ids(&names, patience)
        });
        // Without an answer the next look tells.
        match found.await {
            Ok(Ok(found)) => self.others(found, began),
            _ => BTreeMap::new(),
        }
    }

    fn others(
        &mut self,
        found: impl IntoIterator<Item = (String, Id)>,
        at: Instant,
    ) -> BTreeMap<String, Instant> {
        let mut others = BTreeMap::new();
        for (topic, id) in found {
            let former = None;
            let seen = self.0.entry(topic.clone());
            let seen = seen.or_insert(Seen { id, former, at });
            if seen.id == id {
                seen.at = at;
            } else if seen.former != Some(id) {
                others.insert(topic, seen.at);
                let former = Some(seen.id);
                *seen = Seen { id, former, at };
            }
        }
        others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_with_another_id_is_another_one_and_one_that_was_there_before_is_not_heard_of_yet() {
        let mut ids = Ids::default();
        let begin = Instant::now();
        let mut look = |seconds, id: i64| {
            let at = begin + Duration::from_secs(seconds);
            let others = ids.others([("jobs.a".to_owned(), (id, 0))], at);
            let since = others.get("jobs.a");
            since.map(|since| (*since - begin).as_secs())
        };
        assert_eq!((look(0, 1), look(1, 1)), (None, None));
        assert_eq!((look(2, 2), look(3, 1), look(4, 2)), (Some(1), None, None));
        assert_eq!((look(5, 3), look(6, 2)), (Some(4), None));
    }
}
