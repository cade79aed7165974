//! Each operator.

use super::{binary, check, decimal, regex};
use bson::{Bson, bson, doc};

#[test]
fn in_takes_values_null_and_regular_expressions() {
    check(
        doc! {"a": {"$in": [3, "x", Bson::Null, regex("^y", ""), [7], {"k": 1}]}},
        [
            doc! {"a": 3.0},
            doc! {"a": "x"},
            doc! {},
            doc! {"a": "yes"},
            doc! {"a": [9, 3]},
            doc! {"a": [7]},
            doc! {"a": {"k": 1}},
            doc! {"a": regex("^y", "")},
        ],
        [
            doc! {"a": 7},
            doc! {"a": "z"},
            doc! {"a": []},
            doc! {"a": {"k": 2}},
        ],
    );
    check(doc! {"a": {"$in": []}}, [], [doc! {}, doc! {"a": []}]);
    check(doc! {"a": {"$nin": []}}, [doc! {}], []);
}

#[test]
fn and_or_nor() {
    let two = || bson!([{"a": 1}, {"b": 1}]);
    check(
        doc! {"$and": two()},
        [doc! {"a": 1, "b": 1}],
        [doc! {"a": 1}],
    );
    check(
        doc! {"$or": two()},
        [doc! {"a": 1}, doc! {"b": 1}],
        [doc! {"c": 1}],
    );
    check(
        doc! {"$nor": two()},
        [doc! {}],
        [doc! {"a": 1}, doc! {"b": 1}],
    );
    check(
        doc! {"a": 1, "$or": [{"b": 1}, {"$and": [{"c": 1}, {"d": 1}]}]},
        [doc! {"a": 1, "c": 1, "d": 1}],
        [doc! {"b": 1}],
    );
}

#[test]
fn exists_takes_what_mongodb_takes_for_true() {
    for yes in [
        bson!(true),
        bson!(1),
        bson!(0.5),
        bson!("false"),
        bson!({}),
        bson!(f64::NAN),
        decimal("1"),
    ] {
        check(
            doc! {"a": {"$exists": yes}},
            [doc! {"a": Bson::Null}, doc! {"a": []}],
            [doc! {}],
        );
    }
    for no in [
        bson!(false),
        bson!(0),
        bson!(-0.0),
        Bson::Null,
        decimal("0E+5"),
    ] {
        check(
            doc! {"a": {"$exists": no}},
            [doc! {}],
            [doc! {"a": Bson::Null}],
        );
    }
    check(
        doc! {"a.b": {"$exists": true}},
        [doc! {"a": [1, {"b": 1}]}],
        [doc! {"a": [1]}],
    );
}

#[test]
fn type_takes_names_and_numbers_and_looks_at_elements_and_arrays() {
    check(
        doc! {"a": {"$type": "number"}},
        [
            doc! {"a": 1},
            doc! {"a": decimal("1")},
            doc! {"a": ["x", 1.5]},
        ],
        [doc! {"a": "1"}, doc! {}],
    );
    check(
        doc! {"a": {"$type": 4}},
        [doc! {"a": []}, doc! {"a": [1]}, doc! {"a": [[1]]}],
        [doc! {"a": 4}],
    );
    check(
        doc! {"a": {"$type": ["string", 8]}},
        [doc! {"a": "x"}, doc! {"a": true}],
        [doc! {"a": 1}],
    );
    check(
        doc! {"a": {"$type": -1.0}},
        [doc! {"a": Bson::MinKey}],
        [doc! {"a": Bson::MaxKey}],
    );
    check(
        doc! {"a": {"$type": "undefined"}},
        [doc! {"a": Bson::Undefined}],
        [doc! {}, doc! {"a": Bson::Null}],
    );
}

#[test]
fn size_counts_the_elements_of_the_array_itself() {
    check(
        doc! {"a": {"$size": 2}},
        [doc! {"a": [1, 2]}],
        [doc! {"a": [[1, 2]]}, doc! {"a": [1]}, doc! {"a": "xy"}],
    );
    check(doc! {"a": {"$size": 0.0}}, [doc! {"a": []}], [doc! {}]);
    check(
        doc! {"a.b": {"$size": 1}},
        [doc! {"a": [{"b": [1]}]}],
        [doc! {"a": [{"b": 1}]}],
    );
    check(
        doc! {"a.0": {"$size": 1}},
        [doc! {"a": [[1]]}],
        [doc! {"a": [1]}],
    );
}

#[test]
fn all_wants_each_value() {
    check(
        doc! {"a": {"$all": [1, 2]}},
        [doc! {"a": [2, 1, 3]}],
        [doc! {"a": [1]}, doc! {"a": 1}],
    );
    check(doc! {"a": {"$all": [1]}}, [doc! {"a": 1}], []);
    check(
        doc! {"a": {"$all": [[1, 2]]}},
        [doc! {"a": [1, 2]}, doc! {"a": [[1, 2]]}],
        [doc! {"a": [2, 1]}],
    );
    check(
        doc! {"a": {"$all": [regex("x", ""), Bson::Null]}},
        [doc! {"a": ["ax", Bson::Null]}],
        [doc! {"a": ["ax"]}],
    );
    check(doc! {"a": {"$all": []}}, [], [doc! {"a": []}, doc! {}]);
    check(
        doc! {"a": {"$all": [{"$elemMatch": {"x": 1}}, {"$elemMatch": {"x": 2}}]}},
        [doc! {"a": [{"x": 1}, {"x": 2}]}],
        [doc! {"a": [{"x": 1}]}],
    );
}

#[test]
fn elem_match_wants_one_element_that_meets_everything() {
    check(
        doc! {"a": {"$elemMatch": {"$gt": 1, "$lt": 5}}},
        [doc! {"a": [0, 3]}],
        [doc! {"a": [0, 9]}, doc! {"a": 3}, doc! {"a": [[3]]}],
    );
    check(
        doc! {"a": {"$elemMatch": {"$not": {"$gt": 1}}}},
        [doc! {"a": [5, 0]}],
        [doc! {"a": [5]}, doc! {"a": []}, doc! {}],
    );
    check(
        doc! {"a": {"$elemMatch": {"$elemMatch": {"$eq": 1}}}},
        [doc! {"a": [[1]]}],
        [doc! {"a": [1]}],
    );
    check(
        doc! {"a": {"$elemMatch": {"x": 1, "y": {"$gt": 1}}}},
        [doc! {"a": [{"x": 1, "y": 2}]}],
        [
            doc! {"a": [{"x": 1}, {"y": 2}]},
            doc! {"a": {"x": 1, "y": 2}},
        ],
    );
    // An array within the array is a document with the names 0, 1, ….
    check(
        doc! {"a": {"$elemMatch": {"0": 1}}},
        [doc! {"a": [[1]]}],
        [doc! {"a": [1]}],
    );
    check(
        doc! {"a": {"$elemMatch": {"$or": [{"x": 1}, {"x": 2}]}}},
        [doc! {"a": [{"x": 2}]}],
        [doc! {"a": [2]}],
    );
    check(
        doc! {"a": {"$elemMatch": {}}},
        [doc! {"a": [{}]}, doc! {"a": [[]]}],
        [doc! {"a": [1]}, doc! {"a": []}],
    );
    check(
        doc! {"a": {"$elemMatch": {"x": Bson::Null}}},
        [doc! {"a": [{}]}],
        [doc! {"a": [1]}],
    );
}

#[test]
fn modulo_leaves_the_fraction_out() {
    check(
        doc! {"a": {"$mod": [4, 1]}},
        [
            doc! {"a": 5},
            doc! {"a": 5.9},
            doc! {"a": decimal("9.9")},
            doc! {"a": [4, 5]},
        ],
        [
            doc! {"a": 4},
            doc! {"a": -5},
            doc! {"a": f64::NAN},
            doc! {"a": 1e30},
            doc! {"a": "5"},
            doc! {},
        ],
    );
    check(
        doc! {"a": {"$mod": [4.9, -1.5]}},
        [doc! {"a": -5}],
        [doc! {"a": 5}],
    );
    check(doc! {"a": {"$mod": [-1, 0]}}, [doc! {"a": i64::MIN}], []);
}

#[test]
fn bits_are_of_whole_numbers_and_binary_values() {
    check(
        doc! {"a": {"$bitsAllSet": [1, 5]}},
        [
            doc! {"a": 0b10_0010},
            doc! {"a": 34.0},
            doc! {"a": binary(0, &[0x22])},
            doc! {"a": decimal("34")},
        ],
        [doc! {"a": 2}, doc! {"a": 34.5}, doc! {"a": "x"}],
    );
    check(
        doc! {"a": {"$bitsAllClear": 34}},
        [doc! {"a": 1}, doc! {"a": binary(0, &[])}],
        [doc! {"a": 2}],
    );
    check(
        doc! {"a": {"$bitsAnySet": binary(0, &[0, 1])}},
        [doc! {"a": 256}, doc! {"a": binary(0, &[0, 1])}],
        [doc! {"a": 255}],
    );
    check(
        doc! {"a": {"$bitsAnyClear": [0, 1]}},
        [doc! {"a": 1}],
        [doc! {"a": 3}, doc! {"a": 1e30}, doc! {"a": f64::NAN}],
    );
    // The sign continues; a binary value has no more bits than it has.
    check(
        doc! {"a": {"$bitsAllSet": [200]}},
        [doc! {"a": -1}],
        [doc! {"a": 1}, doc! {"a": binary(0, &[255])}],
    );
    check(
        doc! {"a": {"$bitsAllSet": []}},
        [doc! {"a": 0}],
        [doc! {"a": "x"}, doc! {}],
    );
}

#[test]
fn regular_expressions_match_strings_symbols_and_themselves() {
    check(
        doc! {"a": regex("^x", "i")},
        [
            doc! {"a": "Xy"},
            doc! {"a": ["y", "x"]},
            doc! {"a": Bson::Symbol("x".into())},
            doc! {"a": regex("^x", "i")},
        ],
        [
            doc! {"a": "yx"},
            doc! {"a": regex("^x", "")},
            doc! {"a": 1},
            doc! {},
        ],
    );
    check(
        doc! {"a": {"$regex": "^x", "$options": "i"}},
        [doc! {"a": "X"}],
        [doc! {"a": "y"}],
    );
    check(
        doc! {"a": {"$options": "i", "$regex": regex("^x", "")}},
        [doc! {"a": "X"}],
        [],
    );
    check(
        doc! {"a": {"$regex": "x", "$ne": "xx"}},
        [doc! {"a": "x"}],
        [doc! {"a": "xx"}],
    );
    // $eq means the value itself.
    check(
        doc! {"a": {"$eq": regex("x", "")}},
        [doc! {"a": regex("x", "")}],
        [doc! {"a": "x"}, doc! {"a": regex("x", "i")}],
    );
}

#[test]
fn a_reference_to_a_document_is_a_value() {
    let reference = || bson!({"$ref": "users", "$id": 1});
    check(
        doc! {"a": reference()},
        [doc! {"a": reference()}],
        [doc! {"a": {"$ref": "users", "$id": 2}}],
    );
    check(
        doc! {"a": {"$in": [reference()]}},
        [doc! {"a": reference()}],
        [],
    );
    check(doc! {"a.$id": 1}, [doc! {"a": reference()}], [doc! {}]);
    check(
        doc! {"a": {"$elemMatch": {"$ref": "users", "$id": 1}}},
        [doc! {"a": [reference()]}],
        [],
    );
}
