//! A history of random changes: every operation on documents, every type of BSON.

use crate::support::{Database, Random};
use bson::oid::ObjectId;
use bson::spec::BinarySubtype;
use bson::{Binary, Bson, Document, Regex, Timestamp, doc};

const IDS: usize = 14;
const CHANGES: usize = 160;
/// How many of them delete a document at least: most that are tried find none.
const DELETES: u64 = 4;
pub const COLLECTIONS: [&str; 3] = ["users", "orders.eu", "kept"];

/// What strings are made of: what JSON escapes, what Java's driver escapes beside that, and what stands for itself.
const TEXTS: &[&str] = &[
    "a",
    "Z9 ",
    "\"",
    "\\",
    "/",
    "\n\r\t\u{8}\u{c}",
    "\u{1}\u{1f}\u{7f}\u{85}",
    "é☃",
    "e\u{301}",
    "😀",
    "\u{2028}\u{2029}",
    "\u{200b}\u{ad}\u{feff}",
    "漢字かな",
    "مرحبا",
    "ʰ€±½Ⅷ",
    "\u{e000}",
    "«»‹›'<>&=",
    "नमस्ते",
];

fn text(random: &mut Random) -> String {
    (0..random.below(4)).map(|_| random.pick(TEXTS)).collect()
}

fn binary(subtype: u8, bytes: &[u8]) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::from(subtype),
        bytes: bytes.to_vec(),
    })
}

/// Doubles of which no Java writes more digits than there need be.
const DOUBLES: [f64; 14] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    0.1,
    0.001,
    0.000_25,
    9_999_999.0,
    1e7,
    1.25e-7,
    1e21,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
];

fn integer(random: &mut Random) -> i64 {
    let wide = random.next() as i64;
    match random.below(4) {
        0 => wide >> 40,
        1 => wide,
        2 => i64::MIN,
        _ => random.below(100) as i64,
    }
}

fn decimal(random: &mut Random) -> Bson {
    let text = random.pick(&[
        "1.10",
        "-5",
        "0",
        "0.000000001",
        "1E+10",
        "1.5E-300",
        "NaN",
        "Infinity",
        "-Infinity",
        "12345678901234567890.5",
    ]);
    Bson::Decimal128(text.parse().unwrap())
}

fn date(random: &mut Random) -> Bson {
    let millis = match random.below(6) {
        0 => -1,
        1 => 253_402_300_800_000,
        2 => -62_198_755_200_001,
        3 => random.below(1 << 41) as i64 / 1000 * 1000,
        4 => random.below(1 << 41) as i64 / 10 * 10,
        _ => random.below(1 << 41) as i64,
    };
    Bson::DateTime(bson::DateTime::from_millis(millis))
}

fn object_id(random: &mut Random) -> ObjectId {
    let mut bytes = [0x65; 12];
    bytes[4..].copy_from_slice(&random.next().to_be_bytes());
    ObjectId::from_bytes(bytes)
}

pub fn value(random: &mut Random, depth: u32) -> Bson {
    match random.below(if depth == 0 { 20 } else { 23 }) {
        0 => Bson::Int32(integer(random) as i32),
        1 => Bson::Int64(integer(random)),
        2 => Bson::Double(DOUBLES[random.index(DOUBLES.len())]),
        3 => Bson::Double(random.below(1 << 20) as f64 / 4.0),
        4 | 5 => Bson::String(text(random)),
        6 => Bson::Boolean(random.once_in(2)),
        7 => Bson::Null,
        8 => date(random),
        9 => decimal(random),
        10 => Bson::ObjectId(object_id(random)),
        11 => binary(0, text(random).as_bytes()),
        12 => {
            let subtype = [2, 3, 4, 5, 0x80, 0xab][random.index(6)];
            binary(subtype, &random.next().to_be_bytes().repeat(2))
        }
        13 => Bson::Timestamp(Timestamp {
            time: random.next() as u32,
            increment: random.next() as u32,
        }),
        14 => Bson::RegularExpression(Regex {
            pattern: "^a.b/\"".try_into().unwrap(),
            options: random.pick(&["", "i", "imx"]).try_into().unwrap(),
        }),
        15 => Bson::JavaScriptCode(text(random)),
        16 => Bson::JavaScriptCodeWithScope(bson::JavaScriptCodeWithScope {
            code: "f(\"x\")".into(),
            scope: doc! {"x": 1, "y": {"z": 2_i64}},
        }),
        17 => Bson::Symbol(text(random)),
        18 => [Bson::MinKey, Bson::MaxKey, Bson::Undefined][random.index(3)].clone(),
        19 => Bson::DbPointer(db_pointer()),
        20 => Bson::Document(document(random, depth - 1)),
        _ => {
            let len = random.below(4);
            Bson::Array((0..len).map(|_| value(random, depth - 1)).collect())
        }
    }
}

/// The crate lets nobody make one but of its bytes.
fn db_pointer() -> bson::DbPointer {
    let text = r#"{"$dbPointer": {"$ref": "a.b", "$id": {"$oid": "65bc9fb6c485f419a7a877fe"}}}"#;
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    match Bson::try_from(json.as_object().unwrap().clone()).unwrap() {
        Bson::DbPointer(pointer) => pointer,
        other => panic!("{other}"),
    }
}

pub fn document(random: &mut Random, depth: u32) -> Document {
    const NAMES: [&str; 8] = ["a", "b", "c", "list", "é\"", "s p", "", "n"];
    let mut document = Document::new();
    for _ in 0..random.below(6) {
        document.insert(random.pick(&NAMES), value(random, depth));
    }
    document
}

fn identities(random: &mut Random) -> Vec<Bson> {
    let mut all: Vec<_> = (0..IDS as i32 - 10).map(Bson::Int32).collect();
    all.extend([
        Bson::String("q\"\\é☃😀\u{2028}".into()),
        Bson::ObjectId(object_id(random)),
        Bson::Int64(1 << 55),
        Bson::Double(2.5),
        Bson::DateTime(bson::DateTime::from_millis(1_577_836_800_120)),
        Bson::Decimal128("5.50".parse().unwrap()),
        Bson::Boolean(true),
        Bson::Document(doc! {"a": 1, "b": {"c": "x"}}),
        binary(4, b"0123456789abcdef"),
        Bson::Timestamp(Timestamp {
            time: 3,
            increment: 1,
        }),
    ]);
    all
}

/// Writes the history; the same for the same seed, but for times.
pub async fn write(db: &Database, seed: u64) {
    let keep = doc! {"create": "kept", "changeStreamPreAndPostImages": {"enabled": true}};
    db.run_command(keep).await.unwrap();
    let mut random = Random(seed);
    let random = &mut random;
    let ids = identities(random);
    // One of each type for sure.
    let mut whole = doc! {"_id": "every type"};
    for field in 0..200 {
        whole.insert(format!("f{field}"), value(random, 1));
    }
    db.documents("users").insert_one(whole).await.unwrap();
    let (mut changes, mut deletes) = (0, 0);
    while changes < CHANGES || deletes < DELETES {
        changes += 1;
        let collection = db.documents(random.pick(&COLLECTIONS));
        let id = doc! {"_id": ids[random.index(ids.len())].clone()};
        let changed = document(random, 2);
        let new = value(random, 2);
        let field = random.pick(&["a", "b.x", "list", "n"]);
        let written = match random.below(10) {
            0..=3 => {
                let mut whole = id.clone();
                whole.extend(changed);
                collection
                    .replace_one(id, whole)
                    .upsert(true)
                    .await
                    .map(drop)
            }
            4 => {
                let deleted = collection.delete_one(id).await;
                deleted.map(|deleted| deletes += deleted.deleted_count)
            }
            5 => {
                let set = doc! {"$set": {field: new, "touched": random.below(99) as i32}};
                collection.update_one(id, set).upsert(true).await.map(drop)
            }
            6 => {
                let unset = doc! {"$unset": {"a": 1, "n": 1}};
                collection.update_one(id, unset).await.map(drop)
            }
            7 => {
                let list = doc! {"$set": {"list": [1, "b", {"c": 2_i64}, 4, 5]}};
                collection.update_one(id, list).await.map(drop)
            }
            8 => {
                let cut = vec![doc! {"$set": {"list": {"$slice": ["$list", 1]}}}];
                let only = doc! {"_id": id.get("_id"), "list.1": {"$exists": true}};
                collection.update_one(only, cut).await.map(drop)
            }
            _ => in_transaction(db, &collection, id, changed).await,
        };
        // What the server refuses changes nothing.
        if let Err(error) = written {
            assert!(
                tailwater::mongo::errors::server_code(&error).is_some(),
                "{error}"
            );
        }
    }
}

async fn in_transaction(
    db: &Database,
    collection: &mongodb::Collection<Document>,
    id: Document,
    changed: Document,
) -> mongodb::error::Result<()> {
    let mut session = db.client.start_session().await?;
    session.start_transaction().await?;
    let set = doc! {"$set": {"of": "a transaction"}};
    let mut whole = id.clone();
    whole.extend(changed);
    let replaced = collection.replace_one(id.clone(), whole).upsert(true);
    replaced.session(&mut session).await?;
    let updated = collection.update_one(id, set);
    updated.session(&mut session).await?;
    session.commit_transaction().await
}
