//! Where the local stand-in answers otherwise than MongoDB, each with MongoDB's rule. There the rule
//! is the specification, and the stand-in is not followed.

use bson::{Binary, Bson, Document, doc};

pub struct Deviation {
    /// What MongoDB does.
    pub rule: &'static str,
    pub filter: Document,
    pub document: Document,
    /// Whether MongoDB's `find` finds the document.
    pub is_found: bool,
    /// Whether the stand-in may be wrong about a filter and a document.
    pub concerns: fn(&Document, &Document) -> bool,
}

pub fn all() -> Vec<Deviation> {
    let decimal = Bson::Decimal128("2E+1".parse().unwrap());
    let binary = |bytes: &[u8]| {
        Bson::Binary(Binary {
            subtype: bson::spec::BinarySubtype::Generic,
            bytes: bytes.to_vec(),
        })
    };
    vec![
        Deviation {
            rule: "a regular expression is looked for in symbols as in strings",
            filter: doc! {"a": {"$regex": "^x"}},
            document: doc! {"a": Bson::Symbol("x".into())},
            is_found: true,
            concerns: |filter, document| {
                let is_regex = |name: &str, value: &Bson| {
                    name == "$regex" || matches!(value, Bson::RegularExpression(_))
                };
                any(filter, &is_regex)
                    && any(document, &|_, value| matches!(value, Bson::Symbol(_)))
            },
        },
        Deviation {
            rule: "of binary values the shorter one is less, whatever its bytes (BSON comparison order)",
            filter: doc! {"a": {"$gt": binary(&[2, 0])}},
            document: doc! {"a": binary(&[3])},
            is_found: false,
            concerns: |filter, document| {
                let is_binary = |_: &str, value: &Bson| matches!(value, Bson::Binary(_));
                has_range(filter) && any(filter, &is_binary) && any(document, &is_binary)
            },
        },
        Deviation {
            rule: "a decimal that is a whole number of 64 bits has bits, however it is written",
            filter: doc! {"a": {"$bitsAllSet": [2, 4]}},
            document: doc! {"a": decimal},
            is_found: true,
            concerns: |filter, document| {
                any(filter, &|name, _| name.starts_with("$bits"))
                    && any(document, &|_, value| matches!(value, Bson::Decimal128(_)))
            },
        },
        Deviation {
            rule: "a path through an array that has no such element leads nowhere; nothing is missing then",
            filter: doc! {"a.0": Bson::Null},
            document: doc! {"a": []},
            is_found: false,
            concerns: |filter, document| {
                let takes_missing = |_: &str, value: &Bson| {
                    matches!(value, Bson::Null | Bson::MinKey | Bson::MaxKey)
                };
                any(filter, &|name, _| {
                    name.contains(".0") || name.contains(".1")
                }) && any(filter, &takes_missing)
                    && any(document, &|_, value| matches!(value, Bson::Array(_)))
            },
        },
        Deviation {
            rule: "for $elemMatch an array within the array is a document of the fields 0, 1, …",
            filter: doc! {"a": {"$elemMatch": {"b": {"$exists": false}}}},
            document: doc! {"a": [[]]},
            is_found: true,
            concerns: |filter, document| {
                any(filter, &|name, _| name == "$elemMatch")
                    && any(document, &|_, value| has_inner_array(value))
            },
        },
        Deviation {
            rule: "a double that 64 bits do not hold has no bits",
            filter: doc! {"a": {"$bitsAllClear": [1]}},
            document: doc! {"a": i64::MAX as f64},
            is_found: false,
            concerns: |filter, document| {
                any(filter, &|name, _| name.starts_with("$bits"))
                    && any(
                        document,
                        &|_, value| matches!(value, Bson::Double(double) if *double >= i64::MAX as f64),
                    )
            },
        },
        Deviation {
            rule: "undefined is less than null (BSON comparison order)",
            filter: doc! {"a": {"$gt": {"b": Bson::Undefined}}},
            document: doc! {"a": {"b": Bson::Null}},
            is_found: true,
            concerns: |filter, document| {
                let is_undefined = |_: &str, value: &Bson| matches!(value, Bson::Undefined);
                has_range(filter) && (any(filter, &is_undefined) || any(document, &is_undefined))
            },
        },
        Deviation {
            rule: "an index in a path leads to the element alone, not to what is in it",
            filter: doc! {"a.0": {"$mod": [2, 1]}},
            document: doc! {"a": [[1]]},
            is_found: false,
            concerns: |filter, document| {
                any(filter, &|name, _| name == "$mod")
                    && any(filter, &|name, _| has_index(name))
                    && any(document, &|_, value| has_inner_array(value))
            },
        },
    ]
}

fn has_index(path: &str) -> bool {
    path.contains(".0") || path.contains(".1")
}

fn has_inner_array(value: &Bson) -> bool {
    let Bson::Array(array) = value else {
        return false;
    };
    array.iter().any(|each| matches!(each, Bson::Array(_)))
}

fn has_range(filter: &Document) -> bool {
    any(filter, &|name, _| {
        ["$gt", "$gte", "$lt", "$lte"].contains(&name)
    })
}

/// Whether `is` holds for a field anywhere in a document; elements of arrays have no name.
fn any(document: &Document, is: &impl Fn(&str, &Bson) -> bool) -> bool {
    document
        .iter()
        .any(|(name, value)| any_value(name, value, is))
}

fn any_value(name: &str, value: &Bson, is: &impl Fn(&str, &Bson) -> bool) -> bool {
    is(name, value)
        || match value {
            Bson::Document(document) => any(document, is),
            Bson::Array(array) => array.iter().any(|each| any_value("", each, is)),
            _ => false,
        }
}
