//! Who may want a change: questions by namespace, then by `_id` or by a field that must have a value. A change looks
//! only at those that its own values lead to; what is found is still decided by the whole question.

use super::change::{Change, Images, Operations};
use super::group::Group;
use super::selection::Selection;
use crate::change::raw;
use crate::listener::filter::key::Key;
use bson::RawDocumentBuf;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::sync::Arc;

type Map<K, V> = HashMap<K, V, RandomState>;

/// All questions that are asked.
#[derive(Debug, Default)]
pub struct Index {
    groups: Map<u32, Arc<Group>>,
    by_key: Map<String, u32>,
    next: u32,
    /// By `database`, zero, `collection`; each empty for any.
    namespaces: Map<String, Part>,
    looked_up: String,
}

#[derive(Debug, Default)]
struct Part {
    ids: Map<String, Vec<u32>>,
    fields: Vec<(String, Map<Key, Vec<u32>>)>,
    others: Vec<u32>,
    /// Those that want events about collections and databases.
    definitions: Vec<u32>,
}

impl Index {
    /// The group of a question; a new one where nobody asks it yet.
    pub fn group(&mut self, selection: &Arc<Selection>) -> Arc<Group> {
        let known = self.by_key.get(selection.key());
        if let Some(group) = known.and_then(|number| self.groups.get(number)) {
            return Arc::clone(group);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let group = Arc::new(Group::new(Arc::clone(selection)));
        self.by_key.insert(selection.key().to_owned(), number);
        self.groups.insert(number, Arc::clone(&group));
        let part = self.namespaces.entry(namespace(selection)).or_default();
        part.each_place(selection, |places| places.push(number));
        group
    }

    /// Takes a question out that nobody asks any more.
    pub fn remove(&mut self, selection: &Selection) {
        let Some(number) = self.by_key.remove(selection.key()) else {
            return;
        };
        self.groups.remove(&number);
        let namespace = namespace(selection);
        if let Some(part) = self.namespaces.get_mut(&namespace) {
            part.each_place(selection, |places| places.retain(|other| *other != number));
            part.clear_empty();
            if part.is_empty() {
                self.namespaces.remove(&namespace);
            }
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.values()
    }

    /// The questions that may want a change, each once. `images` is asked only where a field decides.
    pub fn candidates<'a>(
        &mut self,
        change: &'a Change,
        images: impl Fn() -> &'a Images,
    ) -> Vec<Arc<Group>> {
        let mut found: Vec<u32> = Vec::new();
        if self.groups.is_empty() {
            return Vec::new();
        }
        if change.collection.is_empty() {
            // Of a whole database: seldom, and of interest to each of its collections.
            found.extend(self.groups.keys());
        } else {
            self.look_up(
                &change.database,
                &change.collection,
                change,
                &images,
                &mut found,
            );
        }
        if let Some((database, collection)) = change.renamed_to() {
            self.look_up(&database, &collection, change, &images, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        let group = |number: &u32| self.groups.get(number).map(Arc::clone);
        found.iter().filter_map(group).collect()
    }

    fn look_up<'a>(
        &mut self,
        database: &str,
        collection: &str,
        change: &'a Change,
        images: &impl Fn() -> &'a Images,
        found: &mut Vec<u32>,
    ) {
        for (database, collection) in [
            (database, collection),
            (database, ""),
            ("", collection),
            ("", ""),
        ] {
            self.looked_up.clear();
            for text in [database, "\0", collection] {
                self.looked_up.push_str(text);
            }
            if let Some(part) = self.namespaces.get(&self.looked_up) {
                part.candidates(change, images, found);
            }
        }
    }
}

fn namespace(selection: &Selection) -> String {
    let (database, collection) = (selection.database(), selection.collection());
    format!(
        "{}\0{}",
        database.unwrap_or_default(),
        collection.unwrap_or_default()
    )
}

impl Part {
    /// Visits the lists in which a question of this kind stands.
    fn each_place(&mut self, selection: &Selection, mut visit: impl FnMut(&mut Vec<u32>)) {
        if selection.operations().hold(Operations::of("ddl")) {
            visit(&mut self.definitions);
        }
        if !selection.operations().hold(Operations::OF_DOCUMENTS) {
            return;
        }
        if !selection.ids().is_empty() {
            for id in selection.ids() {
                visit(self.ids.entry(id.clone()).or_default());
            }
            return;
        }
        let Some((field, key)) = selection.equality() else {
            return visit(&mut self.others);
        };
        let known = self.fields.iter().position(|(name, _)| name == field);
        let at = known.unwrap_or_else(|| {
            self.fields.push((field.to_owned(), Map::default()));
            self.fields.len() - 1
        });
        visit(self.fields[at].1.entry(key).or_default());
    }

    fn clear_empty(&mut self) {
        self.ids.retain(|_, places| !places.is_empty());
        for (_, values) in &mut self.fields {
            values.retain(|_, places| !places.is_empty());
        }
        self.fields.retain(|(_, values)| !values.is_empty());
    }

    fn is_empty(&self) -> bool {
        self.ids.is_empty()
            && self.fields.is_empty()
            && self.others.is_empty()
            && self.definitions.is_empty()
    }

    fn candidates<'a>(
        &self,
        change: &'a Change,
        images: &impl Fn() -> &'a Images,
        found: &mut Vec<u32>,
    ) {
        if !change.is_of_document() {
            found.extend(&self.definitions);
            return;
        }
        found.extend(&self.others);
        if let Some(id) = &change.id {
            found.extend(self.ids.get(id).into_iter().flatten());
        }
        if self.fields.is_empty() {
            return;
        }
        let Images { after, before } = images();
        for document in [after, before].into_iter().flatten() {
            for (field, values) in &self.fields {
                of_field(field, values, document, found);
            }
        }
    }
}

/// A field of the first level; an array stands for its elements.
fn of_field(
    field: &str,
    values: &Map<Key, Vec<u32>>,
    document: &RawDocumentBuf,
    found: &mut Vec<u32>,
) {
    let Ok(Some(value)) = raw::find(document.as_bytes(), field) else {
        return;
    };
    match value.as_array() {
        None => of_value(values, &value, found),
        Some(array) => {
            for each in raw::walk(array).into_iter().flatten().map_while(Result::ok) {
                of_value(values, &each, found);
            }
        }
    }
}

fn of_value(values: &Map<Key, Vec<u32>>, value: &raw::Element<'_>, found: &mut Vec<u32>) {
    match Key::of(value) {
        Some(key) => found.extend(values.get(&key).into_iter().flatten()),
        // Of a kind that may equal a key and is none itself.
        None if Key::may_equal(value) => found.extend(values.values().flatten()),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::JsonMode;
    use crate::live::grant::Grant;
    use crate::live::position::Place;
    use crate::live::selection::{Asked, Shown};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn name() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a".to_owned(), "b".to_owned()])
    }

    fn question() -> impl Strategy<Value = Arc<Selection>> {
        let filter = prop_oneof![
            Just(None),
            (name(), 0..3).prop_map(|(field, value)| Some(json!({ field: value }))),
            (0..3).prop_map(|value| Some(json!({"a": {"$gt": value}}))),
            (0..3).prop_map(|value| Some(json!({"b": {"$ne": value}, "a": {"$eq": 1}}))),
        ];
        let id = prop::option::of((0..3).prop_map(|id: i32| id.to_string()));
        let operation = prop::option::of(prop::sample::select(vec![
            "insert,update",
            "ddl",
            "delete,ddl",
        ]));
        (
            prop::option::of(name()),
            prop::option::of(name()),
            operation,
            id,
            filter,
        )
            .prop_map(|(database, collection, operation, id, filter)| {
                let operation = operation.map(str::to_owned);
                let asked = Asked {
                    database,
                    collection,
                    operation,
                    id,
                    filter,
                };
                Arc::new(
                    Selection::new(asked, Arc::new(Grant::everything()), JsonMode::Simple).unwrap(),
                )
            })
    }

    fn document() -> impl Strategy<Value = Value> {
        let value = prop_oneof![
            (0..3).prop_map(|n| json!(n)),
            prop::collection::vec(0..3, 0..3).prop_map(|n| json!(n)),
            Just(json!(0.5))
        ];
        prop_oneof![
            Just(Value::Null),
            (value.clone(), value).prop_map(|(a, b)| json!({"a": a, "b": b}))
        ]
    }

    fn change() -> impl Strategy<Value = Change> {
        let operation = prop::sample::select(vec![
            "insert",
            "update",
            "delete",
            "rename",
            "drop",
            "dropDatabase",
        ]);
        (operation, name(), name(), 0..3, document(), document()).prop_map(
            |(operation, database, collection, id, after, before)| {
                let mut value = json!({"operationType": operation, "database": database});
                match operation {
                    "rename" => value["to"] = json!({"database": database, "collection": "b"}),
                    "drop" | "dropDatabase" => {}
                    _ => {
                        value["documentKey"] = json!({ "_id": id });
                        value["fullDocument"] = after;
                        value["fullDocumentBeforeChange"] = before;
                    }
                }
                if operation != "dropDatabase" {
                    value["collection"] = collection.into();
                }
                let at = Place {
                    topic: 0,
                    partition: 0,
                };
                Change::of_value(at, 0, &value)
            },
        )
    }

    proptest! {
        #[test]
        fn whoever_is_shown_a_change_is_among_the_candidates(
            questions in prop::collection::vec(question(), 1..12), changes in prop::collection::vec(change(), 1..12), gone in 0..12_usize,
        ) {
            let mut index = Index::default();
            for question in &questions {
                index.group(question);
            }
            let removed = questions.get(gone);
            removed.iter().for_each(|question| index.remove(question));
            for change in &changes {
                let found = index.candidates(change, || change.images(JsonMode::Simple));
                for question in &questions {
                    let is_gone = removed.is_some_and(|removed| removed.key() == question.key());
                    let is_found = found.iter().any(|group| group.selection.key() == question.key());
                    prop_assert!(!(is_gone && is_found));
                    if question.judge(change) != Shown::Nothing && !is_gone {
                        prop_assert!(is_found, "{} {change:?}", question.key());
                    }
                }
            }
        }
    }

    #[test]
    fn a_change_looks_only_at_its_own_room() {
        let mut index = Index::default();
        for room in 0..1_000 {
            let asked = Asked {
                collection: Some("msgs".into()),
                filter: Some(json!({ "room": room })),
                ..Asked::default()
            };
            let selection =
                Selection::new(asked, Arc::new(Grant::everything()), JsonMode::Simple).unwrap();
            index.group(&Arc::new(selection));
        }
        let value = json!({"operationType": "insert", "database": "d", "collection": "msgs", "documentKey": {"_id": 1}, "fullDocument": {"room": 7}});
        let change = Change::of_value(
            Place {
                topic: 0,
                partition: 0,
            },
            0,
            &value,
        );
        assert_eq!(
            index
                .candidates(&change, || change.images(JsonMode::Simple))
                .len(),
            1
        );
    }
}
