//! Documents and filters at random, of few values, so that they meet.

use crate::chaos::plan::Dice;
use bson::{Bson, Document, Regex, bson, doc};

pub struct Generate {
    dice: Dice,
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const INNER: [&str; 5] = ["a", "b", "0", "1", "x"];
const STRINGS: [&str; 10] = ["", "a", "A", "ab", "b", "abc", "a\nb", "a\n", "é", "1"];
const PATTERNS: [(&str, &str); 14] = [
    ("^a", ""),
    ("^A", "i"),
    ("b$", ""),
    ("a$", "m"),
    ("a.b", ""),
    ("a.b", "s"),
    ("^[a-b]+$", ""),
    ("^(a|é)", ""),
    ("[^ab]", "i"),
    ("a b # or so", "x"),
    (r"^\d?$", ""),
    (r"\w{2,}", ""),
    ("^$", ""),
    ("(?i)B", ""),
];
const DECIMALS: [&str; 10] = [
    "0", "-0", "1", "1.0", "0.1", "1.5", "-1", "2E+1", "NaN", "Infinity",
];

impl Generate {
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
        }
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.dice.roll(limit as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    pub fn document(&mut self, id: i32) -> Document {
        let mut document = doc! {"_id": id};
        for name in NAMES {
            if self.below(4) > 0 {
                document.insert(name, self.value(3));
            }
        }
        document
    }

    /// A value of any type that is stored.
    pub fn value(&mut self, depth: usize) -> Bson {
        match self.below(if depth == 0 { 12 } else { 24 }) {
            0..=2 => self.number(),
            3..=5 => self.pick(&STRINGS).into(),
            6 => Bson::Null,
            7 => Bson::Boolean(self.below(2) == 0),
            8..=11 => self.rare(),
            12..=17 => {
                let length = self.below(4);
                Bson::Array((0..length).map(|_| self.value(depth - 1)).collect())
            }
            _ => {
                let count = self.below(4);
                let fields = (0..count).map(|_| {
                    let name = self.pick(&INNER).to_owned();
                    (name, self.value(depth - 1))
                });
                Bson::Document(fields.collect())
            }
        }
    }

    fn number(&mut self) -> Bson {
        let whole = self.below(5) as i32 - 2;
        match self.below(8) {
            0..=2 => Bson::Int32(whole),
            3 => Bson::Int64(whole.into()),
            4 => Bson::Double(whole.into()),
            5 => Bson::Double(*self.pick(&[&0.1, &1.5, &-0.0, &f64::NAN, &f64::INFINITY, &1e30])),
            6 => Bson::Decimal128(self.pick(&DECIMALS).parse().unwrap()),
            _ => {
                let large = [1_i64 << 53, (1 << 53) + 1, i64::MAX, i64::MIN];
                match self.below(2) {
                    0 => Bson::Int64(large[self.below(4)]),
                    _ => Bson::Double(large[self.below(4)] as f64),
                }
            }
        }
    }

    fn rare(&mut self) -> Bson {
        let small = self.below(3) as u32;
        match self.below(11) {
            0 => Bson::DateTime(bson::DateTime::from_millis(i64::from(small) - 1)),
            1 => Bson::Timestamp(bson::Timestamp {
                // A server replaces an empty one by its time.
                time: small + 1,
                increment: self.below(2) as u32,
            }),
            2 => {
                let mut id = [0; 12];
                id[11] = small as u8;
                Bson::ObjectId(bson::oid::ObjectId::from_bytes(id))
            }
            3 | 4 => self.binary(),
            5 => self.regex(),
            6 => Bson::MinKey,
            7 => Bson::MaxKey,
            8 => Bson::Undefined,
            9 => Bson::Symbol(self.pick(&STRINGS).into()),
            _ => Bson::JavaScriptCode(self.pick(&STRINGS).into()),
        }
    }

    fn binary(&mut self) -> Bson {
        let length = self.below(3);
        Bson::Binary(bson::Binary {
            subtype: [0, 5][self.below(2)].into(),
            bytes: (0..length).map(|_| self.below(4) as u8).collect(),
        })
    }

    fn regex(&mut self) -> Bson {
        let (pattern, options) = PATTERNS[self.below(PATTERNS.len())];
        Bson::RegularExpression(Regex {
            pattern: pattern.to_owned().try_into().unwrap(),
            options: options.to_owned().try_into().unwrap(),
        })
    }

    fn path(&mut self) -> String {
        let mut path = match self.below(20) {
            0 => "_id".to_owned(),
            _ => self.pick(&NAMES).to_owned(),
        };
        for _ in 0..[0, 0, 0, 1, 1, 2][self.below(6)] {
            path.push('.');
            path.push_str(self.pick(&INNER));
        }
        path
    }

    /// A filter, which often has a value of one of the documents.
    pub fn filter(&mut self, documents: &[Document], depth: usize) -> Document {
        let mut filter = Document::new();
        for _ in 0..[1, 1, 1, 2][self.below(4)] {
            if depth > 0 && self.below(5) == 0 {
                let name = self.pick(&["$and", "$or", "$nor"]);
                filter.insert(name, self.filters(documents, depth - 1));
            } else {
                let path = self.path();
                let condition = match self.below(4) {
                    0 => self.operand(documents, true),
                    _ => self.operators(documents, depth).into(),
                };
                filter.insert(path, condition);
            }
        }
        filter
    }

    fn filters(&mut self, documents: &[Document], depth: usize) -> Bson {
        let count = 1 + self.below(3);
        let filters = (0..count).map(|_| self.filter(documents, depth));
        filters.collect::<Vec<_>>().into()
    }

    /// A value to compare with; a regular expression only where it is allowed.
    fn operand(&mut self, documents: &[Document], or_regex: bool) -> Bson {
        loop {
            let mut value = match self.below(2) {
                0 => self.value(2),
                _ => {
                    let document = &documents[self.below(documents.len())];
                    let name = self.pick(&NAMES);
                    document.get(name).cloned().unwrap_or(Bson::Null)
                }
            };
            // Often one of those within.
            while self.below(2) == 0 {
                let inner: Vec<&Bson> = match &value {
                    Bson::Array(array) => array.iter().collect(),
                    Bson::Document(document) => document.values().collect(),
                    _ => break,
                };
                match inner.is_empty() {
                    true => break,
                    false => value = inner[self.below(inner.len())].clone(),
                }
            }
            match value {
                Bson::Undefined => {}
                Bson::RegularExpression(_) if !or_regex => {}
                value => return value,
            }
        }
    }

    fn operands(&mut self, documents: &[Document]) -> Bson {
        let count = self.below(4);
        Bson::Array((0..count).map(|_| self.operand(documents, true)).collect())
    }

    fn operators(&mut self, documents: &[Document], depth: usize) -> Document {
        let mut operators = Document::new();
        for _ in 0..[1, 1, 2][self.below(3)] {
            self.operator(documents, depth, &mut operators);
        }
        operators
    }

    fn operator(&mut self, documents: &[Document], depth: usize, into: &mut Document) {
        let mut add = |name: &str, value: Bson| {
            into.insert(name, value);
        };
        match self.below(if depth == 0 { 14 } else { 18 }) {
            0 => add("$eq", self.operand(documents, true)),
            1 => add("$ne", self.operand(documents, false)),
            2..=5 => {
                let name = self.pick(&["$gt", "$gte", "$lt", "$lte"]);
                add(name, self.operand(documents, false));
            }
            6 => add("$in", self.operands(documents)),
            7 => add("$nin", self.operands(documents)),
            8 => add(
                "$exists",
                [bson!(true), bson!(false), bson!(0), bson!(1.5)][self.below(4)].clone(),
            ),
            9 => add("$type", self.types()),
            10 => add("$size", Bson::Int32(self.below(4) as i32)),
            11 => {
                let (divisor, remainder) = ([1, 2, -2, 3][self.below(4)], self.below(2) as i32);
                add("$mod", bson!([divisor, remainder]));
            }
            12 => {
                let (pattern, options) = PATTERNS[self.below(PATTERNS.len())];
                add("$regex", pattern.into());
                add("$options", options.into());
            }
            13 => {
                let name = self.pick(&[
                    "$bitsAllSet",
                    "$bitsAllClear",
                    "$bitsAnySet",
                    "$bitsAnyClear",
                ]);
                let what = match self.below(3) {
                    0 => bson!([self.below(4) as i32, self.below(70) as i32]),
                    1 => bson!(self.below(4) as i64),
                    _ => self.binary(),
                };
                add(name, what);
            }
            14 => add("$all", self.operands(documents)),
            15 => add("$not", self.operators(documents, depth - 1).into()),
            16 => add("$elemMatch", self.operators(documents, depth - 1).into()),
            _ => {
                // The elements' fields have other names than the documents'.
                let condition = self.operators(documents, depth - 1);
                let name = self.pick(&INNER);
                add("$elemMatch", doc! {name: condition}.into());
            }
        }
    }

    fn types(&mut self) -> Bson {
        let names = [
            "number",
            "double",
            "string",
            "object",
            "array",
            "binData",
            "objectId",
            "bool",
            "date",
            "null",
            "regex",
            "javascript",
            "symbol",
            "int",
            "timestamp",
            "long",
            "decimal",
            "minKey",
            "maxKey",
        ];
        match self.below(3) {
            0 => Bson::Int32(1 + self.below(19) as i32),
            1 => self.pick(&names).into(),
            _ => bson!([self.pick(&names), 4, 2]),
        }
    }
}
