//! JSON looked at in place: what a record's value holds, without reading all of it into values.

/// The members of an object, in order: the name as it is written, without its quotes, and the text of the value.
/// Ends early where the text is no JSON.
pub fn members(object: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut text = Text {
        text: object,
        at: 0,
    };
    let mut is_open = text.take(b'{');
    std::iter::from_fn(move || {
        if !is_open || text.take(b'}') {
            is_open = false;
            return None;
        }
        text.take(b',');
        let name = text.value()?;
        let name = name.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        text.take(b':').then_some(())?;
        Some((name, text.value()?))
    })
}

/// The elements of an array, in order.
pub fn elements(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut text = Text { text: array, at: 0 };
    let mut is_open = text.take(b'[');
    std::iter::from_fn(move || {
        if !is_open || text.take(b']') {
            is_open = false;
            return None;
        }
        text.take(b',');
        text.value()
    })
}

/// The value of the first member of this name.
pub fn member<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut all = members(object);
    all.find(|(other, _)| *other == name.as_bytes())
        .map(|(_, value)| value)
}

struct Text<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Text<'a> {
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_it = self.peek() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    /// The text of the next value.
    fn value(&mut self) -> Option<&'a [u8]> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => self.string()?,
            b'{' | b'[' => self.nested()?,
            b'}' | b']' | b',' | b':' => return None,
            _ => {
                let rest = &self.text[start..];
                let ends =
                    |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
            }
        }
        Some(&self.text[start..self.at])
    }

    /// Moves behind the string that begins here.
    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            let rest = self.text.get(self.at..)?;
            let found = memchr::memchr2(b'"', b'\\', rest)?;
            self.at += found + 1;
            if rest[found] == b'"' {
                return Some(());
            }
            self.at += 1;
        }
    }

    /// Moves behind the object or array that begins here.
    fn nested(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.text.get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,9}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("\\PC{0,5}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn members_and_elements_are_those_that_a_parser_finds(value in value(), is_pretty: bool) {
            let text = if is_pretty { format!("{value:#}") } else { value.to_string() };
            let read = |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap();
            match &value {
                Value::Object(map) => {
                    let found: Vec<_> = members(text.as_bytes()).map(|(_, value)| read(value)).collect();
                    prop_assert_eq!(found, map.values().cloned().collect::<Vec<_>>());
                }
                Value::Array(list) => {
                    let found: Vec<_> = elements(text.as_bytes()).map(read).collect();
                    prop_assert_eq!(&found, list);
                }
                _ => {}
            }
        }

        #[test]
        fn what_is_no_json_ends_without_a_panic(text in "[{}\\[\\]\",:\\\\a1 ]{0,30}") {
            members(text.as_bytes()).for_each(drop);
            elements(text.as_bytes()).for_each(drop);
        }
    }

    #[test]
    fn a_member_is_found_by_its_name() {
        let text = br#"{"a\"b":"}","c":[1,{"d":"]"}],"d":-1.5e3}"#;
        assert_eq!(member(text, "d"), Some(&b"-1.5e3"[..]));
        assert_eq!(member(text, "c"), Some(&br#"[1,{"d":"]"}]"#[..]));
        assert_eq!(member(text, "b"), None);
    }
}
