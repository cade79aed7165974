//! Names with `*`: the same pattern for the server (a regular expression) and for this process.
//!
//! `*` stands for any run of characters and everything else for itself. Glob crates know more
//! (`?`, `[…]`, `{…}`, `**/`), and all of that may occur in the name of a collection.

use bson::{Bson, Regex};

/// A name that may hold `*`. Two spellings of one pattern are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(String);

impl Pattern {
    pub fn new(text: &str) -> Self {
        let mut pattern = String::with_capacity(text.len());
        for c in text.chars() {
            // `**` says no more than `*`, and matching it would only take longer.
            if c != '*' || !pattern.ends_with('*') {
                pattern.push(c);
            }
        }
        Self(pattern)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one name and no pattern.
    pub fn is_literal(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether it is `*`.
    pub fn is_any(&self) -> bool {
        self.0 == "*"
    }

    /// Whether the whole of `name` fits.
    pub fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut name) = (self.0.as_bytes(), name.as_bytes());
        // Where to continue when a guess of how much the last `*` takes turns out wrong.
        let mut retry: Option<(&[u8], &[u8])> = None;
        loop {
            match (pattern.split_first(), name.split_first()) {
                (Some((b'*', rest)), _) => {
                    retry = Some((rest, name));
                    pattern = rest;
                }
                (Some((p, rest)), Some((n, tail))) if p == n => (pattern, name) = (rest, tail),
                (None, None) => return true,
                _ => match retry {
                    Some((after, [_, tail @ ..])) => {
                        (pattern, name) = (after, tail);
                        retry = Some((after, tail));
                    }
                    _ => return false,
                },
            }
        }
    }

    /// The value that matches the same names in an `$in` or `$nin` of the server.
    /// `None` for a pattern with a zero character, which no name can hold.
    pub fn to_bson(&self) -> Option<Bson> {
        if self.is_literal() {
            return Some(Bson::String(self.0.clone()));
        }
        let mut regex = String::from("^");
        for c in self.0.chars() {
            match c {
                '*' => regex.push_str(".*"),
                _ => {
                    if SPECIAL.contains(c) {
                        regex.push('\\');
                    }
                    regex.push(c);
                }
            }
        }
        // `$` would also match before a newline that ends the name, and `.` no newline without `s`.
        regex.push_str("\\z");
        anchored(regex)
    }
}

const SPECIAL: &str = r"\^$.|?*+()[]{}-#/";

fn anchored(pattern: String) -> Option<Bson> {
    Some(Bson::RegularExpression(Regex {
        pattern: pattern.try_into().ok()?,
        options: bson::raw::cstr!("s").into(),
    }))
}

/// `^system\.`: what the server keeps for itself.
pub(super) fn system() -> Bson {
    Bson::RegularExpression(Regex {
        pattern: bson::raw::cstr!("^system\\.").into(),
        options: bson::raw::cstr!("").into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_takes_any_run_and_the_rest_stands_for_itself() {
        let fits = |pattern: &str, name: &str| Pattern::new(pattern).matches(name);
        assert!(fits("users", "users") && !fits("users", "users2") && !fits("users", "user"));
        assert!(fits("*", "") && fits("*", "a\nb"));
        assert!(fits("log_*", "log_") && fits("log_*", "log_2024") && !fits("log_*", "blog_2024"));
        assert!(fits("*.archive", "orders.archive") && !fits("*.archive", "orders.archived"));
        assert!(fits("a*b*c", "a_b_b_c") && !fits("a*b*c", "a_c_b"));
        assert!(fits("a?[x]{y}", "a?[x]{y}") && !fits("a?", "ab"));
        assert!(fits("**/a", "x/a") && !fits("**/a", "a"));
        assert!(fits("*ü", "grün_ü") && !fits("*ü", "u"));
    }

    #[test]
    fn two_spellings_of_one_pattern_are_equal() {
        assert_eq!(Pattern::new("a***b**"), Pattern::new("a*b*"));
        assert!(Pattern::new("**").is_any());
    }

    #[test]
    fn the_servers_regex_is_anchored_and_quotes_what_has_a_meaning() {
        let Some(Bson::RegularExpression(regex)) = Pattern::new("a.b(c)*$\\").to_bson() else {
            panic!("a pattern is a regex");
        };
        assert_eq!(regex.pattern.as_str(), r"^a\.b\(c\).*\$\\\z");
        assert_eq!(
            Pattern::new("a.b").to_bson(),
            Some(Bson::String("a.b".into()))
        );
    }

    /// Matching by the book: tries every length for each `*`.
    fn slow(pattern: &[char], name: &[char]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some(('*', rest)) => (0..=name.len()).any(|taken| slow(rest, &name[taken..])),
            Some((c, rest)) => name.first() == Some(c) && slow(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_trying_everything(pattern in "[ab*ü]{0,8}", name in "[abü]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = slow(&chars(&pattern), &chars(&name));
            prop_assert_eq!(Pattern::new(&pattern).matches(&name), expected);
        }
    }
}
