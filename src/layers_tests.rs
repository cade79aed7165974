//! Holds the table of `ARCHITECTURE.md`: no module imports one that stands above it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The modules of the table, the highest first.
fn table() -> Vec<String> {
    let page = include_str!("../ARCHITECTURE.md");
    let (_, table) = page.split_once("<!-- layers -->").unwrap();
    let (table, _) = table.split_once("<!-- /layers -->").unwrap();
    let names = table.lines().filter_map(|row| row.strip_prefix("| `"));
    names
        .map(|row| row.split('`').next().unwrap().to_owned())
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

/// The top-level modules that a file names by `crate::`, also within braces.
fn named(source: &str) -> BTreeSet<String> {
    let code: String = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let is_whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let rest = &code[at + "crate::".len()..];
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap(),
            None => rest,
        };
        let ends = |c: char| !c.is_alphanumeric() && c != '_';
        match is_whole && rest.starts_with('{') {
            true => names.extend(list.split(',').map(|name| first(name.trim(), ends))),
            false if is_whole => {
                names.insert(first(rest, ends));
            }
            false => {}
        }
    }
    names
}

fn first(text: &str, ends: impl Fn(char) -> bool) -> String {
    text.split(ends).next().unwrap_or("").to_owned()
}

#[test]
fn no_module_imports_one_that_stands_above_it() {
    let table = table();
    let rank = |module: &str| table.iter().position(|name| name == module);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut modules = BTreeSet::new();
    for file in files(&root) {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap();
        let module = path.split('/').next().unwrap().trim_end_matches(".rs");
        if ["lib", "layers_tests"].contains(&module) {
            continue;
        }
        modules.insert(module.to_owned());
        let Some(own) = rank(module) else {
            wrong.push(format!("{path}: {module} is not in the table"));
            continue;
        };
        let source = std::fs::read_to_string(&file).unwrap();
        for name in named(&source) {
            match rank(&name) {
                Some(other) if other < own => wrong.push(format!("{path} imports {name}")),
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let gone: Vec<_> = table
        .iter()
        .filter(|name| !modules.contains(*name))
        .collect();
    assert!(
        gone.is_empty(),
        "in the table, and not in the tree: {gone:?}"
    );
}

#[test]
fn imports_are_found_in_every_form() {
    let source = "use crate::flow::batch;\nuse crate::{log, status::Board};\n// crate::cli\n\
                  fn f(x: crate::error::Error) { mycrate::sink() }\npub(crate) use crate::change::raw;";
    let found = named(source);
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    assert_eq!(found, ["change", "error", "flow", "log", "status"]);
}
