//! `FIELDS_*`: from `collection:path` to the fields that are meant.

use super::escaped::{entries, plain, split_first, split_last};
use crate::config::check::Check;
use crate::config::fields::{FieldPath, Fields, MaskKind};
use crate::config::shown::quote;
use crate::config::variable::Variable;
use crate::config::{Secret, table};

/// The shortest salt that is taken, in bytes: a shorter one can be guessed together with what is hashed.
const SALT_BYTES: usize = 16;

/// The longest text for hidden values, in bytes.
const MASK_BYTES: usize = 64;

const KINDS: [(&str, MaskKind); 3] = [
    ("text", MaskKind::Text),
    ("hash", MaskKind::Hash),
    ("last4", MaskKind::LastFour),
];

/// What is done to fields; none where no variable says anything. `is_qualified` says whether collections are named with
/// their databases.
pub(super) fn fields(check: &mut Check<'_>, is_qualified: bool) -> Option<Fields> {
    let mut reading = Reading {
        check,
        is_qualified,
    };
    let exclude = reading.paths(&table::FIELDS_EXCLUDE);
    let include = reading.paths(&table::FIELDS_INCLUDE);
    let mask = reading.masks();
    let rename = reading.names();
    let salt = salt(check, &mask);
    if mask.is_empty() && check.given(&table::FIELDS_MASK_TEXT).is_some() {
        check.warn(
            &table::FIELDS_MASK_TEXT,
            "has no effect without FIELDS_MASK",
        );
    }
    let text = check.text(&table::FIELDS_MASK_TEXT).unwrap_or_default();
    if check.refuse_uri(&table::FIELDS_MASK_TEXT) {
        return None;
    }
    if text.len() > MASK_BYTES {
        let sentence = format!(
            "is longer than {MASK_BYTES} bytes, and stands in the place of each value; {}",
            table::FIELDS_MASK_TEXT.right()
        );
        check.wrong(&table::FIELDS_MASK_TEXT, sentence);
    }
    let is_nothing =
        exclude.is_empty() && include.is_empty() && mask.is_empty() && rename.is_empty();
    (!is_nothing).then(|| Fields {
        exclude,
        include,
        mask,
        rename,
        text: text.to_owned(),
        salt,
    })
}

fn salt(check: &mut Check<'_>, mask: &[(FieldPath, MaskKind)]) -> Option<Secret> {
    let variable = &table::FIELDS_MASK_SALT;
    let are_hashed = mask.iter().any(|(_, kind)| *kind == MaskKind::Hash);
    match check.given(variable) {
        None if are_hashed => check.wrong(
            &table::FIELDS_MASK,
            "asks for hashes, which anybody could find out by trying without a secret in them; set FIELDS_MASK_SALT, \
             or FIELDS_MASK_SALT_FILE",
        ),
        Some(salt) if salt.len() < SALT_BYTES => check.wrong(
            variable,
            format!(
                "is shorter than {SALT_BYTES} bytes and could be guessed; give a random text, such as that of \
                 openssl rand -base64 32"
            ),
        ),
        Some(_) if !are_hashed => check.warn(variable, "has no effect: FIELDS_MASK has no hash"),
        _ => {}
    }
    check.given(variable).map(Secret::new)
}

struct Reading<'c, 'e> {
    check: &'c mut Check<'e>,
    is_qualified: bool,
}

impl Reading<'_, '_> {
    fn paths(&mut self, variable: &Variable) -> Vec<FieldPath> {
        let entries = entries(self.check, variable).into_iter();
        let paths = entries.filter_map(|entry| self.path(variable, entry));
        paths.collect()
    }

    fn masks(&mut self) -> Vec<(FieldPath, MaskKind)> {
        let variable = &table::FIELDS_MASK;
        let mut masks = Vec::new();
        for entry in entries(self.check, variable) {
            let (path, kind) = split_last(entry, '=').unwrap_or((entry, "text"));
            let known = KINDS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(kind));
            match known {
                Some((_, kind)) => {
                    masks.extend(self.path(variable, path).map(|path| (path, *kind)));
                }
                None => self.check.wrong(
                    variable,
                    format!(
                        "{}: there is no such mask; give text, hash or last4, as in users:email=hash",
                        quote(kind)
                    ),
                ),
            }
        }
        masks
    }

    fn names(&mut self) -> Vec<(FieldPath, String)> {
        let variable = &table::FIELDS_RENAME;
        let mut renamed = Vec::new();
        for entry in entries(self.check, variable) {
            let Some((path, name)) = split_last(entry, '=') else {
                let sentence = format!(
                    "{}: says no new name; {}",
                    quote(&plain(entry)),
                    variable.right()
                );
                self.check.wrong(variable, sentence);
                continue;
            };
            let name = plain(name);
            if let Some(problem) = name_problem(&name) {
                self.check
                    .wrong(variable, format!("{}: {problem}", quote(&name)));
                continue;
            }
            renamed.extend(self.path(variable, path).map(|path| (path, name)));
        }
        renamed
    }

    /// `path`, or `collection:path`.
    fn path(&mut self, variable: &Variable, entry: &str) -> Option<FieldPath> {
        let (of, path) = match split_first(entry, ':') {
            Some((of, path)) => (Some(plain(of)), path),
            None => (None, entry),
        };
        let path = plain(path);
        let names: Vec<_> = path.split('.').map(str::to_owned).collect();
        let problem = match &of {
            Some(of) if of.is_empty() => Some("names no collection before the colon".to_owned()),
            Some(of) if self.is_qualified && !of.contains('.') && of != "*" => Some(format!(
                "the streams are of several databases: name database.collection, such as *.{of}:{path}"
            )),
            _ => path_problem(&names),
        };
        if let Some(problem) = problem {
            let sentence = format!("{}: {problem}", quote(&plain(entry)));
            self.check.wrong(variable, sentence);
            return None;
        }
        let of = of.unwrap_or_else(|| "*".to_owned());
        // A database's name holds no dot.
        let (database, collection) = match of.split_once('.') {
            Some((database, collection)) if self.is_qualified => {
                (Some(database.to_owned()), collection.to_owned())
            }
            _ => (None, of),
        };
        Some(FieldPath {
            database,
            collection,
            names,
        })
    }
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

fn path_problem(names: &[String]) -> Option<String> {
    if names.iter().any(String::is_empty) {
        return Some(
            "is no path of a field; give names with dots between, such as address.street".into(),
        );
    }
    if names[0] == "_id" {
        return Some("_id is in the key of each record, and in its resume token: it always stays as it is. Keep what is secret in another field".into());
    }
    if names.iter().any(|name| name.contains('*')) {
        return Some("a path holds no *; FIELDS_INCLUDE names the fields that stay".into());
    }
    if let Some(number) = names.iter().find(|name| is_number(name)) {
        return Some(format!(
            "{number} is the index of an array, and a path has none: it means the field in each element. Leave it out"
        ));
    }
    None
}

fn name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.contains('.') {
        return Some("the new name is one name, without dots: a field stays where it is");
    }
    if name == "_id" || name.starts_with('$') || is_number(name) {
        return Some("the new name is neither _id nor a number, and begins with no $");
    }
    None
}
