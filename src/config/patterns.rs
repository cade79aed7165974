//! Name lists with `*`: what can be seen of them without a server.

/// Whether every name that `inner` matches is matched by `outer`. `*` stands for any run of
/// characters; everything else, `?` and `[` too, for itself.
///
/// Matching `inner` as if it were a name is enough: its `*` can only be met by a `*` of `outer`.
pub fn covers(outer: &str, inner: &str) -> bool {
    let mut parts = outer.split('*');
    let Some(mut rest) = inner.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether there may be a name that both patterns match.
pub(super) fn may_meet(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    // meets[j]: whether what is left of `one` and `other[j..]` have a name in common; from the end.
    let rest_is_any = |rest: &[u8]| rest.iter().all(|byte| *byte == b'*');
    let mut meets: Vec<bool> = (0..=other.len())
        .map(|j| rest_is_any(&other[j..]))
        .collect();
    for i in (0..one.len()).rev() {
        let after = meets.clone();
        meets[other.len()] = rest_is_any(&one[i..]);
        for j in (0..other.len()).rev() {
            meets[j] = match (one[i], other[j]) {
                (b'*', _) | (_, b'*') => after[j] || meets[j + 1],
                (ours, theirs) => ours == theirs && after[j + 1],
            };
        }
    }
    meets[0]
}

/// Whether `pattern` is one name and no glob.
pub(super) fn is_literal(pattern: &str) -> bool {
    !pattern.contains('*')
}

/// What is wrong with the name of a database, if anything.
pub(super) fn database_problem(name: &str) -> Option<&'static str> {
    if name.len() > 63 {
        return Some("a database's name has at most 63 bytes");
    }
    if name.contains(char::is_control) {
        return Some("a database's name holds no control characters");
    }
    if name.contains(['/', '\\', '.', ' ', '"', '$', '\0']) {
        return Some("a database's name holds none of / \\ . \" $ and no space");
    }
    if matches!(name, "admin" | "local" | "config") {
        return Some("MongoDB's own databases cannot be watched");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{covers, may_meet};

    #[test]
    fn a_glob_covers_names_and_narrower_globs() {
        for (outer, inner) in [
            ("*", "users"),
            ("*", "a*"),
            ("*", "*"),
            ("user*", "users"),
            ("user*", "users_*"),
            ("*_log", "audit_log"),
            ("a*b*c", "a-b-b-c"),
            ("a*b*c", "abc"),
            ("a**", "a"),
            ("?", "?"),
            ("[x]", "[x]"),
            ("ét*", "été*"),
        ] {
            assert!(covers(outer, inner), "{outer} {inner}");
        }
    }

    #[test]
    fn two_globs_meet_where_one_name_fits_both() {
        for (one, other, meet) in [
            ("shop", "shop", true),
            ("shop", "shops", false),
            ("work_*", "work_1", true),
            ("work_*", "*_1", true),
            ("a*b", "*c", false),
            ("a*", "b*", false),
            ("*", "", true),
            ("**", "*", true),
            ("a*c*e", "ab*de", true),
            ("a*c", "ab*d", false),
        ] {
            assert_eq!(may_meet(one, other), meet, "{one} {other}");
            assert_eq!(may_meet(other, one), meet, "{other} {one}");
        }
    }

    #[test]
    fn a_glob_covers_no_more_than_it_matches() {
        for (outer, inner) in [
            ("users", "user"),
            ("user*", "use*"),
            ("user", "user*"),
            ("a*b*c", "acb"),
            ("ab*ba", "aba"),
            ("?", "a"),
            ("[ab]", "a"),
            ("*.x", "x"),
        ] {
            assert!(!covers(outer, inner), "{outer} {inner}");
        }
    }
}
