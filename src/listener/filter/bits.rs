//! `$bitsAllSet`, `$bitsAllClear`, `$bitsAnySet`, `$bitsAnyClear`.

use super::number::Number;
use crate::change::raw::Element;
use bson::spec::ElementType;

/// Which bits are looked at, and what they must be.
#[derive(Debug)]
pub(super) struct Bits {
    pub(super) of: Of,
    pub(super) are: bool,
    /// From the lowest bit, 0; in a binary value from the lowest bit of its first byte.
    pub(super) positions: Box<[u32]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    All,
    Any,
}

impl Bits {
    /// What is neither a whole number of 64 bits nor binary has no bits.
    pub(super) fn accept(&self, value: &Element<'_>) -> bool {
        if value.kind == ElementType::Binary {
            // Length and subtype come before the bytes.
            let bytes = value.value.get(5..).unwrap_or_default();
            return self.hold(|position| {
                let byte = bytes.get(position as usize / 8);
                byte.is_some_and(|byte| byte >> (position % 8) & 1 == 1)
            });
        }
        match Number::of(value).and_then(Number::whole) {
            // Above the highest bit the sign continues.
            Some(int) => self.hold(|position| int >> position.min(63) & 1 == 1),
            None => false,
        }
    }

    fn hold(&self, is_set: impl Fn(u32) -> bool) -> bool {
        let mut positions = self.positions.iter();
        match self.of {
            Of::All => positions.all(|position| is_set(*position) == self.are),
            Of::Any => positions.any(|position| is_set(*position) == self.are),
        }
    }
}
