//! `field.exclude.list` and `field.renames`: `database.collection.path`, in which `*` stands for any run of
//! characters in the names of database and collection.

use crate::config::{FieldPath, Fields, Scope, covers, table};
use crate::migrate::back::Set;
use crate::migrate::plan::Reading;

const EXCLUDE: &str = "field.exclude.list";
const RENAME: &str = "field.renames";

/// An entry that Tailwater can say.
struct Entry {
    database: String,
    collection: String,
    path: String,
    /// The last name of the path becomes this.
    name: Option<String>,
}

/// `one` is the database, where there is only one: collections are named without it then.
pub(super) fn translate(reading: &mut Reading<'_>, one: Option<&str>) {
    let excluded = read(reading, EXCLUDE, false);
    let renamed = read(reading, RENAME, true);
    let (Some(excluded), Some(renamed)) = (excluded, renamed) else {
        // One of the two would be half of what is meant.
        return;
    };
    if let Some(chained) = chained(&excluded, &renamed) {
        let sentence = format!(
            "it gives a field the name of {chained}, which another entry is for: Debezium works through its entries one \
             after the other, and Tailwater's all mean the names that MongoDB has; set FIELDS_RENAME and FIELDS_EXCLUDE"
        );
        reading.decide(RENAME, sentence);
        return;
    }
    for (property, variable, entries) in [
        (EXCLUDE, &table::FIELDS_EXCLUDE, excluded),
        (RENAME, &table::FIELDS_RENAME, renamed),
    ] {
        if reading.peek(property).is_none() {
            continue;
        }
        let written: Vec<_> = entries
            .iter()
            .filter_map(|entry| written(entry, one))
            .collect();
        if written.is_empty() {
            reading.taken(property, "none of its collections is watched");
            continue;
        }
        let value = written.join(",");
        let sentence = format!(
            "{}={value}; names of databases and collections are compared with their case, and Debezium's are not",
            variable.name
        );
        reading.set(variable, value);
        reading.taken(property, &sentence);
    }
}

/// The entries of a property; none where one of them cannot be said, which is a decision then.
fn read(reading: &mut Reading<'_>, property: &str, is_renaming: bool) -> Option<Vec<Entry>> {
    let Some(list) = reading.get(property) else {
        // Not there, or looked up elsewhere.
        return reading.peek(property).is_none().then(Vec::new);
    };
    let mut entries = Vec::new();
    for text in list.split(',') {
        match entry(text.trim(), is_renaming) {
            Ok(entry) => entries.push(entry),
            Err(why) => {
                let variable = match is_renaming {
                    true => "FIELDS_RENAME",
                    false => "FIELDS_EXCLUDE",
                };
                reading.decide(
                    property,
                    format!("{text}: {why}; set {variable} to what you want"),
                );
                return None;
            }
        }
    }
    Some(entries)
}

fn entry(text: &str, is_renaming: bool) -> Result<Entry, &'static str> {
    let (path, name) = match (is_renaming, text.split_once('=')) {
        (false, None) => (text, None),
        (true, Some((path, name))) if !name.contains('=') => (path, Some(name.to_owned())),
        _ => return Err("is no such entry"),
    };
    let mut nodes = path.split('.');
    let (Some(database), Some(collection)) = (nodes.next(), nodes.next()) else {
        return Err("is no such entry");
    };
    let nodes: Vec<_> = nodes.collect();
    if database.is_empty() || nodes.is_empty() || nodes.iter().any(|node| node.is_empty()) {
        return Err("is no such entry");
    }
    let is_plain = |name: &str| {
        let special = ['\\', '^', '$', '?', '+', '(', ')', '[', ']', '{', '}', '|'];
        !name.contains(special)
    };
    if !is_plain(database) || !is_plain(collection) {
        return Err("the name of the collection is an expression of more than *");
    }
    let is_number = |node: &&str| node.bytes().all(|byte| byte.is_ascii_digit());
    if nodes[0] == "_id" {
        return Err("_id is in the key of each record, and always stays as it is");
    }
    if nodes.iter().any(is_number) {
        return Err("a path has no index of an array: it means the field in each element");
    }
    if nodes.iter().any(|node| node.contains('*')) {
        return Err("a path holds no *");
    }
    let is_name = |name: &String| {
        !name.is_empty()
            && name != "_id"
            && !name.starts_with('$')
            && !name.contains('.')
            && !is_number(&name.as_str())
    };
    if name.as_ref().is_some_and(|name| !is_name(name)) {
        return Err("the new name is no single name of a field");
    }
    Ok(Entry {
        database: database.to_owned(),
        collection: collection.to_owned(),
        path: nodes.join("."),
        name,
    })
}

/// What a field is called by an entry that another entry is for.
fn chained(excluded: &[Entry], renamed: &[Entry]) -> Option<String> {
    let becomes = |entry: &Entry| -> Option<String> {
        let name = entry.name.as_ref()?;
        Some(match entry.path.rsplit_once('.') {
            Some((parent, _)) => format!("{parent}.{name}"),
            None => name.clone(),
        })
    };
    let is_within = |path: &str, of: &str| {
        path.strip_prefix(of)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    renamed.iter().find_map(|entry| {
        let (from, to) = (&entry.path, becomes(entry)?);
        // What is below a field that was renamed before it has another path in Debezium, too.
        let all = excluded.iter().chain(renamed);
        let meets = |other: &Entry| {
            is_within(&other.path, &to) || (other.path != *from && is_within(&other.path, from))
        };
        let mut others = all.filter(|other| !std::ptr::eq(*other, entry));
        others.any(meets).then_some(to)
    })
}

/// As `FIELDS_*` have it; none where its collections are not of the only database.
fn written(entry: &Entry, one: Option<&str>) -> Option<String> {
    let Entry {
        database,
        collection,
        path,
        name,
    } = entry;
    let of = match one {
        Some(one) if !covers(&database.to_lowercase(), &one.to_lowercase()) => return None,
        Some(_) => collection.clone(),
        None => format!("{database}.{collection}"),
    };
    let mut out = format!("{}:{}", escaped(&of), escaped(path));
    if let Some(name) = name {
        out.push('=');
        out.push_str(&escaped(name));
    }
    Some(out)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, ',' | ':' | '=' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The way back. Whether all of it can be said; otherwise nothing is.
pub(in crate::migrate) fn back(set: Set<'_>, fields: &Fields, scope: &Scope) -> bool {
    if !fields.include.is_empty() || !fields.mask.is_empty() {
        return false;
    }
    let excluded = fields.exclude.iter().map(|path| expression(path, scope));
    let excluded: Option<Vec<_>> = excluded.collect();
    let renamed = fields.rename.iter().map(|(path, name)| {
        let is_plain = !name.contains([',', '=']);
        let expression = expression(path, scope).filter(|_| is_plain)?;
        Some(format!("{expression}={name}"))
    });
    let renamed: Option<Vec<_>> = renamed.collect();
    let (Some(excluded), Some(renamed)) = (excluded, renamed) else {
        return false;
    };
    for (property, entries) in [(EXCLUDE, excluded), (RENAME, renamed)] {
        if !entries.is_empty() {
            set(property, &entries.join(","));
        }
    }
    true
}

fn expression(path: &FieldPath, scope: &Scope) -> Option<String> {
    let database = match (&path.database, scope) {
        (Some(database), _) => database.as_str(),
        (None, Scope::Database(name)) => name.as_str(),
        (None, Scope::Deployment { .. }) => "*",
    };
    let text = format!("{database}.{}.{}", path.collection, path.names.join("."));
    // It must be read back as it was meant.
    let entry = entry(&text, false).ok()?;
    let is_same = entry.database == database
        && entry.collection == path.collection
        && entry.path == path.names.join(".")
        && !text.contains([',', '=']);
    is_same.then_some(text)
}

#[cfg(test)]
mod tests {
    use crate::migrate::{Connector, Incumbent, Plan, Verdict};

    fn plan(more: &str) -> Plan {
        let text = format!(
            "name=a\ntopic.prefix=p\nmongodb.connection.string=mongodb://h\n\
             key.converter=org.apache.kafka.connect.json.JsonConverter\n\
             value.converter=org.apache.kafka.connect.json.JsonConverter\n{more}"
        );
        Incumbent::Debezium.plan(&Connector::read(&text).unwrap())
    }

    fn variable<'p>(plan: &'p Plan, name: &str) -> Option<&'p str> {
        let mut found = plan.variables.iter().filter(|(known, _)| *known == name);
        found.next().map(|(_, value)| value.as_str())
    }

    fn decided(plan: &Plan, property: &str) -> String {
        let mut notes = plan.notes.iter();
        let found = notes.find(|it| it.property == property && it.verdict == Verdict::Decision);
        found.map_or_else(String::new, |note| note.sentence.clone())
    }

    #[test]
    fn fields_are_named_as_the_streams_name_collections() {
        let lists = "field.exclude.list=shop.users.password, shop.pay*.card.cvc,*.*.ssn,other.x.y\n\
                     field.renames=shop.users.mail=email,*.a:b.x.y=z\n";
        let all = plan(lists);
        assert_eq!(
            variable(&all, "FIELDS_EXCLUDE"),
            Some("shop.users:password,shop.pay*:card.cvc,*.*:ssn,other.x:y")
        );
        assert_eq!(
            variable(&all, "FIELDS_RENAME"),
            Some(r"shop.users:mail=email,*.a\:b:x.y=z")
        );
        let one = plan(&format!("{lists}database.include.list=shop\n"));
        assert_eq!(
            variable(&one, "FIELDS_EXCLUDE"),
            Some("users:password,pay*:card.cvc,*:ssn")
        );
        let taken = one.notes.iter().find(|it| it.property == "field.renames");
        let taken = taken.unwrap();
        assert_eq!(taken.verdict, Verdict::Taken);
        assert!(taken.sentence.contains("with their case"), "{taken:?}");
        let none = plan("field.exclude.list=other.x.y\ndatabase.include.list=shop\n");
        assert_eq!(variable(&none, "FIELDS_EXCLUDE"), None);
        assert_eq!(decided(&none, "field.exclude.list"), "");
    }

    /// What is said of fields must be all or nothing: a part of it could leave a secret in.
    #[test]
    fn what_cannot_be_said_is_a_decision() {
        for (list, said) in [
            ("shop.users", "is no such entry"),
            ("shop.users.", "is no such entry"),
            ("shop.users._id", "_id is in the key of each record"),
            ("shop.users._id.x", "_id is in the key of each record"),
            ("shop.users.list.0.x", "no index of an array"),
            ("shop.(a|b).x", "an expression of more than *"),
            ("shop.users.x*", "a path holds no *"),
            ("${file:x}", "config provider"),
        ] {
            let plan = plan(&format!("field.exclude.list=shop.users.ok,{list}\n"));
            let decided = decided(&plan, "field.exclude.list");
            assert!(decided.contains(said), "{list}: {decided}");
            assert_eq!(variable(&plan, "FIELDS_EXCLUDE"), None, "{list}");
        }
        for (list, said) in [
            ("shop.users.x", "is no such entry"),
            ("shop.users.x=", "no single name"),
            ("shop.users.x=a.b", "no single name"),
            ("shop.users.x=_id", "no single name"),
            ("shop.users.x=y,shop.users.y=z", "one after the other"),
            ("shop.users.x=y,shop.users.x.a=b", "one after the other"),
        ] {
            let plan = plan(&format!("field.renames={list}\n"));
            let decided = decided(&plan, "field.renames");
            assert!(decided.contains(said), "{list}: {decided}");
            assert_eq!(variable(&plan, "FIELDS_RENAME"), None, "{list}");
        }
        let both = plan("field.exclude.list=a.b.y\nfield.renames=a.b.x=y\n");
        assert!(decided(&both, "field.renames").contains("the name of y"));
        // The new name is not hidden by itself, so that nothing is left to what is half of it.
        assert_eq!(variable(&both, "FIELDS_EXCLUDE"), None);
    }
}
