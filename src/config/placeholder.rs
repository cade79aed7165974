//! Values that stand in an example for a secret that somebody was to choose, and did not.

/// How much of a token must be something else than words of examples, in characters.
const OWN: usize = 8;

/// Whether a secret is one of these: a word in brackets, one character over and over, or nothing but words
/// like `change-me`. Whoever reads the example knows it.
pub(super) fn is_placeholder(secret: &str) -> bool {
    let is_framed = FRAMES
        .iter()
        .any(|(start, end)| secret.starts_with(start) && secret.ends_with(end));
    let mut different: Vec<char> = secret.chars().collect();
    different.sort_unstable();
    different.dedup();
    is_framed || different.len() < 5 || own_part(secret) < OWN
}

/// How many characters are left without the words of examples.
fn own_part(secret: &str) -> usize {
    let mut left: String = secret
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    for word in WORDS {
        // A space, so that what stood around it does not become a word.
        left = left.replace(word, " ");
    }
    left.chars().filter(|c| !c.is_whitespace()).count()
}

/// What templates put around a name.
const FRAMES: [(&str, &str); 5] = [("<", ">"), ("{", "}"), ("[", "]"), ("$", ""), ("%", "%")];

/// Longer ones first, since one may be a part of another.
const WORDS: &[&str] = &[
    "placeholder",
    "characters",
    "replaceme",
    "tailwater",
    "something",
    "production",
    "changeit",
    "changeme",
    "password",
    "character",
    "generate",
    "kubernetes",
    "default",
    "example",
    "replace",
    "changed",
    "private",
    "letters",
    "dummy",
    "string",
    "secret",
    "please",
    "random",
    "bearer",
    "change",
    "insert",
    "secure",
    "qwerty",
    "passwd",
    "sample",
    "strong",
    "value",
    "token",
    "admin",
    "super",
    "enter",
    "guess",
    "least",
    "local",
    "very",
    "your",
    "this",
    "that",
    "with",
    "here",
    "long",
    "some",
    "must",
    "test",
    "todo",
    "fill",
    "demo",
    "none",
    "null",
    "real",
    "hard",
    "user",
    "pass",
    "auth",
    "xxxx",
    "and",
    "the",
    "key",
    "own",
    "put",
    "set",
    "api",
    "dev",
    "foo",
    "bar",
    "baz",
    "123",
    "not",
    "for",
    "use",
    "xxx",
];

#[cfg(test)]
mod tests {
    use super::is_placeholder;

    #[test]
    fn words_of_examples_are_told_from_secrets() {
        for text in [
            "change-me-to-something-long",
            "changeme-changeme",
            "CHANGE_ME_PLEASE_1",
            "your-admin-token-here",
            "<a-long-random-token>",
            "${ADMIN_TOKEN_OF_PROD}",
            "{{admin_token_of_prod}}",
            "$(cat /run/secrets/token)",
            "xxxxxxxxxxxxxxxx",
            "aaaaaaaaaaaaaaaaaaaa",
            "1212121212121212",
            "supersecretpassword",
            "my-super-secret-token",
            "secret-secret-123",
            "replace-with-at-least-16-characters",
            "tailwater-admin-token",
        ] {
            assert!(is_placeholder(text), "{text}");
        }
        for secret in [
            "0123456789abcdef",
            "fedcba9876543210",
            "kQ7dVb2mXr9tLw4z",
            "correct-horse-battery-staple",
            "d41d8cd98f00b204e9800998ecf8427e",
            "token-8f14e45fceea167a",
            "b7e23ec29af22b0b4e41da31e868d572",
        ] {
            assert!(!is_placeholder(secret), "{secret}");
        }
    }
}
