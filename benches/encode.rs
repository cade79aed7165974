//! How fast raw BSON becomes JSON: `cargo bench --bench encode`.
//!
//! Throughput is in bytes of BSON read.

use bson::oid::ObjectId;
use bson::{Bson, DateTime, Document, RawDocumentBuf, Timestamp, doc};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use tailwater::change::event::Event;
use tailwater::change::position::Seq;
use tailwater::config::RecordTimestamp;
use tailwater::encode::format::Format;
use tailwater::encode::json::{JsonMode, write_document};
use tailwater::encode::record::Encoder;

fn main() {
    divan::main();
}

const MODES: [JsonMode; 3] = [JsonMode::Simple, JsonMode::Relaxed, JsonMode::Canonical];

/// The same numbers at every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn words(&mut self, words: &[&str], len: usize) -> String {
        let mut text = String::new();
        while text.len() < len {
            text.push_str(words[self.below(words.len() as u64) as usize]);
            text.push(' ');
        }
        text
    }

    fn id(&mut self) -> ObjectId {
        let mut bytes = [0x65; 12];
        bytes[4..].copy_from_slice(&self.next().to_be_bytes());
        ObjectId::from_bytes(bytes)
    }
}

const ENGLISH: [&str; 10] = [
    "the", "harbour", "was", "quiet", "before", "morning", "and", "a", "slow", "tide.",
];
const CYRILLIC: [&str; 6] = ["гавань", "была", "тиха", "перед", "утром", "и"];

/// What an application stores: an order with a customer, lines and notes.
fn order(numbers: &mut Numbers, lines: u64) -> Document {
    let items: Vec<Bson> = (0..lines)
        .map(|line| {
            Bson::Document(doc! {
                "sku": format!("SKU-{:08}", numbers.below(100_000_000)), "line": line as i32,
                "quantity": numbers.below(20) as i32, "price": numbers.below(100_000) as f64 / 100.0,
                "reserved": numbers.below(2) == 0, "warehouse": numbers.id(),
            })
        })
        .collect();
    doc! {
        "_id": numbers.id(), "number": numbers.below(1 << 40) as i64, "status": "processing",
        "createdAt": DateTime::from_millis(1_700_000_000_000 + numbers.below(1 << 34) as i64),
        "updatedAt": DateTime::from_millis(1_700_000_000_000 + numbers.below(1 << 34) as i64),
        "customer": {
            "name": numbers.words(&ENGLISH, 16), "email": "someone@example.org", "vip": false,
            "address": {"street": "1 Harbour Street", "city": "Aarhus", "zip": "8000", "location": [10.203921, 56.162939]},
            "tags": ["newsletter", "b2b"],
        },
        "items": items, "total": numbers.below(10_000_000) as f64 / 100.0, "currency": "EUR",
        "note": Bson::Null, "description": numbers.words(&ENGLISH, 60), "version": 3,
    }
}

fn raw(document: &Document) -> Vec<u8> {
    RawDocumentBuf::try_from(document)
        .expect("a document of this file")
        .into_bytes()
}

fn set(make: impl Fn(&mut Numbers) -> Document) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(42);
    (0..64).map(|_| raw(&make(&mut numbers))).collect()
}

fn throughput(bencher: Bencher, mode: JsonMode, documents: &[Vec<u8>]) {
    let bytes: usize = documents.iter().map(Vec::len).sum();
    let mut out = Vec::new();
    bencher
        .counter(BytesCount::new(bytes))
        .counter(ItemsCount::new(documents.len()))
        .bench_local(|| {
            for document in documents {
                out.clear();
                let _ = black_box(write_document(&mut out, mode, black_box(document)));
                black_box(&out);
            }
        });
}

#[divan::bench(args = MODES)]
fn mixed(bencher: Bencher, mode: JsonMode) {
    let documents = set(|numbers| {
        let lines = numbers.below(12);
        order(numbers, lines)
    });
    throughput(bencher, mode, &documents);
}

#[divan::bench(args = ["english", "with_quotes_and_lines", "german", "cyrillic", "not_utf8"])]
fn text(bencher: Bencher, kind: &str) {
    let mut documents = set(|numbers| {
        let text = match kind {
            "cyrillic" => numbers.words(&CYRILLIC, 4000),
            "with_quotes_and_lines" => numbers
                .words(&ENGLISH, 4000)
                .replace("tide. ", "\"tide.\"\n"),
            "german" => numbers
                .words(&ENGLISH, 4000)
                .replace("quiet", "überströmend"),
            _ => numbers.words(&ENGLISH, 4000),
        };
        doc! {"_id": numbers.id(), "title": "A title of some words", "body": text, "views": 7}
    });
    if kind == "not_utf8" {
        for document in &mut documents {
            let middle = document.len() / 2;
            document[middle] = 0xff;
        }
    }
    throughput(bencher, JsonMode::Simple, &documents);
}

const TYPES: [&str; 10] = [
    "string",
    "int32",
    "int64",
    "double",
    "date",
    "object_id",
    "decimal",
    "binary",
    "bool",
    "array",
];

#[divan::bench(args = TYPES)]
fn by_type(bencher: Bencher, kind: &str) {
    let documents = set(|numbers| {
        let value = |numbers: &mut Numbers| match kind {
            "string" => Bson::String("a short string".into()),
            "int32" => Bson::Int32(numbers.next() as i32),
            "int64" => Bson::Int64(numbers.next() as i64),
            "double" => Bson::Double(numbers.below(1 << 50) as f64 / 1000.0),
            "date" => Bson::DateTime(DateTime::from_millis(numbers.below(1 << 42) as i64)),
            "object_id" => Bson::ObjectId(numbers.id()),
            "decimal" => Bson::Decimal128("1234.50".parse().expect("a decimal")),
            "binary" => Bson::Binary(bson::Binary {
                subtype: bson::spec::BinarySubtype::Generic,
                bytes: vec![7; 100],
            }),
            "bool" => Bson::Boolean(numbers.below(2) == 0),
            _ => Bson::Array((0..8).map(Bson::Int32).collect()),
        };
        (0..50)
            .map(|index| (format!("field{index}"), value(numbers)))
            .collect()
    });
    throughput(bencher, JsonMode::Simple, &documents);
}

/// Lines of an order: about 0.6, 1.3, 17, 1,000 and 13,000 KB.
#[divan::bench(args = [0, 7, 150, 9_000, 120_000])]
fn by_size(bencher: Bencher, lines: u64) {
    let document = raw(&order(&mut Numbers(42), lines));
    throughput(bencher, JsonMode::Simple, &[document]);
}

/// A whole event around a document of about 700 bytes: read, envelope, key, headers.
#[divan::bench(args = ["insert", "update", "delete"])]
fn event(bencher: Bencher, operation: &str) {
    let mut numbers = Numbers(42);
    let document = order(&mut numbers, 2);
    let mut event = doc! {
        "_id": {"_data": "8265BC9FB6000000012B042C0100296E5A1004C5B1A4D0E2F64E6DA5C1F5A4D0E2F64E463C6F7065726174696F6E54797065003C696E736572740046646F63756D656E744B65790046645F6964006465BC9FB6C485F419A7A877FE000004"},
        "operationType": operation, "clusterTime": Timestamp { time: 1_704_110_400, increment: 3 },
        "wallTime": DateTime::from_millis(1_704_110_400_123),
        "ns": {"db": "dashboard", "coll": "orders"}, "documentKey": {"_id": document.get_object_id("_id").expect("has an id")},
    };
    if operation != "delete" {
        event.insert("fullDocument", document);
    }
    if operation == "update" {
        event.insert(
            "updateDescription",
            doc! {"updatedFields": {"status": "shipped", "customer.vip": true}, "removedFields": ["note"], "truncatedArrays": []},
        );
    }
    let event = raw(&event);
    let format = Format::tailwater("watcher:dashboard", JsonMode::Simple);
    let mut encoder = Encoder::new(format, RecordTimestamp::Change);
    bencher
        .counter(BytesCount::new(event.len()))
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| {
            let event = Event::parse(black_box(&event)).expect("an event");
            let encoded = encoder.encode(&event, Seq(1_700_000_000_000_000));
            let encoded = encoded.expect("an event with a record");
            black_box((&encoded, encoded.headers()));
        });
}
