//! Java's regular expressions for names, as lists of names with `*`, and back.

/// What a list of expressions matches as names with `*`; the expression that cannot be written so.
///
/// # Errors
/// The first expression that says more than that.
pub(super) fn of_list(list: &str, is_literal: bool) -> Result<Vec<String>, String> {
    let mut globs = Vec::new();
    for expression in list.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        match is_literal {
            true => globs.push(expression.to_owned()),
            false => globs.extend(of(expression).ok_or_else(|| expression.to_owned())?),
        }
    }
    Ok(globs)
}

/// One expression, which may have alternatives in one group or without one.
fn of(expression: &str) -> Option<Vec<String>> {
    let expression = expression.strip_prefix('^').unwrap_or(expression);
    let expression = match expression.strip_suffix('$') {
        Some(whole) if !whole.ends_with('\\') => whole,
        _ => expression,
    };
    let Some((before, rest)) = expression.split_once('(') else {
        return expression.split('|').map(glob).collect();
    };
    let (within, after) = rest.split_once(')')?;
    if before.ends_with('\\') || before.contains('|') || after.contains(['(', '|']) {
        return None;
    }
    let alternatives = within.strip_prefix("?:").unwrap_or(within).split('|');
    let whole = alternatives.map(|one| glob(&format!("{before}{one}{after}")));
    whole.collect()
}

fn glob(expression: &str) -> Option<String> {
    let mut out = String::new();
    let mut characters = expression.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next()? {
                // `\d` and the like.
                letter if letter.is_alphanumeric() => return None,
                '*' | ',' => return None,
                other => out.push(other),
            },
            // A single one is nearly always meant for itself, between database and collection.
            '.' => match characters.peek() {
                Some('*') => {
                    characters.next();
                    out.push('*');
                }
                Some('+' | '?' | '{') => return None,
                _ => out.push('.'),
            },
            '*' | '+' | '?' | '[' | ']' | '{' | '}' | '(' | ')' | '^' | '$' => return None,
            other => out.push(other),
        }
        if matches!(characters.peek(), Some('*' | '+' | '?' | '{')) {
            return None;
        }
    }
    (!out.is_empty()).then_some(out)
}

/// A name with `*` as an expression.
pub(super) fn expression(glob: &str) -> String {
    let mut out = String::new();
    for character in glob.chars() {
        match character {
            '*' => out.push_str(".*"),
            other if other.is_alphanumeric() || other == '_' || other == '-' => out.push(other),
            other => out.extend(['\\', other]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{expression, of, of_list};

    #[test]
    fn expressions_that_name_things_become_names() {
        for (expression, globs) in [
            ("shop", vec!["shop"]),
            (r"shop\.orders", vec!["shop.orders"]),
            ("shop.orders", vec!["shop.orders"]),
            (r"shop[.]orders", vec![]),
            (r"^shop\..*$", vec!["shop.*"]),
            (
                r"shop\.(orders|users_.*)",
                vec!["shop.orders", "shop.users_*"],
            ),
            ("a|b", vec!["a", "b"]),
            (r"tenant_\d+", vec![]),
            ("ab+", vec![]),
            ("ab*", vec![]),
            ("(?i)x", vec![]),
            ("(a)?", vec![]),
            (r"a\.(b|c)\.(d|e)", vec![]),
        ] {
            let found = of(expression).unwrap_or_default();
            assert_eq!(found, globs, "{expression}");
        }
        assert_eq!(of_list("a, b.*", false).unwrap(), ["a", "b*"]);
        assert_eq!(of_list("a,b+", false).unwrap_err(), "b+");
        assert_eq!(of_list("a+,b", true).unwrap(), ["a+", "b"]);
    }

    #[test]
    fn names_come_back_from_their_expressions() {
        for glob in ["shop.orders", "shop.*", "a-b_c", "*_log"] {
            assert_eq!(of(&expression(glob)).unwrap(), [glob]);
        }
    }
}
