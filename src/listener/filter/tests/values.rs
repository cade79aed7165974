//! Equality, ranges, and what each type is compared by.

use super::{binary, check, compile, decimal, raw, regex};
use bson::{Bson, doc};

#[test]
fn an_empty_filter_matches_everything() {
    check(doc! {}, [doc! {}, doc! {"a": 1}], []);
    assert!(compile(&doc! {}).unwrap().is_empty());
    assert!(compile(&doc! {"$comment": "all of it"}).unwrap().is_empty());
    assert!(!compile(&doc! {"a": 1}).unwrap().is_empty());
}

#[test]
fn the_filters_of_the_examples() {
    check(
        doc! {"status": "received", "isProcessed": false},
        [doc! {"status": "received", "isProcessed": false, "more": 1}],
        [
            doc! {"status": "received"},
            doc! {"status": "received", "isProcessed": true},
            doc! {"status": "sent", "isProcessed": false},
        ],
    );
    check(
        doc! {"processed": false},
        [doc! {"processed": false}],
        [doc! {"processed": 0}],
    );
}

#[test]
fn equality_holds_for_an_array_and_for_its_elements_one_level_deep() {
    check(
        doc! {"a": 1},
        [doc! {"a": 1}, doc! {"a": [1, 2]}, doc! {"a": ["x", 1.0]}],
        [
            doc! {"a": [[1]]},
            doc! {"a": []},
            doc! {"a": {"a": 1}},
            doc! {"b": 1},
        ],
    );
    check(
        doc! {"a": [1, 2]},
        [doc! {"a": [1, 2]}, doc! {"a": [[1, 2], 3]}],
        [doc! {"a": [2, 1]}, doc! {"a": [1, 2, 3]}, doc! {"a": 1}],
    );
    check(
        doc! {"a": []},
        [doc! {"a": []}, doc! {"a": [[]]}],
        [doc! {"a": [1]}, doc! {}],
    );
}

#[test]
fn embedded_documents_are_equal_field_by_field_in_their_order() {
    check(
        doc! {"a": {"x": 1, "y": 2}},
        [
            doc! {"a": {"x": 1, "y": 2}},
            doc! {"a": {"x": 1_i64, "y": 2.0}},
            doc! {"a": [{"x": 1, "y": 2}]},
        ],
        [
            doc! {"a": {"y": 2, "x": 1}},
            doc! {"a": {"x": 1}},
            doc! {"a": {"x": 1, "y": 2, "z": 3}},
        ],
    );
    check(
        doc! {"a": {}},
        [doc! {"a": {}}],
        [doc! {"a": {"x": 1}}, doc! {"a": []}, doc! {}],
    );
}

#[test]
fn null_matches_what_is_null_or_missing() {
    check(
        doc! {"a": Bson::Null},
        [doc! {"a": Bson::Null}, doc! {}, doc! {"a": [1, Bson::Null]}],
        // MongoDB 8: undefined is not null.
        [
            doc! {"a": 0},
            doc! {"a": []},
            doc! {"a": Bson::Undefined},
            doc! {"a": {}},
        ],
    );
    check(
        doc! {"a.b": Bson::Null},
        [
            doc! {"a": {}},
            doc! {"a": 1},
            doc! {},
            doc! {"a": [{"b": 1}, {"c": 1}]},
        ],
        // An array without documents leads nowhere, so nothing is missing.
        [doc! {"a": []}, doc! {"a": [1, 2]}, doc! {"a": [{"b": 1}]}],
    );
    check(
        doc! {"a": {"$ne": Bson::Null}},
        [doc! {"a": 0}, doc! {"a": []}],
        [doc! {}, doc! {"a": Bson::Null}],
    );
    check(
        doc! {"a": {"$gte": Bson::Null}},
        [doc! {"a": Bson::Null}, doc! {}],
        [doc! {"a": 0}],
    );
    check(
        doc! {"a": {"$gt": Bson::Null}},
        [],
        [doc! {"a": Bson::Null}, doc! {}, doc! {"a": 0}],
    );
}

#[test]
fn ranges_compare_values_of_one_type() {
    check(
        doc! {"a": {"$gt": 1}},
        [
            doc! {"a": 2},
            doc! {"a": 1.5},
            doc! {"a": decimal("1.1")},
            doc! {"a": [0, 2]},
        ],
        [
            doc! {"a": 1},
            doc! {"a": "2"},
            doc! {"a": true},
            doc! {},
            doc! {"a": bson::DateTime::now()},
        ],
    );
    check(
        doc! {"a": {"$gte": 2, "$lte": 3}},
        [doc! {"a": 2}, doc! {"a": 3}, doc! {"a": [1, 9]}],
        [doc! {"a": 1}],
    );
    check(
        doc! {"a": {"$lt": "b"}},
        [
            doc! {"a": "a"},
            doc! {"a": ""},
            doc! {"a": Bson::Symbol("a".into())},
        ],
        [doc! {"a": 1}, doc! {"a": "b"}],
    );
    check(
        doc! {"a": {"$gt": false}},
        [doc! {"a": true}],
        [doc! {"a": false}, doc! {"a": 1}],
    );
    check(
        doc! {"a": {"$gt": [1]}},
        [doc! {"a": [2]}, doc! {"a": [1, 0]}, doc! {"a": [[2]]}],
        [doc! {"a": [1]}, doc! {"a": 2}],
    );
    check(
        doc! {"a": {"$gt": {"x": 1}}},
        // Type, then name, then value, field by field.
        [
            doc! {"a": {"x": 2}},
            doc! {"a": {"y": 0}},
            doc! {"a": {"x": 1, "y": 0}},
            doc! {"a": {"x": "0"}},
            doc! {"a": {"b": "0"}},
        ],
        [
            doc! {"a": {"x": 1}},
            doc! {"a": {"x": 0}},
            doc! {"a": {"b": 5}},
            doc! {"a": {}},
        ],
    );
}

#[test]
fn numbers_of_all_types_are_compared_by_value() {
    check(
        doc! {"a": 1},
        [
            doc! {"a": 1_i64},
            doc! {"a": 1.0},
            doc! {"a": decimal("1.0")},
            doc! {"a": decimal("10E-1")},
        ],
        [
            doc! {"a": decimal("1.0000000000000000001")},
            doc! {"a": true},
            doc! {"a": "1"},
        ],
    );
    check(
        doc! {"a": (1_i64 << 53) + 1},
        [],
        [doc! {"a": 9_007_199_254_740_992.0}],
    );
    check(doc! {"a": 0.1}, [], [doc! {"a": decimal("0.1")}]);
    check(
        doc! {"a": 0.0},
        [doc! {"a": -0.0}, doc! {"a": decimal("-0E+3")}],
        [],
    );
}

#[test]
fn nan_equals_nan_and_is_in_no_range_of_numbers() {
    let nan = f64::NAN;
    check(
        doc! {"a": nan},
        [doc! {"a": nan}, doc! {"a": decimal("NaN")}],
        [doc! {"a": 0}],
    );
    check(
        doc! {"a": {"$in": [nan]}},
        [doc! {"a": nan}],
        [doc! {"a": 0}],
    );
    check(
        doc! {"a": {"$lt": 1}},
        [],
        [doc! {"a": nan}, doc! {"a": decimal("NaN")}],
    );
    check(
        doc! {"a": {"$gte": nan}},
        [doc! {"a": nan}],
        [doc! {"a": 1}],
    );
    check(
        doc! {"a": {"$gt": nan}},
        [],
        [doc! {"a": nan}, doc! {"a": 1}],
    );
}

#[test]
fn everything_is_between_the_two_keys_also_what_is_missing() {
    let all = || {
        [
            doc! {"a": 1},
            doc! {"a": "x"},
            doc! {"a": Bson::Null},
            doc! {},
        ]
    };
    check(
        doc! {"a": {"$gt": Bson::MinKey}},
        all(),
        [doc! {"a": Bson::MinKey}],
    );
    check(
        doc! {"a": {"$lt": Bson::MaxKey}},
        all(),
        [doc! {"a": Bson::MaxKey}],
    );
    check(
        doc! {"a": {"$gte": Bson::MinKey}},
        [doc! {"a": Bson::MinKey}, doc! {"a": Bson::MaxKey}],
        [],
    );
    check(doc! {"a": {"$lt": Bson::MinKey}}, [], all());
    check(doc! {"a": Bson::MinKey}, [doc! {"a": Bson::MinKey}], all());
    check(doc! {"a": {"$gt": 1}}, [], [doc! {"a": Bson::MaxKey}]);
}

#[test]
fn other_types_have_their_own_order() {
    let date = |millis| Bson::DateTime(bson::DateTime::from_millis(millis));
    let stamp = |time, increment| Bson::Timestamp(bson::Timestamp { time, increment });
    let id = |last| {
        Bson::ObjectId(bson::oid::ObjectId::from_bytes([
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last,
        ]))
    };
    for [low, high] in [
        [date(-1), date(1)],
        [stamp(1, 9), stamp(2, 0)],
        [stamp(1, 1), stamp(u32::MAX, 0)],
        [id(1), id(200)],
        // The length, then the subtype, then the bytes.
        [binary(5, &[9]), binary(0, &[0, 0])],
        [binary(0, &[9]), binary(5, &[0])],
        [binary(0, &[1]), binary(0, &[200])],
        [
            Bson::JavaScriptCode("a".into()),
            Bson::JavaScriptCode("b".into()),
        ],
        ["".into(), "a".into()],
        ["Z".into(), "a".into()],
        ["a".into(), "a\0".into()],
    ] {
        let above = doc! {"a": {"$gt": low.clone()}};
        check(above, [doc! {"a": high.clone()}], [doc! {"a": low.clone()}]);
        let equal = doc! {"a": high.clone()};
        check(equal, [doc! {"a": high.clone()}], [doc! {"a": low}]);
    }
    check(
        doc! {"a": stamp(0, 1)},
        [],
        [doc! {"a": date(1)}, doc! {"a": 1}],
    );
    check(
        doc! {"a": "x"},
        [doc! {"a": Bson::Symbol("x".into())}],
        [doc! {"a": Bson::JavaScriptCode("x".into())}],
    );
}

#[test]
fn text_that_is_not_utf_8_is_equal_and_found_by_no_regular_expression() {
    let mut bytes = raw(&doc! {"a": "xy"}).into_bytes();
    let at = bytes.len() - 3;
    bytes[at] = 0xff;
    let document = bson::RawDocument::from_bytes(&bytes).unwrap();
    assert!(
        compile(&doc! {"a": {"$gt": "xy"}})
            .unwrap()
            .matches(document)
    );
    assert!(
        !compile(&doc! {"a": regex("x", "")})
            .unwrap()
            .matches(document)
    );
}
