//! What documents may hold: identities and values of every type, sizes up to MongoDB's limit,
//! arrays cut short, images from before, and changes that belong together.

use crate::support::{self, Database, Record, Setup, Tailwater};
use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, DateTime, Decimal128, Regex, Timestamp, doc};
use futures_util::future::join_all;
use serde_json::json;

async fn setup(db: &Database) -> (Setup, String) {
    let topic = db.topic("changes");
    let setup = Tailwater::on(db, support::kafka().await)
        .env("KAFKA_DB_CHANGES_TOPIC", &topic)
        .env("KAFKA_TOPIC_PARTITIONS", 1);
    (setup, topic)
}

async fn in_order(topic: &str, count: usize) -> Vec<Record> {
    let mut records = support::kafka()
        .await
        .wait_for_records(&[topic], count)
        .await;
    records.sort_by_key(Record::seq);
    records
}

fn binary(subtype: BinarySubtype, bytes: &[u8]) -> Bson {
    let bytes = bytes.to_vec();
    Bson::Binary(Binary { subtype, bytes })
}

fn uuid() -> Bson {
    let bytes = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes();
    binary(BinarySubtype::Uuid, &bytes)
}

fn object_id() -> Bson {
    Bson::ObjectId(ObjectId::parse_str("65bc9fb6c485f419a7a877fe").unwrap())
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse::<Decimal128>().unwrap())
}

fn regex() -> Bson {
    Bson::RegularExpression(Regex {
        pattern: "^a.b".try_into().unwrap(),
        options: "i".try_into().unwrap(),
    })
}

fn timestamp() -> Bson {
    Bson::Timestamp(Timestamp {
        time: 7,
        increment: 2,
    })
}

/// The partition that Java's producers choose for a key.
fn murmur2_partition(key: &[u8], partitions: u32) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let mut chunks = key.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().unwrap()).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    for (index, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    (hash & 0x7fff_ffff) % partitions
}

#[tokio::test]
async fn identities_of_every_type_make_keys_that_stay_apart_and_in_their_partition() {
    let ids = [
        (Bson::Int32(1), "1"),
        (Bson::Int64(-5), "-5"),
        (
            Bson::Int64(1 << 60),
            r#"{"$numberLong":"1152921504606846976"}"#,
        ),
        (Bson::Double(1.5), "1.5"),
        (Bson::Double(f64::NAN), r#"{"$numberDouble":"NaN"}"#),
        ("1".into(), r#""1""#),
        ("q\"\\\n☃".into(), r#""q\"\\\n☃""#),
        ("".into(), r#""""#),
        (object_id(), r#"{"$oid":"65bc9fb6c485f419a7a877fe"}"#),
        (Bson::Boolean(true), "true"),
        (Bson::Null, "null"),
        (
            Bson::DateTime(DateTime::from_millis(1_577_863_627_000)),
            r#"{"$date":"2020-01-01T07:27:07Z"}"#,
        ),
        (
            Bson::DateTime(DateTime::from_millis(-1)),
            r#"{"$date":{"$numberLong":"-1"}}"#,
        ),
        (decimal("1.10"), r#"{"$numberDecimal":"1.10"}"#),
        (
            uuid(),
            r#"{"$binary":{"base64":"ABEiM0RVZneImaq7zN3u/w==","subType":"04"}}"#,
        ),
        (
            binary(BinarySubtype::Generic, b"\x00\x01"),
            r#"{"$binary":{"base64":"AAE=","subType":"00"}}"#,
        ),
        (timestamp(), r#"{"$timestamp":{"t":7,"i":2}}"#),
        (Bson::MinKey, r#"{"$minKey":1}"#),
        (Bson::MaxKey, r#"{"$maxKey":1}"#),
        (Bson::JavaScriptCode("f()".into()), r#"{"$code":"f()"}"#),
        (
            Bson::Document(doc! {"b": 1, "a": {"x": [1, "2"], "at": object_id()}}),
            r#"{"b":1,"a":{"x":[1,"2"],"at":{"$oid":"65bc9fb6c485f419a7a877fe"}}}"#,
        ),
    ];
    const PARTITIONS: u32 = 7;
    let db = support::database().await;
    let (setup, topic) = setup(&db).await;
    let setup = setup.env("KAFKA_TOPIC_PARTITIONS", PARTITIONS);
    let tailwater = setup.start().await;
    // MongoDB takes 1 and 1.0 for one identity: each has a collection of its own here.
    for (n, (id, _)) in ids.iter().enumerate() {
        let collection = db.documents(&format!("c{n}"));
        let one = doc! {"_id": id};
        collection.insert_one(one.clone()).await.unwrap();
        let update = doc! {"$set": {"a": 1}};
        collection.update_one(doc! {}, update).await.unwrap();
        collection.delete_one(doc! {}).await.unwrap();
    }
    let records = in_order(&topic, ids.len() * 3).await;
    tailwater.stop().await;
    for (n, (_, id)) in ids.iter().enumerate() {
        let name = db.name();
        let key = format!(r#"{{"database":"{name}","collection":"c{n}","_id":{id}}}"#);
        let partition = murmur2_partition(key.as_bytes(), PARTITIONS);
        for record in &records[n * 3..n * 3 + 3] {
            let own = String::from_utf8(record.key_bytes.clone().unwrap()).unwrap();
            assert_eq!(own, key);
            assert_eq!(record.partition, partition as i32, "{key}");
        }
    }
}

/// A value, and how it is written in the modes simple, relaxed and canonical.
type Row = (Bson, &'static str, &'static str, &'static str);

type Column = fn(&Row) -> &'static str;

fn rows() -> Vec<Row> {
    let same = |value: Bson, text| (value, text, text, text);
    vec![
        same("a\"b\\☃\u{1}".into(), r#""a\"b\\☃\u0001""#),
        (7.into(), "7", "7", r#"{"$numberInt":"7"}"#),
        (5_i64.into(), "5", "5", r#"{"$numberLong":"5"}"#),
        (
            i64::MAX.into(),
            "9223372036854775807",
            r#"{"$numberLong":"9223372036854775807"}"#,
            r#"{"$numberLong":"9223372036854775807"}"#,
        ),
        (
            i64::MIN.into(),
            "-9223372036854775808",
            r#"{"$numberLong":"-9223372036854775808"}"#,
            r#"{"$numberLong":"-9223372036854775808"}"#,
        ),
        (0.1.into(), "0.1", "0.1", r#"{"$numberDouble":"0.1"}"#),
        ((-0.0).into(), "-0.0", "-0.0", r#"{"$numberDouble":"-0.0"}"#),
        (
            f64::NAN.into(),
            "null",
            r#"{"$numberDouble":"NaN"}"#,
            r#"{"$numberDouble":"NaN"}"#,
        ),
        (
            f64::NEG_INFINITY.into(),
            "null",
            r#"{"$numberDouble":"-Infinity"}"#,
            r#"{"$numberDouble":"-Infinity"}"#,
        ),
        same(true.into(), "true"),
        same(Bson::Null, "null"),
        (
            object_id(),
            r#""65bc9fb6c485f419a7a877fe""#,
            r#"{"$oid":"65bc9fb6c485f419a7a877fe"}"#,
            r#"{"$oid":"65bc9fb6c485f419a7a877fe"}"#,
        ),
        (
            DateTime::from_millis(1_577_863_627_000).into(),
            r#""2020-01-01T07:27:07.000Z""#,
            r#"{"$date":"2020-01-01T07:27:07Z"}"#,
            r#"{"$date":{"$numberLong":"1577863627000"}}"#,
        ),
        (
            DateTime::from_millis(-1).into(),
            r#""1969-12-31T23:59:59.999Z""#,
            r#"{"$date":{"$numberLong":"-1"}}"#,
            r#"{"$date":{"$numberLong":"-1"}}"#,
        ),
        (
            DateTime::from_millis(253_402_300_800_000).into(),
            r#""+010000-01-01T00:00:00.000Z""#,
            r#"{"$date":{"$numberLong":"253402300800000"}}"#,
            r#"{"$date":{"$numberLong":"253402300800000"}}"#,
        ),
        (
            decimal("-1.10E+20"),
            r#""-1.10E+20""#,
            r#"{"$numberDecimal":"-1.10E+20"}"#,
            r#"{"$numberDecimal":"-1.10E+20"}"#,
        ),
        (
            binary(BinarySubtype::Generic, b"\x00\xffa"),
            r#""AP9h""#,
            r#"{"$binary":{"base64":"AP9h","subType":"00"}}"#,
            r#"{"$binary":{"base64":"AP9h","subType":"00"}}"#,
        ),
        (
            uuid(),
            r#""00112233-4455-6677-8899-aabbccddeeff""#,
            r#"{"$binary":{"base64":"ABEiM0RVZneImaq7zN3u/w==","subType":"04"}}"#,
            r#"{"$binary":{"base64":"ABEiM0RVZneImaq7zN3u/w==","subType":"04"}}"#,
        ),
        same(timestamp(), r#"{"$timestamp":{"t":7,"i":2}}"#),
        same(
            regex(),
            r#"{"$regularExpression":{"pattern":"^a.b","options":"i"}}"#,
        ),
        same(Bson::JavaScriptCode("f()".into()), r#"{"$code":"f()"}"#),
        (
            Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope {
                code: "f()".into(),
                scope: doc! {"x": 1},
            }),
            r#"{"$code":"f()","$scope":{"x":1}}"#,
            r#"{"$code":"f()","$scope":{"x":1}}"#,
            r#"{"$code":"f()","$scope":{"x":{"$numberInt":"1"}}}"#,
        ),
        (
            Bson::Symbol("s".into()),
            r#""s""#,
            r#"{"$symbol":"s"}"#,
            r#"{"$symbol":"s"}"#,
        ),
        (
            Bson::Undefined,
            "null",
            r#"{"$undefined":true}"#,
            r#"{"$undefined":true}"#,
        ),
        same(Bson::MinKey, r#"{"$minKey":1}"#),
        same(Bson::MaxKey, r#"{"$maxKey":1}"#),
        (
            Bson::Document(doc! {"a": 1, "": [], "b.c": {"$d": "x"}}),
            r#"{"a":1,"":[],"b.c":{"$d":"x"}}"#,
            r#"{"a":1,"":[],"b.c":{"$d":"x"}}"#,
            r#"{"a":{"$numberInt":"1"},"":[],"b.c":{"$d":"x"}}"#,
        ),
        (
            Bson::Array(vec![1.into(), Bson::Array(vec![]), doc! {}.into()]),
            "[1,[],{}]",
            "[1,[],{}]",
            r#"[{"$numberInt":"1"},[],{}]"#,
        ),
        (deep(), DEEP, DEEP, DEEP),
    ]
}

/// An array in an array, 90 deep: the server itself stops at 100 with what is around it.
fn deep() -> Bson {
    (0..90).fold(Bson::Null, |inner, _| Bson::Array(vec![inner]))
}

const DEEP: &str = concat!(
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "null",
    "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
);

#[tokio::test]
async fn values_of_every_type_are_written_as_each_json_mode_has_them() {
    let db = support::database().await;
    let rows = rows();
    let mut document = doc! {"_id": "every type"};
    for (n, (value, ..)) in rows.iter().enumerate() {
        document.insert(format!("f{n}"), value);
    }
    let modes: [(&str, Column); 3] = [
        ("simple", |row| row.1),
        ("relaxed", |row| row.2),
        ("canonical", |row| row.3),
    ];
    let (setup, _) = setup(&db).await;
    let running = join_all(modes.map(|(mode, _)| {
        let setup = setup
            .clone()
            .env("STREAM_ID", format!("{}-{mode}", db.name()))
            .env("KAFKA_DB_CHANGES_TOPIC", db.topic(mode))
            .env("JSON_MODE", mode);
        async move { setup.start().await }
    }))
    .await;
    db.documents("types").insert_one(document).await.unwrap();
    for (mode, column) in modes {
        let records = in_order(&db.topic(mode), 1).await;
        let mut expected = r#""fullDocument":{"_id":"every type""#.to_owned();
        for (n, row) in rows.iter().enumerate() {
            expected += &format!(r#","f{n}":{}"#, column(row));
        }
        expected += "}}";
        let (_, written) = records[0].text().split_once(r#"Z","#).unwrap();
        assert_eq!(written, expected, "{mode}");
    }
    for tailwater in running {
        tailwater.stop().await;
    }
}

#[tokio::test]
async fn documents_of_15_megabytes_pass_and_so_do_their_neighbours() {
    let db = support::database().await;
    let (setup, topic) = setup(&db).await;
    let tailwater = setup
        .env("KAFKA_TOPIC_CONFIG", "max.message.bytes=20000000")
        .start()
        .await;
    let blobs = db.documents("blobs");
    let blob = "x".repeat(15 << 20);
    blobs.insert_one(doc! {"_id": 1}).await.unwrap();
    let large = doc! {"_id": 2, "blob": &blob};
    blobs.insert_one(large).await.unwrap();
    let update = doc! {"$set": {"small": true}};
    blobs.update_one(doc! {"_id": 2}, update).await.unwrap();
    blobs.insert_one(doc! {"_id": 3}).await.unwrap();
    let records = in_order(&topic, 4).await;
    tailwater.stop().await;
    let ids: Vec<_> = records.iter().map(|r| r.key["_id"].as_i64()).collect();
    assert_eq!(ids, [Some(1), Some(2), Some(2), Some(3)]);
    for record in &records[1..3] {
        let carried = record.value["fullDocument"]["blob"].as_str();
        assert_eq!(carried.map(str::len), Some(blob.len()));
    }
    assert_eq!(records[2].value["fullDocument"]["small"], true);
}

#[tokio::test]
async fn an_array_cut_short_is_told_with_its_new_length() {
    let db = support::database().await;
    let (setup, topic) = setup(&db).await;
    let tailwater = setup.start().await;
    let lists = db.documents("lists");
    // Large enough that a server does not tell the whole document instead.
    let list = doc! {"_id": 1, "list": [1, 2, 3, 4, 5], "n": 0, "rest": "x".repeat(500)};
    lists.insert_one(list).await.unwrap();
    let cut = vec![doc! {"$set": {"list": {"$slice": ["$list", 2]}, "n": 1}}];
    lists.update_one(doc! {"_id": 1}, cut).await.unwrap();
    let records = in_order(&topic, 2).await;
    tailwater.stop().await;
    let expected = json!({
        "updatedFields": {"n": 1},
        "removedFields": [],
        "truncatedArrays": [{"field": "list", "newSize": 2}],
    });
    assert_eq!(records[1].value["updateDescription"], expected);
    assert_eq!(records[1].value["fullDocument"]["list"], json!([1, 2]));
}

#[tokio::test]
async fn an_update_whose_document_is_gone_has_null_for_it() {
    let db = support::database().await;
    let (setup, topic) = setup(&db).await;
    setup.start().await.stop().await;
    let users = db.documents("users");
    users.insert_one(doc! {"_id": 1}).await.unwrap();
    let update = doc! {"$set": {"a": 1}};
    users.update_one(doc! {}, update).await.unwrap();
    users.delete_one(doc! {}).await.unwrap();
    let tailwater = setup.start().await;
    let records = in_order(&topic, 3).await;
    tailwater.stop().await;
    assert_eq!(records[1].header("tw-op"), "update");
    assert!(
        records[1]
            .text()
            .contains(r#","fullDocument":null,"updateDescription":{"#)
    );
    assert_eq!(
        records[1].value["updateDescription"]["updatedFields"],
        json!({"a": 1})
    );
    assert!(records[2].value.get("fullDocument").is_none());
}

#[tokio::test]
async fn the_changes_of_a_transaction_come_together_in_order_and_those_of_an_aborted_one_never() {
    let db = support::database().await;
    for name in ["users", "orders"] {
        db.create_collection(name).await.unwrap();
    }
    let (setup, topic) = setup(&db).await;
    let tailwater = setup.start().await;
    let (users, orders) = (db.documents("users"), db.documents("orders"));
    let mut session = db.client.start_session().await.unwrap();
    for commits in [false, true] {
        session.start_transaction().await.unwrap();
        for n in 0..5 {
            let one = doc! {"_id": n, "commits": commits};
            let session = &mut session;
            users
                .insert_one(one.clone())
                .session(&mut *session)
                .await
                .unwrap();
            orders.insert_one(one).session(&mut *session).await.unwrap();
            let update = doc! {"$set": {"n": n}};
            let updated = users.update_one(doc! {"_id": n}, update).session(session);
            updated.await.unwrap();
        }
        if commits {
            session.commit_transaction().await.unwrap();
        } else {
            session.abort_transaction().await.unwrap();
        }
    }
    users.insert_one(doc! {"_id": "last"}).await.unwrap();
    let records = in_order(&topic, 16).await;
    tailwater.stop().await;
    assert_eq!(support::kafka().await.records(&[&topic]).await.len(), 16);
    let told: Vec<_> = records[..15]
        .iter()
        .map(|record| {
            assert_eq!(record.value["fullDocument"]["commits"], true);
            (
                record.value["collection"].as_str().unwrap(),
                record.header("tw-op"),
                record.key["_id"].as_i64().unwrap(),
            )
        })
        .collect();
    let expected = (0..5).flat_map(|n| {
        [
            ("users", "insert", n),
            ("orders", "insert", n),
            ("users", "update", n),
        ]
    });
    assert_eq!(told, expected.collect::<Vec<_>>());
    assert!(records.is_sorted_by_key(|record| record.offset));
    assert_eq!(records[15].key["_id"], "last");
}

#[tokio::test]
async fn images_from_before_are_those_of_the_change_also_when_it_is_history() {
    let db = support::database().await;
    let kept = doc! {"create": "users", "changeStreamPreAndPostImages": {"enabled": true}};
    db.run_command(kept).await.unwrap();
    let (setup, topic) = setup(&db).await;
    let setup = setup.env("FULL_DOCUMENT_BEFORE_CHANGE", "required");
    setup.start().await.stop().await;
    let users = db.documents("users");
    let one = doc! {"_id": 1};
    users.insert_one(doc! {"_id": 1, "n": 0}).await.unwrap();
    for n in 1..3 {
        let update = doc! {"$set": {"n": n}};
        users.update_one(one.clone(), update).await.unwrap();
    }
    users.replace_one(one.clone(), doc! {"m": 3}).await.unwrap();
    users.delete_one(one).await.unwrap();

    let tailwater = setup.start().await;
    let records = in_order(&topic, 5).await;
    tailwater.stop().await;
    let told: Vec<_> = records
        .iter()
        .map(|record| record.value.get("fullDocumentBeforeChange").cloned())
        .collect();
    let n = |n: i32| Some(json!({"_id": 1, "n": n}));
    let expected = [None, n(0), n(1), n(2), Some(json!({"_id": 1, "m": 3}))];
    assert_eq!(told, expected);
}
