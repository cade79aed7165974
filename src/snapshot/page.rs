//! The queries that read a range of `_id`s page by page, whatever their types.
//!
//! A comparison in a query sees only values of its own type's bracket (MongoDB's manual, *Comparison/Sort Order*), so a
//! page that ends in one bracket is followed by those of the later ones, by type.

use super::progress::{Bounds, is_short};
use bson::spec::ElementType;
use bson::{Bson, Document, doc};

/// The brackets in the order in which MongoDB sorts values, each by the names and numbers of its types.
const BRACKETS: [&[i32]; 17] = [
    &[-1],            // MinKey
    &[6],             // undefined
    &[10],            // null
    &[1, 16, 18, 19], // double, int, long, decimal
    &[2, 14],         // string, symbol
    &[3],             // object
    &[4],             // array
    &[5],             // binary
    &[7],             // ObjectId
    &[8],             // bool
    &[9],             // date
    &[17],            // timestamp
    &[11],            // regular expression
    &[12],            // DBPointer
    &[13],            // code
    &[15],            // code with scope
    &[127],           // MaxKey
];

/// The place of a value's bracket.
fn bracket_of(value: &Bson) -> usize {
    let number = match value.element_type() {
        ElementType::MinKey => -1,
        ElementType::MaxKey => 127,
        kind => i32::from(kind as u8),
    };
    let place = BRACKETS.iter().position(|types| types.contains(&number));
    place.unwrap_or(BRACKETS.len() - 1)
}

/// Whether it is the number that sorts before all others and is neither greater nor less than any.
fn is_nan(value: &Bson) -> bool {
    match value {
        Bson::Double(number) => number.is_nan(),
        // The five bits behind the sign: all are set for NaN alone, quiet or not.
        Bson::Decimal128(number) => number.bytes()[15] & 0x7c == 0x7c,
        _ => false,
    }
}

/// Whether a value can be the bound of a range that a collection is divided into: nothing is greater or less than NaN,
/// and everything than the ends; the server compares nothing with undefined or a regular expression; and bounds are
/// stored with each checkpoint.
fn can_bound(value: &Bson) -> bool {
    let is_an_end = matches!(value, Bson::MinKey | Bson::MaxKey);
    let is_comparable = !matches!(value, Bson::Undefined | Bson::RegularExpression(_));
    !is_an_end && is_comparable && !is_nan(value) && is_short(value)
}

/// So many ids are asked for at once.
const IDS: usize = 1000;

/// Where a range is being read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    bounds: Bounds,
    step: Step,
    /// How many of a list of ids are asked for next.
    take: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// From the beginning, or a list of ids.
    First,
    /// Behind this value, within its bracket.
    Behind(Bson),
    /// All brackets behind this one.
    Later(usize),
    Over,
}

impl Place {
    pub(super) fn of(bounds: Bounds) -> Self {
        let step = match &bounds {
            Bounds::Between {
                after: Some(after), ..
            } => Step::behind(after.clone()),
            Bounds::Between { .. } | Bounds::Ids(_) => Step::First,
        };
        Self {
            bounds,
            step,
            take: IDS,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.step == Step::Over
    }

    /// Nothing is left of the range.
    pub(super) fn end(&mut self) {
        self.step = Step::Over;
    }

    /// Whether what the next query matches is all that is left of the range.
    pub(super) fn is_before_all(&self) -> bool {
        matches!(self.bounds, Bounds::Between { .. })
            && matches!(self.step, Step::First | Step::Later(_))
    }

    /// Whether a page has as many rows as it is given ids.
    pub(super) fn is_of_ids(&self) -> bool {
        matches!(self.bounds, Bounds::Ids(_))
    }

    fn until(&self) -> Option<&Bson> {
        match &self.bounds {
            Bounds::Between { until, .. } => until.as_ref(),
            Bounds::Ids(_) => None,
        }
    }

    /// What the `_id`s of the next page match. With `with_last` the last row comes again: of several shards, each may
    /// have a document of its `_id`.
    pub(super) fn condition(&self, with_last: bool) -> Document {
        match (&self.bounds, &self.step) {
            (Bounds::Ids(ids), _) => {
                let ids = &ids[..self.take.min(ids.len())];
                doc! {"_id": {"$in": ids.to_vec()}}
            }
            (_, Step::First) => self.later(None),
            (_, Step::Behind(value)) if is_nan(value) => {
                let mut of_id = doc! {"$gte": f64::NEG_INFINITY};
                self.close(&mut of_id, value);
                doc! {"_id": of_id}
            }
            (_, Step::Behind(value)) => {
                let operator = if with_last { "$gte" } else { "$gt" };
                let mut of_id = doc! {operator: value.clone()};
                self.close(&mut of_id, value);
                doc! {"_id": of_id}
            }
            (_, Step::Later(bracket)) => self.later(Some(*bracket)),
            (_, Step::Over) => doc! {"_id": {"$in": []}},
        }
    }

    /// Adds the upper bound where it is in the bracket of `value`.
    fn close(&self, of_id: &mut Document, value: &Bson) {
        if let Some(until) = self.until()
            && bracket_of(until) == bracket_of(value)
        {
            of_id.insert("$lte", until.clone());
        }
    }

    /// What lies in the brackets behind this one.
    fn later(&self, bracket: Option<usize>) -> Document {
        let from = bracket.map_or(0, |bracket| bracket + 1);
        let types = |upto: usize| -> Vec<i32> {
            let brackets = BRACKETS.get(from..upto).unwrap_or_default();
            brackets.iter().copied().flatten().copied().collect()
        };
        match self.until() {
            None if from == 0 => doc! {},
            None => doc! {"_id": {"$type": types(BRACKETS.len())}},
            Some(until) => {
                let at = bracket_of(until);
                let mut either = Vec::new();
                let before = types(at);
                if !before.is_empty() {
                    either.push(doc! {"_id": {"$type": before}});
                }
                if at == bracket_of(&Bson::Int32(0)) {
                    // Not less than any bound, though it sorts before all of them.
                    either.push(doc! {"_id": f64::NAN});
                }
                let within = doc! {"_id": {"$lte": until.clone()}};
                match either.is_empty() {
                    true => within,
                    false => {
                        either.push(within);
                        doc! {"$or": either}
                    }
                }
            }
        }
    }

    /// Moves behind a page: `last` is the last `_id` in it, and `is_short` whether the server had no more.
    pub(super) fn advance(&mut self, last: Option<Bson>, is_short: bool) {
        if let Bounds::Ids(ids) = &mut self.bounds {
            if is_short {
                ids.drain(..self.take.min(ids.len()));
            } else {
                // So many do not fit into one reply.
                self.take = (self.take.min(ids.len()) / 2).max(1);
            }
            if ids.is_empty() {
                self.step = Step::Over;
            }
            return;
        }
        let until = self.until().map(bracket_of);
        self.step = match (&self.step, is_short) {
            (Step::Over, _) => Step::Over,
            (step, false) => match last {
                Some(last) => Step::behind(last),
                None => step.clone(),
            },
            (Step::Behind(value), true) => {
                let bracket = bracket_of(value);
                let is_last = until.unwrap_or(BRACKETS.len() - 1) <= bracket;
                if is_last {
                    Step::Over
                } else {
                    Step::Later(bracket)
                }
            }
            // All that was left was asked for.
            (Step::First | Step::Later(_), true) => Step::Over,
        };
    }
}

impl Step {
    fn behind(value: Bson) -> Self {
        match value {
            // Greater than these is everything, and nothing; and undefined is no operand.
            Bson::MinKey | Bson::Undefined => Self::Later(bracket_of(&value)),
            Bson::MaxKey => Self::Over,
            value => Self::Behind(value),
        }
    }
}

/// The bounds of the ranges that a sorted sample divides a collection into.
pub(super) fn split(sample: &[Bson], ranges: usize) -> Vec<Bounds> {
    let mut bounds = Vec::new();
    let mut after: Option<Bson> = None;
    for number in 1..ranges {
        let Some(until) = sample.get(number * sample.len() / ranges) else {
            break;
        };
        if !can_bound(until) || after.as_ref() == Some(until) {
            continue;
        }
        let until = Some(until.clone());
        bounds.push(Bounds::Between {
            after: after.take(),
            until: until.clone(),
        });
        after = until;
    }
    bounds.push(Bounds::Between { after, until: None });
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(after: Option<Bson>, until: Option<Bson>) -> Place {
        Place::of(Bounds::Between { after, until })
    }

    #[test]
    fn a_collection_of_one_page_takes_one_query() {
        let mut place = between(None, None);
        assert_eq!(place.condition(false), doc! {});
        place.advance(Some(3.into()), true);
        assert!(place.is_over());
    }

    #[test]
    fn a_longer_one_is_read_through_the_bracket_of_its_last_row_and_then_the_later_ones() {
        let mut place = between(None, None);
        place.advance(Some("m".into()), false);
        assert_eq!(place.condition(false), doc! {"_id": {"$gt": "m"}});
        assert_eq!(place.condition(true), doc! {"_id": {"$gte": "m"}});
        place.advance(Some("z".into()), true);
        let later = place.condition(false);
        let types = later
            .get_document("_id")
            .unwrap()
            .get_array("$type")
            .unwrap();
        assert!(
            types.contains(&7.into()) && !types.contains(&2.into()) && !types.contains(&1.into())
        );
        place.advance(Some(true.into()), false);
        assert_eq!(place.condition(false), doc! {"_id": {"$gt": true}});
        place.advance(None, true);
        place.advance(None, true);
        assert!(place.is_over());
    }

    #[test]
    fn a_range_ends_at_its_bound_in_whichever_bracket() {
        let mut place = between(None, Some(5.into()));
        let first = place.condition(false);
        let either = first.get_array("$or").unwrap();
        let nan = either[1].as_document().unwrap();
        assert!(nan.get_f64("_id").unwrap().is_nan(), "{first}");
        assert_eq!(either[2].as_document().unwrap(), &doc! {"_id": {"$lte": 5}});
        place.advance(Some(2.into()), false);
        assert_eq!(place.condition(false), doc! {"_id": {"$gt": 2, "$lte": 5}});
        place.advance(Some(5.into()), true);
        assert!(place.is_over());
        // From numbers to strings.
        let mut place = between(Some(5.into()), Some("b".into()));
        assert_eq!(place.condition(false), doc! {"_id": {"$gt": 5}});
        place.advance(None, true);
        assert_eq!(place.condition(false), doc! {"_id": {"$lte": "b"}});
        place.advance(None, true);
        assert!(place.is_over());
    }

    /// The server compares each of these with its own type only.
    #[test]
    fn pointers_and_code_are_followed_by_code_with_scope() {
        let code = Bson::JavaScriptCode("f".into());
        let mut place = between(None, None);
        place.advance(Some(code.clone()), false);
        assert_eq!(place.condition(false), doc! {"_id": {"$gt": code}});
        place.advance(None, true);
        assert_eq!(place.condition(false), doc! {"_id": {"$type": [15, 127]}});
    }

    #[test]
    fn nan_and_the_ends_of_all_values_have_their_place() {
        let mut place = between(None, None);
        let numbers = doc! {"_id": {"$gte": f64::NEG_INFINITY}};
        for nan in ["NaN", "-NaN", "sNaN"] {
            let mut decimal = "NaN".parse::<bson::Decimal128>().unwrap().bytes();
            match nan {
                "-NaN" => decimal[15] |= 0x80,
                "sNaN" => decimal[15] |= 0x02,
                _ => {}
            }
            place.advance(Some(bson::Decimal128::from_bytes(decimal).into()), false);
            assert_eq!(place.condition(false), numbers, "{nan}");
        }
        place.advance(Some(f64::NAN.into()), false);
        assert_eq!(place.condition(false), numbers);
        place.advance(Some(f64::NEG_INFINITY.into()), false);
        assert_eq!(
            place.condition(false),
            doc! {"_id": {"$gt": f64::NEG_INFINITY}}
        );
        place.advance(Some(Bson::MinKey), false);
        let later = place.condition(false);
        let types = later
            .get_document("_id")
            .unwrap()
            .get_array("$type")
            .unwrap();
        assert!(types.contains(&10.into()) && !types.contains(&(-1).into()));
        place.advance(Some(Bson::MaxKey), false);
        assert!(place.is_over());
    }

    #[test]
    fn ids_that_do_not_fit_into_a_reply_are_asked_for_in_smaller_numbers() {
        let ids: Vec<Bson> = (0..1500).map(Bson::from).collect();
        let mut place = Place::of(Bounds::Ids(ids));
        let asked = |place: &Place| {
            let condition = place.condition(false);
            let of_id = condition.get_document("_id").unwrap();
            of_id.get_array("$in").unwrap().len()
        };
        assert_eq!(asked(&place), 1000);
        place.advance(None, false);
        assert_eq!(asked(&place), 500);
        for left in [500, 500, 0] {
            place.advance(None, true);
            assert_eq!(asked(&place), left);
        }
        assert!(place.is_over());
    }

    #[test]
    fn the_ranges_of_a_sample_cover_everything_once() {
        let sample: Vec<Bson> = (0..40).map(Bson::from).collect();
        let ranges = split(&sample, 4);
        let expected = [
            (None, Some(10)),
            (Some(10), Some(20)),
            (Some(20), Some(30)),
            (Some(30), None),
        ];
        let expected = expected.map(|(after, until)| Bounds::Between {
            after: after.map(Bson::from),
            until: until.map(Bson::from),
        });
        assert_eq!(ranges, expected);
        assert_eq!(split(&[], 4), [Bounds::ALL]);
        let long = "x".repeat(20_000);
        for useless in [f64::NAN.into(), Bson::MinKey, long.into()] {
            assert_eq!(split(&[useless], 2), [Bounds::ALL]);
        }
        let same = vec![Bson::from(1); 8];
        assert_eq!(split(&same, 4).len(), 2);
    }
}
