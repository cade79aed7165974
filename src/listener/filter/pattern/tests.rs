//! Each expectation is what PCRE2 answers with the options that MongoDB sets.

use super::*;
use bson::{RawDocumentBuf, doc};

fn is_found(pattern: &str, options: &str, text: &str) -> bool {
    let compiled = Pattern::new(pattern, options);
    let compiled = compiled.unwrap_or_else(|problem| panic!("/{pattern}/{options}: {problem}"));
    let raw = RawDocumentBuf::try_from(&doc! {"text": text}).unwrap();
    let text = crate::change::raw::find(raw.as_bytes(), "text").unwrap();
    compiled.accepts(&text.unwrap())
}

#[test]
fn what_both_notations_have_is_found_alike() {
    for (pattern, options, found, not_found) in [
        ("abc", "", &["xabcx"][..], &["ABC", "ab"][..]),
        ("abc", "i", &["xABCx"], &["ab"]),
        ("^ab", "", &["abc"], &["xab", "x\nab"]),
        ("^ab", "m", &["abc", "x\nab"], &["xab"]),
        ("a.c", "", &["abc", "a\rc"], &["a\nc"]),
        ("a.c", "s", &["a\nc"], &["ac"]),
        ("^a|b$", "", &["ax", "xb"], &["xa", "bx"]),
        ("^(ab|c)+$", "", &["abc", "cab"], &["", "abx"]),
        (
            "^a{2,3}?b{2}c{1,}$",
            "",
            &["aabbc", "aaabbcc"],
            &["abbc", "aabbb"],
        ),
        ("^[]a-c]+$", "", &["]ab"], &["d"]),
        ("^[^]a]$", "", &["b", "^"], &["]", "a"]),
        ("^[a-]$", "", &["-", "a"], &["b"]),
        ("^[-a]$", "", &["-", "a"], &["b"]),
        ("^[&&~~[]$", "", &["&", "~", "["], &["]"]),
        (r"^[\x41-\x{43}\]\-]$", "", &["B", "]", "-"], &["D"]),
        (r"^\$\{a\}$", "", &["${a}"], &["a"]),
        (r"a\.b", "", &["a.b"], &["axb"]),
        ("^é.$", "", &["éé"], &["é"]),
        ("É", "i", &["é"], &["e"]),
        ("k", "i", &["\u{212a}"], &["x"]),
        ("a b # c\n d", "x", &["abd"], &["a b d"]),
        ("[ #]", "x", &[" ", "#"], &["a"]),
        ("(?i)abc", "", &["ABC"], &["x"]),
        ("(?im)^abc", "", &["x\nABC"], &["x"]),
        ("(?<name>a)(?P<other>b)(?:c)", "", &["abc"], &["ab"]),
        (r"^\Aab\z", "", &["ab"], &["ab\n"]),
        ("", "", &["", "x"], &[]),
        ("a||b", "", &["x"], &[]),
    ] {
        for text in found {
            assert!(
                is_found(pattern, options, text),
                "/{pattern}/{options} in {text:?}"
            );
        }
        for text in not_found {
            assert!(
                !is_found(pattern, options, text),
                "/{pattern}/{options} in {text:?}"
            );
        }
    }
}

#[test]
fn a_dollar_is_also_before_a_last_newline() {
    for pattern in ["ab$", "(x|ab$)", r"ab\Z"] {
        assert!(is_found(pattern, "", "ab"));
        assert!(is_found(pattern, "", "ab\n"));
        assert!(!is_found(pattern, "", "ab\n\n"));
        assert!(!is_found(pattern, "", "ab\nc"));
    }
    assert!(is_found("ab$", "m", "ab\nc"));
    assert!(is_found("ab$\nc", "m", "ab\nc"));
}

#[test]
fn a_line_does_not_begin_after_a_last_newline() {
    assert!(is_found("^a*b", "m", "x\nb"));
    assert!(is_found("(^|,)b", "m", "x\nb"));
    // In PCRE /^$/m is not found in "a\n", in the crate it is.
    for pattern in ["^", "^$", "^a*", "(^a?)", "(x|^)", "a^"] {
        let problem = Pattern::new(pattern, "m").unwrap_err();
        assert!(problem.contains('^'), "{problem}");
    }
}

#[test]
fn shorthands_and_posix_classes_know_ascii_alone() {
    for (pattern, options, found, not_found) in [
        (r"^\d$", "", "7", "٧"),
        (r"^\D$", "", "٧", "7"),
        (r"^\w$", "", "_", "é"),
        (r"^\W$", "", "é", "a"),
        (r"^\s$", "", "\u{b}", "\u{a0}"),
        (r"^\S$", "", "\u{a0}", " "),
        (r"^\w$", "i", "k", "\u{212a}"),
        (r"^[\w.]$", "i", ".", "\u{17f}"),
        (r"^[k\d]$", "i", "\u{212a}", "x"),
        (r"^[^\d.]$", "i", "x", "1"),
        ("^[[:alpha:]]$", "", "a", "é"),
        ("^[[:^alpha:]]$", "", "é", "a"),
        ("^[[:upper:]]$", "", "A", "a"),
        ("^[[:upper:]]$", "i", "a", "\u{17f}"),
        (r"é\b", "", "éa", "é"),
        (r"a\b", "", "aé", "ab"),
        (r"a\B", "", "ab", "aé"),
    ] {
        assert!(
            is_found(pattern, options, found),
            "/{pattern}/{options} in {found:?}"
        );
        assert!(
            !is_found(pattern, options, not_found),
            "/{pattern}/{options} in {not_found:?}"
        );
    }
}

#[test]
fn what_the_crate_does_not_have_or_means_differently_is_refused_by_name() {
    for (pattern, options, named) in [
        ("(?=a)", "", "look-ahead"),
        ("(?!a)", "", "look-ahead"),
        ("(?<=a)b", "", "look-behind"),
        ("(?<!a)b", "", "look-behind"),
        (r"(a)\1", "", "back-reference"),
        (r"(?<n>a)\k<n>", "", "back-reference"),
        ("(?P=n)", "", "back-reference"),
        ("(?>a)", "", "atomic"),
        ("(?(1)a)", "", "condition"),
        ("(?|a)", "", "branch reset"),
        ("(?#a)", "", "comment"),
        ("a(?R)?", "", "recursion"),
        ("a(?1)", "", "recursion"),
        ("(*UCP)a", "", "verb"),
        ("a(?i)b", "", "beginning"),
        ("(?i:a)", "", "beginning"),
        ("(?U)a", "", "(?U)"),
        ("a*+", "", "possessive"),
        ("a++", "", "possessive"),
        ("a{2}{3}", "", "count"),
        ("^*", "", "assertion"),
        ("*a", "", "nothing before"),
        ("a|*", "", "nothing before"),
        ("a{,3}", "", "\\{"),
        ("a{", "", "\\{"),
        ("a{ 2}", "", "\\{"),
        ("a$b", "", "$"),
        ("(a$)b", "", "$"),
        ("(a|b$)?", "", "$"),
        (r"\pL", "", "Unicode"),
        (r"\R", "", "\\R"),
        (r"\v", "", "\\v"),
        (r"\h", "", "\\h"),
        (r"\Qa\E", "", "\\Q"),
        (r"\012", "", "octal"),
        (r"\x4", "", "\\x"),
        (r"\x{110000}", "", "\\x"),
        (r"a\", "", "\\\\"),
        ("[a", "", "\\["),
        ("[]", "", "\\["),
        ("[z-a]", "", "backwards"),
        (r"[a-\d]", "", "ends with a class"),
        (r"[\d-a]", "", "follows a class"),
        ("[a-c-e]", "", "neither end"),
        ("[[.a.]]", "", "[.….]"),
        ("[[:nothing:]]", "", "[:alpha:]"),
        (r"[^a\d]", "i", "option i"),
        ("(a", "", "\\("),
        ("a)", "", "\\)"),
        ("(?<1a>b)", "", "name of a group"),
        ("a{3,2}", "", "not valid"),
        ("(a{1000}){1000}", "", "too large"),
        ("a", "g", "'g'"),
        ("a\u{2028}b", "x", "option x"),
    ] {
        let Err(problem) = Pattern::new(pattern, options) else {
            panic!("/{pattern}/{options} is not refused");
        };
        assert!(problem.contains(named), "/{pattern}/{options}: {problem}");
    }
}

#[test]
fn a_stored_expression_matches_the_same_one() {
    let raw = |pattern: &str, options: &str| {
        let regex = bson::Regex {
            pattern: pattern.to_owned().try_into().unwrap(),
            options: options.to_owned().try_into().unwrap(),
        };
        RawDocumentBuf::try_from(&doc! {"stored": regex}).unwrap()
    };
    let pattern = Pattern::new("a.b", "i").unwrap();
    let accepts = |stored: &RawDocumentBuf| {
        let stored = crate::change::raw::find(stored.as_bytes(), "stored").unwrap();
        pattern.accepts(&stored.unwrap())
    };
    assert!(accepts(&raw("a.b", "i")));
    assert!(!accepts(&raw("a.b", "")));
    assert!(!accepts(&raw("a.bi", "")));
}
