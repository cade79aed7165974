//! Dotted paths, arrays, and what a filter reads.

use super::{check, compile, raw, regex};
use bson::{Bson, doc};

#[test]
fn dotted_paths_lead_through_arrays_of_documents() {
    check(
        doc! {"a.b": 1},
        [
            doc! {"a": {"b": 1}},
            doc! {"a": [{"b": 2}, {"b": 1}]},
            doc! {"a": [{"b": [0, 1]}]},
        ],
        [
            doc! {"a": [[{"b": 1}]]},
            doc! {"a": 1},
            doc! {"a.b": 1},
            doc! {"a": [1]},
        ],
    );
    check(
        doc! {"a.b.c": 1},
        [
            doc! {"a": [{"b": [{"c": 1}]}]},
            doc! {"a": {"b": {"c": [1]}}},
        ],
        [doc! {"a": {"b": [[{"c": 1}]]}}],
    );
}

#[test]
fn a_number_in_a_path_is_an_index_and_a_name() {
    check(
        doc! {"a.1": 5},
        [
            doc! {"a": [0, 5]},
            doc! {"a": {"1": 5}},
            doc! {"a": [{"1": 5}]},
            doc! {"a": {"1": [5]}},
        ],
        // The element of an index is not looked into.
        [doc! {"a": [5, 0]}, doc! {"a": [0, [5]]}, doc! {"a": [5]}],
    );
    check(
        doc! {"a.1": [5]},
        [doc! {"a": [0, [5]]}],
        [doc! {"a": [[5]]}],
    );
    check(
        doc! {"a.0.b": 5},
        [
            doc! {"a": [{"b": 5}]},
            doc! {"a": [{"0": {"b": 5}}]},
            doc! {"a": [[{"b": 5}]]},
            doc! {"a": [[1, {"b": 5}]]},
        ],
        [doc! {"a": [{}, {"b": 5}]}, doc! {"a": [[[{"b": 5}]]]}],
    );
    check(
        doc! {"a.0.1": 5},
        [doc! {"a": [[0, 5]]}],
        [doc! {"a": [0, 5]}],
    );
    check(doc! {"a.00": 5}, [doc! {"a": {"00": 5}}], [doc! {"a": [5]}]);
    // A document at the index has no field of that name, which is then missing.
    check(
        doc! {"a.0": Bson::Null},
        [doc! {"a": [{}]}, doc! {"a": [Bson::Null]}],
        [doc! {"a": [1]}],
    );
    check(
        doc! {"a.0": {"$exists": true}},
        [doc! {"a": [1]}, doc! {"a": [{}]}],
        [doc! {"a": []}],
    );
}

#[test]
fn ne_nin_and_not_are_the_opposite_also_of_what_is_missing() {
    check(
        doc! {"a": {"$ne": 1}},
        [doc! {}, doc! {"a": [2]}],
        [doc! {"a": 1}, doc! {"a": [1, 2]}],
    );
    check(
        doc! {"a": {"$nin": [1, 2]}},
        [doc! {}, doc! {"a": 3}],
        [doc! {"a": [3, 2]}],
    );
    check(
        doc! {"a": {"$not": {"$gt": 1}}},
        [doc! {}, doc! {"a": 1}, doc! {"a": "x"}],
        [doc! {"a": [0, 2]}],
    );
    check(
        doc! {"a": {"$not": regex("^x", "")}},
        [doc! {}, doc! {"a": "y"}],
        [doc! {"a": "xy"}],
    );
    check(
        doc! {"a": {"$not": {"$gt": 1, "$lt": 5}}},
        [doc! {"a": 1}, doc! {"a": 5}],
        // One element is greater, another one less.
        [doc! {"a": 3}, doc! {"a": [0, 9]}],
    );
}

#[test]
fn what_fields_a_filter_reads_is_known() {
    let filter = doc! {"_id.a": 1, "$or": [{"_id": 2}, {"key": {"$elemMatch": {"other": 1}}}]};
    let filter = compile(&filter).unwrap();
    assert!(filter.reads_only(|name| ["_id", "key"].contains(&name)));
    assert!(!filter.reads_only(|name| name == "_id"));
    assert!(compile(&doc! {}).unwrap().reads_only(|_| false));
}

#[test]
fn a_malformed_document_is_read_up_to_where_it_breaks() {
    let mut bytes = raw(&doc! {"a": 1, "b": "text"}).into_bytes();
    let at = bytes.len() - 11;
    bytes[at] = 200;
    let broken = bson::RawDocument::from_bytes(&bytes).unwrap();
    assert!(compile(&doc! {"a": 1}).unwrap().matches(broken));
    assert!(!compile(&doc! {"b": "text"}).unwrap().matches(broken));
}
