use super::lines::parse;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The text of a file, and what the Node package `dotenv` (16.6, 17.4 and 18.0) gives for it.
#[rustfmt::skip]
const AS_NODE_READS_IT: &[(&str, &[(&str, &str)])] = &[
    ("A=1\nB=two words\n\n# comment\nC=", &[("A", "1"), ("B", "two words"), ("C", "")]),
    ("export A=1\nexport  B = 2\nexport=3\nexport\nC=4", &[("A", "1"), ("B", "2"), ("export", "3"), ("C", "4")]),
    ("\u{feff}A=1\r\nB=2\rC=3", &[("A", "1"), ("B", "2"), ("C", "3")]),
    ("\tA\t=\t1\t\n  B=2", &[("A", "1"), ("B", "2")]),
    ("A=1\nA=2\nB=1\nB=", &[("A", "2"), ("B", "")]),
    ("A=pa$sw0rd\nB=${A}\nC=\"$A\"\nD='$A'", &[("A", "pa$sw0rd"), ("B", "${A}"), ("C", "$A"), ("D", "$A")]),
    ("A=a#b\nB=a #b\nC=#b\nD='a#b'\nE=\"a # b\" # c\nF=`a#b`", &[("A", "a"), ("B", "a"), ("C", ""), ("D", "a#b"), ("E", "a # b"), ("F", "a#b")]),
    ("A='a\nb'\nB=\"c\n\nd\" # e\nC=`f\ng`", &[("A", "a\nb"), ("B", "c\n\nd"), ("C", "f\ng")]),
    (r#"A="x\ny\rz\\nt\t""#, &[("A", "x\ny\rz\\\nt\\t")]),
    (r"A='x\ny'", &[("A", r"x\ny")]),
    (r"A=x\ny", &[("A", r"x\ny")]),
    (r"A=C:\new\table", &[("A", r"C:\new\table")]),
    (r#"A="C:\new""#, &[("A", "C:\new")]),
    (r#"A="say \"hi\"""#, &[("A", r#"say \"hi\""#)]),
    (r"A='it\'s'", &[("A", r"it\'s")]),
    (r"A='back\'", &[("A", r"back\")]),
    ("A=it's\nB='don't'\nC='x", &[("A", "it's"), ("B", "don't"), ("C", "'x")]),
    ("A='x' y\nB='x' 'y'\nC=\"x\"y\"", &[("A", "'x' y"), ("B", "x' 'y"), ("C", "x\"y")]),
    ("A='hunter\nB=it's", &[("A", "'hunter"), ("B", "it's")]),
    ("A='hunter\nB=x'\nC=1", &[("A", "hunter\nB=x"), ("C", "1")]),
    ("A=Team <a@example.com>\nB={\"a\": [1, \"x\"]}\nC=[{\"$match\":{\"a\":\"b\"}}]", &[("A", "Team <a@example.com>"), ("B", "{\"a\": [1, \"x\"]}"), ("C", "[{\"$match\":{\"a\":\"b\"}}]")]),
    ("A: 1\nB:2\nC:\t'x'\nD:\nnext", &[("A", "1"), ("C", "x"), ("D", "next")]),
    ("A:\n\nB=1", &[("A", ""), ("B", "1")]),
    ("A\n=1\nB =\n'x'\nC=\n\nD=2", &[("A", "1"), ("B", "x"), ("C", ""), ("D", "2")]),
    ("bare\nset A=1\n- B=2\n\"C\": \"3\"\nD=4", &[("D", "4")]),
    ("a.b-c=1\n-=2\n.=3\nÄ=4", &[("a.b-c", "1"), ("-", "2"), (".", "3")]),
    ("A=mongodb://u:p=w@h/d?a=b&c=d", &[("A", "mongodb://u:p=w@h/d?a=b&c=d")]),
    ("A=''\nB=\"\"\nC=' '\nD='", &[("A", ""), ("B", ""), ("C", " "), ("D", "'")]),
    ("A=\u{a0}x\u{a0}\nB=\u{85}y", &[("A", "x"), ("B", "\u{85}y")]),
    ("A==1\nB= =1", &[("A", "=1"), ("B", "=1")]),
    ("#A=1\n #B=2\nC=3#D=4", &[("C", "3")]),
];

fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = parse(text).pairs;
    pairs
        .into_iter()
        .map(|pair| (pair.name, pair.value))
        .collect()
}

#[test]
fn a_file_is_read_as_the_node_package_reads_it() {
    for (text, expected) in AS_NODE_READS_IT {
        let expected: BTreeMap<_, _> = expected
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(pairs(text), expected, "{text:?}");
    }
}

#[test]
fn lines_are_counted_whatever_ends_them_and_however_long_a_value_is() {
    let parsed = parse("A=1\r\n\r\n\"x\"\rB='a\nb\nc'\n# c\nbare\n\n\nC=2");
    let of_pairs: Vec<_> = parsed.pairs.iter().map(|pair| pair.number).collect();
    assert_eq!(of_pairs, [1, 4, 11]);
    let unread: Vec<_> = parsed
        .unread
        .iter()
        .map(|line| (line.number, line.text.as_str()))
        .collect();
    assert_eq!(unread, [(3, "\"x\""), (8, "bare")]);
}

#[test]
fn what_may_be_meant_otherwise_is_noticed() {
    let oddity = |text: &str| parse(text).pairs[0].oddity.is_some();
    for text in ["A=pa#word", "A=#word", "A='x", "A=\"x' # y"] {
        assert!(oddity(text), "{text}");
    }
    for text in [
        "A=pa #word",
        "A= #word",
        "A='pa#word'",
        "A=it's",
        "A='x' # y",
        "A=",
    ] {
        assert!(!oddity(text), "{text}");
    }
}

/// Node's package reads it so without a word, and whoever forgets a quote looks for long.
#[test]
fn a_variable_that_another_ones_quote_swallows_is_warned_of() {
    let within = |text: &str| parse(text).pairs[0].within.clone();
    let named = |number, name: &str| vec![(number, name.to_owned())];
    assert_eq!(within("A='x\nB=y\n'"), named(2, "B"));
    assert_eq!(
        within("\nA =\n\"x\r\n\r\n export B = 1\nC: 1\""),
        named(5, "B")
    );
    assert_eq!(within("A='x\nB='"), named(2, "B"));
    for text in [
        "A='x'\nB=y",
        "A='x\ny'\nB=1",
        "A='x=1\n{\"a\": \"b=c\"}'",
        "A=\"x\nB=y",
    ] {
        assert_eq!(within(text), [], "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(".env");
    std::fs::write(&path, "OTHER='secret\nMONGODB_URI=mongodb://h/d\nX='\n").unwrap();
    let warned = |is_set: bool| read(&path, |name| name == "MONGODB_URI", |_| is_set).warnings;
    let warnings = warned(false);
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0]
            .to_string()
            .starts_with("MONGODB_URI: line 2 of .env does not set it")
    );
    assert!(!warnings[0].sentence.contains("secret"), "{}", warnings[0]);
    assert_eq!(warned(true), []);
}

#[test]
fn very_long_lines_take_no_longer_than_their_length() {
    // Each would take minutes if a quote or a space were looked for again from every line.
    for piece in [
        "A='\\'", "A=\"x\n", "\n \n", "A=`\n", "bare\n", "'\\'\\'", "A\n\n",
    ] {
        parse(&piece.repeat(100_000));
    }
    assert_eq!(
        pairs(&format!("A={}", "x".repeat(1_000_000)))["A"].len(),
        1_000_000
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", pieces in prop::collection::vec(prop::sample::select(vec![
        "A", "export ", "=", ":", " ", "\t", "\n", "\r\n", "'", "\"", "`", "\\", "#", "$", "é", "\u{2028}", "\u{feff}", "\\n",
    ]), 0..60)) {
        parse(&text);
        let text = pieces.concat();
        let parsed = parse(&text);
        let lines = text.replace("\r\n", "\n").replace('\r', "\n").matches('\n').count() + 1;
        for number in parsed.pairs.iter().map(|pair| pair.number).chain(parsed.unread.iter().map(|line| line.number)) {
            prop_assert!((1..=lines).contains(&number));
        }
    }
}

#[test]
fn a_line_about_a_variable_of_ours_is_known_however_it_is_written() {
    let is_ours = |name: &str| name == "MONGODB_URI";
    let named = |text: &str| {
        let line = Unread {
            number: 1,
            text: text.to_owned(),
        };
        our_name(&line, is_ours).is_some()
    };
    for text in [
        "MONGODB_URI",
        "MONGODB_URI mongodb://h/d",
        "MONGODB_URI:mongodb://h/d",
        "export MONGODB_URI",
        "set MONGODB_URI=x",
        "declare -x MONGODB_URI=\"x\"",
        "- MONGODB_URI=x",
        "\"MONGODB_URI\": \"mongodb://h/d?a=b\",",
        "$env:MONGODB_URI = \"x\"",
    ] {
        assert!(named(text), "{text}");
    }
    for text in [
        "bare",
        "{",
        "OTHER_MONGODB_URI x",
        "this file sets MONGODB_URI",
        "x y MONGODB_URI_2=1",
    ] {
        assert!(!named(text), "{text}");
    }
}
