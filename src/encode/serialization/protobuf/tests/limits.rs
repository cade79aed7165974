//! Where Protobuf, or those who read it, allow no more.

use super::{compiled, new, read_back, widened, written};
use crate::encode::serialization::protobuf::{read, schema};
use crate::encode::serialization::samples::{insert, place};
use crate::encode::serialization::schema::Layout;
use bson::{Bson, Document, doc};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A list in whose list is a value with so many arrays or documents around it.
fn nested(depth: usize, is_array: bool) -> Bson {
    let inner = (0..depth).fold(Bson::Int32(1), |inner, _| match is_array {
        true => Bson::Array(vec![inner]),
        false => Bson::Document(doc! {"d": inner}),
    });
    Bson::Array(vec![Bson::Array(vec![inner])])
}

/// Readers allow a hundred messages in one another, here as elsewhere.
#[test]
fn what_readers_would_refuse_for_its_depth_is_refused_with_its_path() {
    for layout in [Layout::Change, Layout::Document] {
        for (is_array, most) in [(true, 48), (false, 32)] {
            let of = |depth| insert(&doc! {"_id": 1, "v": nested(depth, is_array)});
            let (known, _) = widened(&new(layout), &of(1)).unwrap();
            for depth in [1, 16, most] {
                let (wider, _) = widened(&new(layout), &of(depth)).unwrap();
                assert_eq!(wider, known);
                let bytes = written(&wider, &of(depth)).unwrap();
                read_back(&compiled(&schema(&wider)), &bytes);
            }
            for depth in [most + 1, 95] {
                let why = widened(&new(layout), &of(depth)).unwrap_err();
                let said =
                    "`fullDocument.v[]` is nested so deep that it would be more than 100 messages";
                assert!(why.starts_with(said), "{depth}: {why}");
                assert!(written(&known, &of(depth)).is_err(), "{depth}");
            }
        }
    }
}

/// Neither by number nor by name: older compilers take no names that differ in case or in `_` alone.
#[test]
fn names_that_are_the_same_to_some_are_different_to_all() {
    let names = [
        "user_name",
        "userName",
        "username",
        "USER_NAME",
        "User-Name",
        "_user.name",
        "username2",
        "",
        "_",
        "__",
        "日本",
        "中国",
    ];
    let document: Document = names
        .iter()
        .map(|name| ((*name).to_owned(), Bson::Int32(1)))
        .collect();
    let (wider, _) = widened(&new(Layout::Document), &insert(&document)).unwrap();
    let folded = |name: &str| name.to_lowercase().replace('_', "");
    let seen: BTreeSet<_> = wider
        .document
        .fields()
        .iter()
        .map(|it| folded(&it.alias))
        .collect();
    assert_eq!(seen.len(), names.len(), "{}", schema(&wider));
    compiled(&schema(&wider));
}

/// Also where names in another script leave nothing but `_`.
#[test]
fn as_many_fields_as_there_may_be_are_named_in_no_time() {
    let name = |number: u32| -> String {
        let of = |bit: u32| if number >> bit & 1 == 1 { '日' } else { '本' };
        (0..11).map(of).collect()
    };
    let document: Document = (0..1900)
        .map(|number| (name(number), Bson::Int32(1)))
        .collect();
    let started = Instant::now();
    let (wider, _) = widened(&new(Layout::Document), &insert(&document)).unwrap();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    let seen: BTreeSet<_> = wider.document.fields().iter().map(|it| &it.alias).collect();
    assert_eq!(seen.len(), 1900);
}

/// Those that somebody has reserved, or that Protobuf keeps, are no new field's.
#[test]
fn no_new_field_gets_a_number_that_is_kept() {
    let of = |body: &str| format!("syntax = \"proto3\"; message A {{ {body} }}");
    let widened = |body: &str| {
        let known = read(&of(body), Layout::Document, &place()).unwrap();
        widened(&known, &insert(&doc! {"new": "x"})).unwrap().0
    };
    for (body, number) in [
        ("reserved 0x10, 017;", 17),
        ("int64 a = 18999;", 20_000),
        ("reserved 15000 to 19500; int64 a = 1;", 20_000),
        ("reserved 19999;", 20_000),
    ] {
        let wider = widened(body);
        let added = wider.document.fields().last().unwrap();
        assert_eq!(
            (added.name.as_slice(), added.number),
            (&b"new"[..], number),
            "{body}"
        );
        assert_eq!(wider.beyond, None);
    }
    // Then there is none, and the schema stays as it is.
    for body in ["reserved 1000 to max; int64 a = 1;", "int64 a = 536870911;"] {
        assert!(widened(body).beyond.is_some(), "{body}");
    }
}
