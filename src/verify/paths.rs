//! Where two documents differ: the paths, in the text that records have.

use crate::encode::json::scan;

/// How two values at a path differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Only the first has it.
    OnlyFirst,
    /// Only the second has it.
    OnlySecond,
    Value,
    /// The same number, or the like, of another type.
    Type,
    /// The same fields in another order.
    Order,
}

/// A path at which two documents differ, and the texts of the values there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub path: String,
    pub how: How,
    pub first: Option<String>,
    pub second: Option<String>,
}

/// More are not listed.
pub const MOST: usize = 20;
/// What is nested deeper is compared as a whole.
const DEEPEST: usize = 100;

/// The paths at which two documents differ, at most [`MOST`]; in neither text is white space between the parts.
pub fn differences(first: &[u8], second: &[u8]) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(&mut found, &mut String::new(), first, second, 0);
    found
}

fn compare(
    found: &mut Vec<Difference>,
    path: &mut String,
    first: &[u8],
    second: &[u8],
    depth: usize,
) {
    if first == second || found.len() >= MOST {
        return;
    }
    let are_both = |open: &[u8]| first.starts_with(open) && second.starts_with(open);
    let is_wrapped = wrapper(first).is_some() || wrapper(second).is_some();
    if depth < DEEPEST && are_both(b"{") && !is_wrapped {
        objects(found, path, first, second, depth);
    } else if depth < DEEPEST && are_both(b"[") {
        arrays(found, path, first, second, depth);
    } else {
        let how = match is_other_type(first, second) {
            true => How::Type,
            false => How::Value,
        };
        add(found, path, how, Some(first), Some(second));
    }
}

fn objects(
    found: &mut Vec<Difference>,
    path: &mut String,
    first: &[u8],
    second: &[u8],
    depth: usize,
) {
    let ours: Vec<_> = scan::members(first).collect();
    let mut theirs: Vec<_> = scan::members(second).map(Some).collect();
    let before = found.len();
    let mut is_reordered = false;
    let mut last = None;
    for (name, value) in ours {
        // Of repeated names, the first that is left.
        let at = theirs
            .iter()
            .position(|it| it.is_some_and(|(other, _)| other == name));
        step(path, name, |path| {
            match at.and_then(|at| theirs[at].take()) {
                Some((_, other)) => compare(found, path, value, other, depth + 1),
                None => add(found, path, How::OnlyFirst, Some(value), None),
            }
        });
        is_reordered |= at.is_some() && at < last;
        last = at.max(last);
    }
    for (name, value) in theirs.into_iter().flatten() {
        step(path, name, |path| {
            add(found, path, How::OnlySecond, None, Some(value))
        });
    }
    // Where fields come or go, their order is no matter of its own.
    if is_reordered && found[before..].iter().all(|it| it.how != How::OnlyFirst) {
        add(found, path, How::Order, None, None);
    }
}

fn arrays(
    found: &mut Vec<Difference>,
    path: &mut String,
    first: &[u8],
    second: &[u8],
    depth: usize,
) {
    let (mut ours, mut theirs) = (scan::elements(first), scan::elements(second));
    for index in 0.. {
        let index = index.to_string();
        match (ours.next(), theirs.next()) {
            (None, None) => break,
            (Some(a), Some(b)) => {
                step(path, index.as_bytes(), |path| {
                    compare(found, path, a, b, depth + 1)
                });
            }
            (a, b) => {
                let how = match a {
                    Some(_) => How::OnlyFirst,
                    None => How::OnlySecond,
                };
                step(path, index.as_bytes(), |path| add(found, path, how, a, b));
            }
        }
    }
}

fn step(path: &mut String, name: &[u8], inside: impl FnOnce(&mut String)) {
    let len = path.len();
    if len > 0 {
        path.push('.');
    }
    path.push_str(&String::from_utf8_lossy(name));
    inside(path);
    path.truncate(len);
}

fn add(
    found: &mut Vec<Difference>,
    path: &str,
    how: How,
    first: Option<&[u8]>,
    second: Option<&[u8]>,
) {
    let text = |value: Option<&[u8]>| value.map(|it| String::from_utf8_lossy(it).into_owned());
    if found.len() < MOST {
        found.push(Difference {
            path: path.to_owned(),
            how,
            first: text(first),
            second: text(second),
        });
    }
}

/// The name and the value of an object that stands for a value of a type, as `{"$numberLong":"7"}`.
fn wrapper(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (name, value) = scan::members(value).next()?;
    name.starts_with(b"$").then_some((name, value))
}

/// Whether two values are the same but for their type, as far as the text shows it: an int64 and a double of one
/// value, a number and a string of its digits.
fn is_other_type(first: &[u8], second: &[u8]) -> bool {
    let bare = |value: &[u8]| -> Option<String> {
        let value = wrapper(value).map_or(value, |(_, inner)| inner);
        let text = std::str::from_utf8(value).ok()?.trim_matches('"');
        Some(match text.parse::<f64>() {
            Ok(number) => number.to_string(),
            Err(_) => text.to_owned(),
        })
    };
    let name = |value| wrapper(value).map(|(name, _)| name.to_vec());
    let is_text = |value: &[u8]| value.starts_with(b"\"");
    let have_types = name(first) != name(second) || is_text(first) != is_text(second);
    have_types && bare(first).is_some() && bare(first) == bare(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(first: &str, second: &str) -> Vec<(String, How)> {
        let found = differences(first.as_bytes(), second.as_bytes());
        found.into_iter().map(|it| (it.path, it.how)).collect()
    }

    fn path(path: &str, how: How) -> (String, How) {
        (path.to_owned(), how)
    }

    #[test]
    fn each_path_that_differs_is_named_and_no_other() {
        let first = r#"{"_id":1,"a":{"b":[1,{"c":"x"}]},"d":1,"e":null}"#;
        let second = r#"{"_id":1,"a":{"b":[1,{"c":"y"},3]},"e":null,"f":2}"#;
        assert_eq!(
            paths(first, second),
            [
                path("a.b.1.c", How::Value),
                path("a.b.2", How::OnlySecond),
                path("d", How::OnlyFirst),
                path("f", How::OnlySecond),
            ]
        );
        assert!(paths(first, first).is_empty());
    }

    #[test]
    fn a_type_is_told_from_a_value() {
        let of = |value: &str| format!(r#"{{"n":{value}}}"#);
        let long = of(r#"{"$numberLong":"7"}"#);
        assert_eq!(
            paths(&long, &of(r#"{"$numberDouble":"7.0"}"#)),
            [path("n", How::Type)]
        );
        assert_eq!(
            paths(&long, &of(r#"{"$numberLong":"8"}"#)),
            [path("n", How::Value)]
        );
        assert_eq!(paths(&of("7"), &of("\"7\"")), [path("n", How::Type)]);
        assert_eq!(paths(&of("0.0"), &of("-0.0")), [path("n", How::Value)]);
    }

    #[test]
    fn the_order_of_fields_is_a_difference_of_its_own() {
        assert_eq!(
            paths(r#"{"o":{"a":1,"b":2}}"#, r#"{"o":{"b":2,"a":1}}"#),
            [path("o", How::Order)]
        );
        // A field that is not there moves no other.
        assert_eq!(
            paths(r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
            [path("a", How::OnlyFirst)]
        );
    }

    #[test]
    fn what_is_no_json_ends_without_a_panic() {
        differences(b"{", b"}");
        differences(b"[1", b"[1,");
    }
}
