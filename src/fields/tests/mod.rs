//! What becomes of documents and events, field by field.

mod property;

use super::{Fields, Unfit};
use crate::change::event::Event;
use crate::config::{Config, StreamSpec};
use bson::{Bson, Document, RawDocumentBuf, doc};

pub(super) fn spec(variables: &[(&str, &str)]) -> StreamSpec {
    let servers = [
        ("MONGODB_URI", "mongodb://127.0.0.1:1/shop"),
        ("KAFKA_BROKERS", "127.0.0.1:1"),
        ("KAFKA_DB_CHANGES_TOPIC", "changes"),
    ];
    let loaded = Config::from_vars(servers.into_iter().chain(variables.iter().copied()));
    let mut config = loaded.expect("the variables are right").config;
    config.streams.remove(0)
}

pub(super) fn fields(variables: &[(&str, &str)]) -> Fields {
    Fields::of(spec(variables).sink.fields.as_ref()).expect("there are rules")
}

fn raw(document: &Document) -> RawDocumentBuf {
    RawDocumentBuf::try_from(document).unwrap()
}

/// A document of `shop.users`.
fn shown(variables: &[(&str, &str)], document: &Document) -> Result<Document, Unfit> {
    let rules = fields(variables).rules("shop", "users").expect("there are");
    let mut out = Vec::new();
    rules.document(raw(document).as_bytes(), &mut out)?;
    let out = RawDocumentBuf::from_bytes(out).unwrap();
    Ok(Document::try_from(out).unwrap())
}

fn change(operation: &str, more: Document) -> Document {
    let mut event = doc! {
        "_id": {"_data": "8265BC9FB6"}, "operationType": operation,
        "ns": {"db": "shop", "coll": "users"}, "documentKey": {"_id": 1},
    };
    event.extend(more);
    event
}

fn applied(variables: &[(&str, &str)], event: &Document) -> Result<Document, Unfit> {
    let raw = raw(event);
    let mut room = Vec::new();
    let event = Event::parse(raw.as_bytes()).unwrap();
    let event = fields(variables).apply(&event, &mut room)?;
    let raw = RawDocumentBuf::from_bytes(event.raw.to_vec()).unwrap();
    Ok(Document::try_from(raw).unwrap())
}

fn person() -> Document {
    doc! {
        "_id": 1, "name": "Ada", "ssn": "123-45-6789", "password": Bson::Null,
        "address": {"city": "London", "street": "St James", "geo": {"lat": 51.5, "long": 0.1}},
        "cards": [{"number": "4111111111111111", "expires": 2030}, [{"number": 4000_i64}], "none"],
        "notes": ["a", "b"],
    }
}

#[test]
fn what_is_excluded_is_left_out_with_all_below_it_and_in_every_array() {
    let list = "users:ssn,*:address.geo,cards.number,people:name";
    let found = shown(&[("FIELDS_EXCLUDE", list)], &person()).unwrap();
    let right = doc! {
        "_id": 1, "name": "Ada", "password": Bson::Null,
        "address": {"city": "London", "street": "St James"},
        "cards": [{"expires": 2030}, [{}], "none"],
        "notes": ["a", "b"],
    };
    assert_eq!(found, right);
}

#[test]
fn with_an_include_list_only_its_fields_stay_and_elements_keep_their_index() {
    let list = "users:address.city,users:cards.expires,users:notes";
    let found = shown(
        &[("FIELDS_INCLUDE", list), ("FIELDS_EXCLUDE", "notes")],
        &person(),
    );
    let right = doc! {
        "_id": 1, "address": {"city": "London"},
        "cards": [{"expires": 2030}, [{}], Bson::Null],
    };
    assert_eq!(found.unwrap(), right);
    // Another collection keeps all.
    let fields = fields(&[("FIELDS_INCLUDE", list)]);
    assert!(fields.rules("shop", "orders").is_none());
}

#[test]
fn masks_take_the_place_of_values_and_leave_shapes_as_they_are() {
    let salt = "a salt of enough bytes";
    let found = shown(
        &[
            (
                "FIELDS_MASK",
                "ssn=last4,password,address=hash,address.geo=TEXT,cards.number=last4,notes=last4",
            ),
            ("FIELDS_MASK_SALT", salt),
            ("FIELDS_MASK_TEXT", "[hidden]"),
        ],
        &person(),
    )
    .unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, salt.as_bytes());
    let hash = |text: &str| -> String {
        let tag = ring::hmac::sign(&key, text.as_bytes());
        let digits = tag.as_ref().iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    };
    let right = doc! {
        "_id": 1, "name": "Ada", "ssn": "****6789", "password": Bson::Null,
        "address": {"city": hash("London"), "street": hash("St James"), "geo": {"lat": "[hidden]", "long": "[hidden]"}},
        "cards": [{"number": "****1111", "expires": 2030}, [{"number": "****"}], "none"],
        "notes": ["****", "****"],
    };
    assert_eq!(found, right);
}

#[test]
fn a_field_has_its_new_name_where_it_is_and_two_of_one_name_are_refused() {
    let variables = [(
        "FIELDS_RENAME",
        "address.city=town,cards=wallet,cards.number=no",
    )];
    let found = shown(&variables, &person()).unwrap();
    let names: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "_id", "name", "ssn", "password", "address", "wallet", "notes"
        ]
    );
    let address = found.get_document("address").unwrap();
    assert_eq!(address.get_str("town").unwrap(), "London");
    assert!(!address.contains_key("city"));
    let first = found.get_array("wallet").unwrap()[0].as_document().unwrap();
    assert_eq!(first.get_str("no").unwrap(), "4111111111111111");
    let taken = shown(&[("FIELDS_RENAME", "name=ssn")], &person());
    assert_eq!(taken, Err(Unfit::Taken("ssn".into())));
    // There is none beside it that anybody sees.
    let variables = [("FIELDS_RENAME", "name=ssn"), ("FIELDS_EXCLUDE", "ssn")];
    assert_eq!(
        shown(&variables, &person())
            .unwrap()
            .get_str("ssn")
            .unwrap(),
        "Ada"
    );
}

#[test]
fn every_part_of_an_update_is_treated_as_its_document_is() {
    let update = change(
        "update",
        doc! {
            "fullDocument": person(),
            "fullDocumentBeforeChange": {"_id": 1, "ssn": "old"},
            "updateDescription": {
                "updatedFields": {
                    "cards.0.number": "4", "cards.1": {"number": "5", "expires": 1}, "cards.2.0.number": "6",
                    "address.geo.lat": 1, "address.geo": {"lat": 7}, "ssn": "7", "name": "B", "a.ssn": "stays",
                },
                "removedFields": ["ssn", "address.city", "cards.3.number", "cards"],
                "truncatedArrays": [{"field": "address.geo.points", "newSize": 1}, {"field": "cards", "newSize": 2}],
                "disambiguatedPaths": {
                    "cards.0.number": ["cards", 0, "number"], "cards.0.x.y": ["cards", "0", "x.y"], "ssn": ["ssn"],
                },
                "unknown": {"ssn": "8"},
            },
            "added": "by a stage: 9",
        },
    );
    let variables = [
        ("FIELDS_EXCLUDE", "ssn,address.geo"),
        ("FIELDS_MASK", "cards.number"),
        (
            "FIELDS_RENAME",
            "cards=wallet,address.city=town,cards.x.y=z",
        ),
    ];
    let found = applied(&variables, &update).unwrap();
    let right = doc! {
        "updatedFields": {
            "wallet.0.number": "***", "wallet.1": {"number": "***", "expires": 1}, "wallet.2.0.number": "***",
            "name": "B", "a.ssn": "stays",
        },
        "removedFields": ["address.town", "wallet.3.number", "wallet"],
        "truncatedArrays": [{"field": "wallet", "newSize": 2}],
        "disambiguatedPaths": {
            "wallet.0.number": ["wallet", 0, "number"], "wallet.0.x.z": ["wallet", "0", "x.z"],
        },
    };
    assert_eq!(found.get_document("updateDescription").unwrap(), &right);
    assert_eq!(
        found.get_document("fullDocumentBeforeChange").unwrap(),
        &doc! {"_id": 1}
    );
    assert!(!found.contains_key("added"));
    assert_eq!(found.get_document("documentKey").unwrap(), &doc! {"_id": 1});
}

#[test]
fn of_an_include_list_only_what_is_in_it_is_told_of_updates() {
    let update = change(
        "update",
        doc! {
            "fullDocument": Bson::Null,
            "updateDescription": {
                "updatedFields": {"a.b": 1, "a.0.b": 2, "a.1": 3, "a.c": 4, "a": [{"b": 5, "c": 6}], "d": 7, "d.0": 8},
                "removedFields": ["a", "a.b.x", "a.c", "d"],
                "truncatedArrays": [{"field": "d", "newSize": 1}],
            },
        },
    );
    let found = applied(&[("FIELDS_INCLUDE", "a.b")], &update).unwrap();
    let right = doc! {
        "updatedFields": {"a.b": 1, "a.0.b": 2, "a.1": Bson::Null, "a": [{"b": 5}]},
        "removedFields": ["a", "a.b.x"],
        "truncatedArrays": [],
    };
    assert_eq!(found.get_document("updateDescription").unwrap(), &right);
    assert_eq!(found.get("fullDocument"), Some(&Bson::Null));
}

#[test]
fn a_field_of_the_shard_key_cannot_be_hidden_and_is_kept_by_an_include_list() {
    let event = change("delete", doc! {"documentKey": {"_id": 1, "a.b": "secret"}});
    for variables in [
        [("FIELDS_EXCLUDE", "a")],
        [("FIELDS_EXCLUDE", "a.b")],
        [("FIELDS_MASK", "users:a.b")],
    ] {
        let why = applied(&variables, &event).unwrap_err();
        assert!(matches!(&why, Unfit::InKey { field, .. } if field == "a.b"));
        let said = why.to_string();
        assert!(said.contains("shop.users") && !said.contains("secret"));
    }
    let nested = change("delete", doc! {"documentKey": {"_id": 1, "a": {"b": 1}}});
    assert!(applied(&[("FIELDS_EXCLUDE", "a.b")], &nested).is_err());
    assert_eq!(applied(&[("FIELDS_EXCLUDE", "a.c")], &nested), Ok(nested));
    assert_eq!(applied(&[("FIELDS_INCLUDE", "c")], &event), Ok(event));
}

#[test]
fn what_cannot_be_rewritten_is_told_of_without_its_documents() {
    let variables = [("FIELDS_RENAME", "name=ssn")];
    let event = change("insert", doc! {"fullDocument": person(), "added": "London"});
    let raw = raw(&event);
    let event = Event::parse(raw.as_bytes()).unwrap();
    let mut fields = fields(&variables);
    let mut room = Vec::new();
    assert!(fields.apply(&event, &mut room).is_err());
    let mut room = Vec::new();
    let bare = fields.without_documents(&event, &mut room);
    assert_eq!(bare.full_document, None);
    assert_eq!(bare.token, event.token);
    assert!(memchr::memmem::find(bare.raw, b"London").is_none());
    // Broken bytes are no way around it.
    let mut broken = raw.clone().into_bytes();
    let at = memchr::memmem::find(&broken, b"address").unwrap() + b"address\0".len();
    broken[at] = 200;
    let event = Event::parse(&broken).unwrap();
    let mut fields = super::tests::fields(&[("FIELDS_EXCLUDE", "address.geo")]);
    let mut room = Vec::new();
    assert!(matches!(
        fields.apply(&event, &mut room),
        Err(Unfit::Malformed(_))
    ));
}

#[test]
fn collections_are_named_with_dots_and_stars_and_separators_are_escaped() {
    let rules = |variables: &[(&str, &str)], database: &str, collection: &str| {
        fields(variables).rules(database, collection).is_some()
    };
    let one = [("FIELDS_EXCLUDE", r"audit.log:a,tenant_*:b,odd\:name:c")];
    for (collection, is_there) in [
        ("audit.log", true),
        ("audit", false),
        ("tenant_1", true),
        ("odd:name", true),
        ("odd", false),
    ] {
        assert_eq!(rules(&one, "shop", collection), is_there, "{collection}");
    }
    let several = [
        ("MONGODB_URI", "mongodb://127.0.0.1:1"),
        ("WATCH_DATABASES", "shop,work_*"),
        ("FIELDS_EXCLUDE", "shop.audit.log:a,*.users:b"),
    ];
    let of_several: Vec<_> = several.into_iter().collect();
    for (database, collection, is_there) in [
        ("shop", "audit.log", true),
        ("work_1", "audit.log", false),
        ("work_1", "users", true),
        ("work_1", "old.users", false),
    ] {
        assert_eq!(
            rules(&of_several, database, collection),
            is_there,
            "{database}.{collection}"
        );
    }
    let odd = [("FIELDS_RENAME", r"*:a\,b\=c=d")];
    let found = shown(&odd, &doc! {"_id": 1, "a,b=c": 2}).unwrap();
    assert_eq!(found, doc! {"_id": 1, "d": 2});
}

#[test]
fn rules_are_told_apart_by_their_hash_and_the_salt_is_no_part_of_it() {
    let of = |variables: &[(&str, &str)]| fields(variables).fingerprint("shop", "users");
    let one = of(&[("FIELDS_EXCLUDE", "a")]);
    assert!(one.is_some());
    assert_eq!(
        one,
        of(&[("FIELDS_EXCLUDE", "users:a"), ("FIELDS_MASK", "orders:b")])
    );
    assert_ne!(one, of(&[("FIELDS_EXCLUDE", "b")]));
    assert_ne!(one, of(&[("FIELDS_INCLUDE", "a")]));
    let hashed = |salt| of(&[("FIELDS_MASK", "a=hash"), ("FIELDS_MASK_SALT", salt)]);
    assert_eq!(
        hashed("one salt of many bytes"),
        hashed("another salt of bytes")
    );
}
