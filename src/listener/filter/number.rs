//! BSON's four types of numbers, compared by their exact value.

use crate::change::raw::Element;
use bson::spec::ElementType;
use std::cmp::Ordering;

/// A number of any type; an int32 is an int64.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Int(i64),
    Double(f64),
    Decimal(Decimal),
}

/// A decimal128: `coefficient × 10^exponent`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Decimal {
    Nan,
    Infinity { negative: bool },
    Finite(Finite),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Finite {
    negative: bool,
    /// Below 10^34.
    coefficient: u128,
    exponent: i32,
}

const MAX_COEFFICIENT: u128 = 10_u128.pow(34) - 1;
/// 2^63, the first double above every int64.
const ABOVE_INT: f64 = 9_223_372_036_854_775_808.0;

impl Number {
    /// `None` for what is no number.
    pub(super) fn of(element: &Element<'_>) -> Option<Self> {
        let bytes = element.value;
        Some(match element.kind {
            ElementType::Int32 => {
                Self::Int(i64::from(i32::from_le_bytes(*bytes.first_chunk::<4>()?)))
            }
            ElementType::Int64 => Self::Int(i64::from_le_bytes(*bytes.first_chunk::<8>()?)),
            ElementType::Double => Self::Double(f64::from_le_bytes(*bytes.first_chunk::<8>()?)),
            ElementType::Decimal128 => Self::Decimal(Decimal::read(*bytes.first_chunk::<16>()?)),
            _ => return None,
        })
    }

    pub(super) fn is_nan(self) -> bool {
        match self {
            Self::Int(_) => false,
            Self::Double(double) => double.is_nan(),
            Self::Decimal(decimal) => matches!(decimal, Decimal::Nan),
        }
    }

    /// NaN equals itself and is below every other number, as in MongoDB's order.
    pub(super) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (left, right) if left.is_nan() || right.is_nan() => right.is_nan().cmp(&left.is_nan()),
            (Self::Int(left), Self::Int(right)) => left.cmp(&right),
            (Self::Int(left), Self::Double(right)) => int_with_double(left, right),
            (Self::Double(left), Self::Int(right)) => int_with_double(right, left).reverse(),
            // Neither is NaN.
            (Self::Double(left), Self::Double(right)) => {
                left.partial_cmp(&right).unwrap_or(Ordering::Equal)
            }
            (Self::Double(left), Self::Decimal(right)) => double_with_decimal(left, right),
            (Self::Decimal(left), Self::Double(right)) => {
                double_with_decimal(right, left).reverse()
            }
            (Self::Int(left), Self::Decimal(right)) => Decimal::int(left).compare(right),
            (Self::Decimal(left), Self::Int(right)) => left.compare(Decimal::int(right)),
            (Self::Decimal(left), Self::Decimal(right)) => left.compare(right),
        }
    }

    /// The number without its fraction, if an int64 holds it.
    pub(super) fn truncated(self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(int),
            Self::Double(double) => {
                let whole = double.trunc();
                (-ABOVE_INT..ABOVE_INT)
                    .contains(&whole)
                    .then_some(whole as i64)
            }
            Self::Decimal(Decimal::Finite(finite)) => finite.whole_part().0,
            Self::Decimal(_) => None,
        }
    }

    /// The number, if it has no fraction and an int64 holds it.
    pub(super) fn whole(self) -> Option<i64> {
        let has_fraction = match self {
            Self::Int(_) => false,
            Self::Double(double) => double.fract() != 0.0,
            Self::Decimal(Decimal::Finite(finite)) => finite.whole_part().1,
            Self::Decimal(_) => true,
        };
        self.truncated().filter(|_| !has_fraction)
    }
}

fn int_with_double(int: i64, double: f64) -> Ordering {
    if double >= ABOVE_INT {
        return Ordering::Less;
    }
    if double < -ABOVE_INT {
        return Ordering::Greater;
    }
    let whole = double.trunc();
    // A fraction decides only between numbers that are equal up to it.
    int.cmp(&(whole as i64)).then(match double - whole {
        fraction if fraction > 0.0 => Ordering::Less,
        fraction if fraction < 0.0 => Ordering::Greater,
        _ => Ordering::Equal,
    })
}

impl Decimal {
    /// The binary integer encoding of IEEE 754-2008, as BSON has it. What is no canonical number is zero.
    fn read(bytes: [u8; 16]) -> Self {
        let bits = u128::from_le_bytes(bytes);
        let negative = bits >> 127 == 1;
        match (bits >> 122) & 0b11111 {
            0b11111 => return Self::Nan,
            0b11110 => return Self::Infinity { negative },
            _ => {}
        }
        // With these two bits the coefficient would be above the largest.
        let is_large = (bits >> 125) & 0b11 == 0b11;
        let biased = if is_large { bits >> 111 } else { bits >> 113 };
        let coefficient = bits & ((1 << 113) - 1);
        Self::Finite(Finite {
            negative,
            coefficient: match is_large || coefficient > MAX_COEFFICIENT {
                true => 0,
                false => coefficient,
            },
            exponent: (biased & 0x3fff) as i32 - 6176,
        })
    }

    fn int(int: i64) -> Self {
        Self::Finite(Finite {
            negative: int < 0,
            coefficient: u128::from(int.unsigned_abs()),
            exponent: 0,
        })
    }

    /// -1, 0 or 1; infinities count as ±2. NaN is not asked.
    fn rank(self) -> i32 {
        let (negative, size) = match self {
            Self::Nan => return 0,
            Self::Infinity { negative } => (negative, 2),
            Self::Finite(finite) => (finite.negative, i32::from(finite.coefficient != 0)),
        };
        if negative { -size } else { size }
    }

    fn compare(self, other: Self) -> Ordering {
        let by_rank = self.rank().cmp(&other.rank());
        let (Self::Finite(left), Self::Finite(right)) = (self, other) else {
            return by_rank;
        };
        if by_rank != Ordering::Equal || left.coefficient == 0 {
            return by_rank;
        }
        let sizes = left.compare_size(right);
        if left.negative {
            sizes.reverse()
        } else {
            sizes
        }
    }
}

impl Finite {
    /// The power of ten that is just above its size. Its coefficient is not zero.
    fn magnitude(self) -> i32 {
        self.coefficient.ilog10() as i32 + 1 + self.exponent
    }

    /// Compares without the sign; neither coefficient is zero.
    fn compare_size(self, other: Self) -> Ordering {
        // Of one magnitude, the one with fewer digits has the larger exponent, and filled up with
        // zeros it has as many digits as the other.
        let filled = |value: Self, against: Self| {
            let zeros = (value.exponent - against.exponent).max(0) as u32;
            value.coefficient * 10_u128.pow(zeros)
        };
        self.magnitude()
            .cmp(&other.magnitude())
            .then_with(|| filled(self, other).cmp(&filled(other, self)))
    }

    /// Its whole part, if an int64 holds that, and whether there is a fraction beside.
    fn whole_part(self) -> (Option<i64>, bool) {
        if self.coefficient == 0 {
            return (Some(0), false);
        }
        let size = match u32::try_from(self.exponent) {
            // Larger than any int64, and within u128 up to that.
            Ok(_) if self.magnitude() > 19 => return (None, false),
            Ok(zeros) => (self.coefficient * 10_u128.pow(zeros), false),
            Err(_) if self.magnitude() <= 0 => (0, true),
            Err(_) => {
                let unit = 10_u128.pow(self.exponent.unsigned_abs());
                (
                    self.coefficient / unit,
                    !self.coefficient.is_multiple_of(unit),
                )
            }
        };
        let (size, has_fraction) = size;
        let whole = match self.negative {
            true => i64::try_from(-(size as i128)).ok(),
            false => i64::try_from(size).ok(),
        };
        (whole, has_fraction)
    }
}

/// Neither is NaN.
fn double_with_decimal(double: f64, decimal: Decimal) -> Ordering {
    let rank = match double {
        _ if double == 0.0 => 0,
        _ if double.is_infinite() => 2,
        _ => 1,
    };
    let by_rank = (if double < 0.0 { -rank } else { rank }).cmp(&decimal.rank());
    match decimal {
        Decimal::Finite(finite) if by_rank == Ordering::Equal && rank == 1 => {
            let sizes = size_of_double_with(double.abs(), finite);
            if double < 0.0 { sizes.reverse() } else { sizes }
        }
        _ => by_rank,
    }
}

/// Compares `double > 0` with the size of a decimal that is not zero, exactly: both are multiplied until
/// they are whole.
fn size_of_double_with(double: f64, decimal: Finite) -> Ordering {
    // The range of doubles, from 4.9e-324 to 1.8e308, so that what follows is short enough for `Whole`.
    match decimal.magnitude() {
        ..-323 => return Ordering::Greater,
        310.. => return Ordering::Less,
        _ => {}
    }
    let bits = double.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let (mantissa, exponent) = match (bits >> 52) as i32 {
        0 => (fraction, -1074),
        biased => (fraction | 1 << 52, biased - 1075),
    };
    let mut left = Whole::new(u128::from(mantissa));
    let mut right = Whole::new(decimal.coefficient);
    left.shift(exponent.max(0) as u32);
    right.shift((-exponent).max(0) as u32);
    left.times_ten_to((-decimal.exponent).max(0) as u32);
    right.times_ten_to(decimal.exponent.max(0) as u32);
    left.0.iter().rev().cmp(right.0.iter().rev())
}

/// A whole number, the lowest word first, with room for what a double is multiplied by here: up to
/// 2^1074 × 2^113 × 10^309, or 2^971 × 2^53 × 10^358.
struct Whole([u64; 38]);

impl Whole {
    fn new(value: u128) -> Self {
        let mut words = [0; 38];
        words[0] = value as u64;
        words[1] = (value >> 64) as u64;
        Self(words)
    }

    fn times(&mut self, factor: u64) {
        let mut carry = 0;
        for word in &mut self.0 {
            let product = u128::from(*word) * u128::from(factor) + carry;
            *word = product as u64;
            carry = product >> 64;
        }
        debug_assert_eq!(carry, 0, "longer than there is room");
    }

    fn times_ten_to(&mut self, power: u32) {
        for _ in 0..power / 19 {
            self.times(10_u64.pow(19));
        }
        self.times(10_u64.pow(power % 19));
    }

    fn shift(&mut self, bits: u32) {
        for _ in 0..bits / 63 {
            self.times(1 << 63);
        }
        self.times(1 << (bits % 63));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bson::{Bson, RawDocumentBuf, doc};

    fn number(value: &Bson) -> Number {
        let raw = RawDocumentBuf::try_from(&doc! {"n": value.clone()}).unwrap();
        let element = crate::change::raw::find(raw.as_bytes(), "n").unwrap();
        Number::of(&element.unwrap()).unwrap()
    }

    fn decimal(text: &str) -> Bson {
        Bson::Decimal128(text.parse().unwrap())
    }

    /// Each group's numbers are equal, and below those of the next one.
    fn ascending() -> Vec<Vec<Bson>> {
        let double = Bson::Double;
        vec![
            vec![double(f64::NAN), double(-f64::NAN), decimal("NaN")],
            vec![double(f64::NEG_INFINITY), decimal("-Infinity")],
            vec![decimal("-1E+6000")],
            vec![double(f64::MIN)],
            vec![double(-1e19), decimal("-1E+19")],
            vec![
                Bson::Int64(i64::MIN),
                double(-ABOVE_INT),
                decimal("-9223372036854775808"),
            ],
            vec![Bson::Int64(i64::MIN + 1), decimal("-9223372036854775807")],
            vec![
                Bson::Int32(-2),
                Bson::Int64(-2),
                double(-2.0),
                decimal("-2"),
                decimal("-20E-1"),
            ],
            vec![double(-1.5), decimal("-1.50")],
            vec![Bson::Int32(-1), double(-1.0), decimal("-1")],
            vec![decimal("-1E-6000")],
            vec![
                Bson::Int32(0),
                Bson::Int64(0),
                double(0.0),
                double(-0.0),
                decimal("0"),
                decimal("-0"),
                decimal("0E+6000"),
                decimal("-0E-6000"),
            ],
            vec![decimal("1E-6000")],
            vec![double(f64::from_bits(1))],
            vec![double(f64::MIN_POSITIVE)],
            vec![decimal("0.09999999999999999999999999999999999")],
            vec![decimal("0.1"), decimal("0.10"), decimal("1E-1")],
            vec![decimal("0.1000000000000000055511151231257827")],
            vec![double(0.1)],
            vec![decimal("0.1000000000000000055511151231257828")],
            vec![double(0.5), decimal("0.5")],
            vec![
                Bson::Int32(1),
                double(1.0),
                decimal("1"),
                decimal("1.000000000000000000000000000000000"),
            ],
            vec![decimal("1.000000000000000000000000000000001")],
            vec![double(1.0 + f64::EPSILON)],
            vec![
                Bson::Int64(1 << 53),
                double(9_007_199_254_740_992.0),
                decimal("9007199254740992"),
            ],
            vec![Bson::Int64((1 << 53) + 1), decimal("9007199254740993")],
            vec![decimal("9007199254740993.5")],
            vec![Bson::Int64((1 << 53) + 2), double(9_007_199_254_740_994.0)],
            vec![Bson::Int64(i64::MAX), decimal("9223372036854775807")],
            vec![double(ABOVE_INT), decimal("9223372036854775808")],
            vec![decimal("1E+22"), double(1e22)],
            // The double nearest to 1e23 is below it.
            vec![double(1e23)],
            vec![decimal("1E+23"), decimal("1000E+20")],
            vec![double(f64::MAX)],
            vec![decimal("1.8E+308")],
            vec![decimal("9.999999999999999999999999999999999E+6144")],
            vec![double(f64::INFINITY), decimal("Infinity")],
        ]
    }

    #[test]
    fn numbers_of_all_types_have_one_exact_order() {
        let groups = ascending();
        for (left_at, left_group) in groups.iter().enumerate() {
            for (right_at, right_group) in groups.iter().enumerate() {
                for (left, right) in left_group
                    .iter()
                    .flat_map(|left| right_group.iter().map(move |right| (left, right)))
                {
                    assert_eq!(
                        number(left).compare(number(right)),
                        left_at.cmp(&right_at),
                        "{left} and {right}"
                    );
                }
            }
        }
    }

    #[test]
    fn non_canonical_decimals_are_zero() {
        let read = |bits: u128| Decimal::read(bits.to_le_bytes());
        let large = read(0b11 << 125 | 5);
        let too_many_digits = read(3040 << 113 | (MAX_COEFFICIENT + 1));
        for zero in [large, too_many_digits] {
            assert_eq!(zero.compare(Decimal::int(0)), Ordering::Equal);
        }
    }

    #[test]
    fn whole_and_truncated_know_the_bounds_of_an_int64() {
        let max = Some(i64::MAX);
        for (value, truncated, whole) in [
            (Bson::Double(4.9), Some(4), None),
            (Bson::Double(-4.9), Some(-4), None),
            (Bson::Double(4.0), Some(4), Some(4)),
            (Bson::Double(ABOVE_INT), None, None),
            (Bson::Double(-ABOVE_INT), Some(i64::MIN), Some(i64::MIN)),
            (Bson::Double(f64::NAN), None, None),
            (Bson::Double(f64::INFINITY), None, None),
            (decimal("4.9"), Some(4), None),
            (decimal("-4.9"), Some(-4), None),
            (decimal("40E-1"), Some(4), Some(4)),
            (decimal("4E+1"), Some(40), Some(40)),
            (decimal("9223372036854775807"), max, max),
            (decimal("9223372036854775807.5"), max, None),
            (decimal("9223372036854775808"), None, None),
            (
                decimal("-9223372036854775808"),
                Some(i64::MIN),
                Some(i64::MIN),
            ),
            (decimal("1E+6000"), None, None),
            (decimal("1E-6000"), Some(0), None),
            (decimal("0E+6000"), Some(0), Some(0)),
            (decimal("Infinity"), None, None),
            (decimal("NaN"), None, None),
        ] {
            assert_eq!(number(&value).truncated(), truncated, "{value}");
            assert_eq!(number(&value).whole(), whole, "{value}");
        }
    }
}
