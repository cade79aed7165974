//! What is refused, and with which sentence.

use super::{Filter, check, compile, raw, refused, regex};
use bson::{Bson, bson, doc};

#[test]
fn what_needs_the_server_is_refused_by_name() {
    for name in [
        "$expr",
        "$where",
        "$text",
        "$jsonSchema",
        "$sampleRate",
        "$alwaysTrue",
        "$alwaysFalse",
    ] {
        refused(doc! {name: {}}, name, &[name, "not supported"]);
        refused(
            doc! {"$or": [{name: {}}]},
            &format!("$or.0.{name}"),
            &[name],
        );
    }
    for name in [
        "$near",
        "$nearSphere",
        "$geoWithin",
        "$geoIntersects",
        "$within",
        "$expr",
        "$where",
    ] {
        refused(
            doc! {"a": {name: {}}},
            &format!("a.{name}"),
            &[name, "not supported"],
        );
    }
    refused(
        doc! {"a.b": {"$comment": "x"}},
        "a.b.$comment",
        &["at the top"],
    );
    refused(doc! {"$gt": 1}, "$gt", &["$gt is not known here"]);
    refused(doc! {"a": {"$foo": 1}}, "a.$foo", &["$foo is not known"]);
    refused(doc! {"$not": {"a": 1}}, "$not", &["$nor"]);
}

#[test]
fn operands_of_the_wrong_kind_are_refused_where_they_stand() {
    for name in ["$and", "$or", "$nor"] {
        refused(doc! {name: []}, name, &["at least one query"]);
        refused(doc! {name: {"a": 1}}, name, &["array"]);
        refused(doc! {name: [1]}, &format!("{name}.0"), &["document"]);
    }
    refused(
        doc! {"a": {"$gt": 1, "b": 2}},
        "a.b",
        &["either operators or a value"],
    );
    refused(doc! {"a": {"$in": 1}}, "a.$in", &["array"]);
    refused(doc! {"a": {"$nin": {}}}, "a.$nin", &["array"]);
    refused(doc! {"a": {"$in": [{"$gt": 1}]}}, "a.$in.0", &["$or"]);
    refused(
        doc! {"a": {"$in": [1, Bson::Undefined]}},
        "a.$in.1",
        &["null"],
    );
    refused(doc! {"a": Bson::Undefined}, "a", &["null"]);
    refused(doc! {"a": {"$ne": regex("x", "")}}, "a.$ne", &["$not"]);
    refused(doc! {"a": {"$gt": regex("x", "")}}, "a.$gt", &["range"]);
    refused(doc! {"a": {"$not": 1}}, "a.$not", &["$ne"]);
    refused(doc! {"a": {"$not": {}}}, "a.$not", &["operators"]);
    refused(doc! {"a": {"$not": {"b": 1}}}, "a.$not.b", &["operators"]);
    refused(doc! {"a": {"$all": 1}}, "a.$all", &["array"]);
    refused(
        doc! {"a": {"$all": [{"$gt": 1}]}},
        "a.$all.0",
        &["$elemMatch"],
    );
    refused(
        doc! {"a": {"$all": [{"$elemMatch": {}}, 1]}},
        "a.$all.1",
        &["not both"],
    );
    refused(
        doc! {"a": {"$all": [{"$elemMatch": {}, "$gt": 1}]}},
        "a.$all.0",
        &["neighbour"],
    );
    refused(doc! {"a": {"$elemMatch": 1}}, "a.$elemMatch", &["query"]);
    refused(
        doc! {"a": {"$elemMatch": {"$gt": 1, "$or": []}}},
        "a.$elemMatch.$or",
        &["$or"],
    );
    refused(
        doc! {"a": {"$elemMatch": {"$where": "x"}}},
        "a.$elemMatch.$where",
        &["JavaScript"],
    );
    for size in [
        bson!(-1),
        bson!(1.5),
        bson!("1"),
        bson!(f64::NAN),
        bson!(1_i64 << 31),
    ] {
        refused(doc! {"a": {"$size": size}}, "a.$size", &["whole number"]);
    }
    for modulo in [
        bson!(1),
        bson!([1]),
        bson!([1, 2, 3]),
        bson!([1, "x"]),
        bson!([f64::NAN, 1]),
    ] {
        refused(
            doc! {"a": {"$mod": modulo}},
            "a.$mod",
            &["[divisor, remainder]"],
        );
    }
    refused(doc! {"a": {"$mod": [0.5, 1]}}, "a.$mod", &["divides by 0"]);
    for kind in [
        bson!("strong"),
        bson!(0),
        bson!(20),
        bson!(1.5),
        bson!(true),
        bson!("missing"),
    ] {
        refused(
            doc! {"a": {"$type": kind.clone()}},
            "a.$type",
            &["$type", "$exists"],
        );
        refused(doc! {"a": {"$type": [2, kind]}}, "a.$type.1", &["$type"]);
    }
    refused(doc! {"a": {"$type": []}}, "a.$type", &["at least one"]);
    refused(
        doc! {"a": {"$bitsAllSet": -1}},
        "a.$bitsAllSet",
        &["not negative"],
    );
    refused(
        doc! {"a": {"$bitsAnySet": "x"}},
        "a.$bitsAnySet",
        &["positions"],
    );
    refused(
        doc! {"a": {"$bitsAnySet": [0, -1]}},
        "a.$bitsAnySet.1",
        &["position"],
    );
    refused(doc! {"a": {"$options": "i"}}, "a.$options", &["$regex"]);
    refused(doc! {"a": {"$regex": 1}}, "a.$regex", &["string"]);
    refused(
        doc! {"a": {"$regex": "x", "$options": 1}},
        "a.$regex",
        &["$options"],
    );
    refused(
        doc! {"a": {"$regex": regex("x", "i"), "$options": "m"}},
        "a.$regex",
        &["once"],
    );
    refused(
        doc! {"a": {"$regex": "x", "$options": "g"}},
        "a.$regex",
        &["'g'"],
    );
    refused(doc! {"a": {"$regex": "(?=x)"}}, "a.$regex", &["look-ahead"]);
    refused(doc! {"a": {"$in": [regex("(", "")]}}, "a.$in.0", &["\\("]);
    for path in ["a.", ".a", "a..b", ""] {
        refused(doc! {path: 1}, path, &["empty name"]);
    }
}

#[test]
fn a_refusal_is_a_sentence_with_its_place_and_no_value() {
    let error =
        compile(&doc! {"items": {"$elemMatch": {"price": {"$size": "secret"}}}}).unwrap_err();
    assert_eq!(
        error.to_string(),
        "in the filter at items.$elemMatch.price.$size: $size takes a whole number from 0 to 2147483647"
    );
    let error = Filter::compile(&raw(&doc! {"a": "x".repeat(200_000)})).unwrap_err();
    assert!(
        error.to_string().starts_with("in the filter: it has 2000"),
        "{error}"
    );
}

#[test]
fn a_filter_is_bounded_in_every_direction() {
    let nested = (0..40).fold(bson!({"$gt": 1}), |inner, _| bson!({"$not": inner}));
    let at = format!("a{}", ".$not".repeat(31));
    refused(doc! {"a": nested}, &at, &["32 levels"]);
    let operand = (0..31).fold(bson!(1), |inner, _| bson!({"x": inner}));
    check(doc! {"a": operand.clone()}, [doc! {"a": operand}], []);
    let many = |count: i32| doc! {"$or": (0..count).map(|n| doc! {"a": n}).collect::<Vec<_>>()};
    check(many(500), [doc! {"a": 499}], []);
    refused(many(501), "$or.500.a", &["500 conditions"]);
    let patterns = |count: i32| doc! {"$or": (0..count).map(|n| doc! {"a": regex(&n.to_string(), "")}).collect::<Vec<_>>()};
    check(patterns(16), [doc! {"a": "15"}], []);
    refused(patterns(17), "$or.16.a", &["16 regular"]);
    let path = |names: usize| vec!["a"; names].join(".");
    assert!(compile(&doc! {path(32): 1}).is_ok());
    refused(doc! {path(33): 1}, &path(33), &["32"]);
    assert!(compile(&doc! {"a.0.0.0.0": 1}).is_ok());
    refused(doc! {"a.0.0.0.0.0": 1}, "a.0.0.0.0.0", &["numbers"]);
    // A few thousand ids are no problem.
    let ids: Vec<_> = (0..4_000).map(|_| bson::oid::ObjectId::new()).collect();
    let last = *ids.last().unwrap();
    check(doc! {"_id": {"$in": ids}}, [doc! {"_id": last}], []);
}
