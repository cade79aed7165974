//! Files of listeners: reading and checking them.

use crate::cli::{complain, print};
use crate::error::{Code, Error};
use crate::listener::entry;
use crate::listener::file::{self, Item, Wrong};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Checks the files; the exit code.
pub(super) fn lint(files: &[PathBuf], topics: &[String]) -> u8 {
    let mut is_wrong = false;
    for path in files {
        let name = path.display();
        match read(path, topics) {
            Ok(items) => {
                for item in &items {
                    print(&format!(
                        "{name}: {}: {}\n",
                        item.place,
                        entry::title(&item.document)
                    ));
                }
                print(&format!("{name}: {} right\n", items.len()));
            }
            Err(wrong) => {
                is_wrong = true;
                for wrong in wrong {
                    complain(&format!("{name}: {wrong}"));
                }
            }
        }
    }
    match is_wrong {
        true => Code::Config.exit_code(),
        false => 0,
    }
}

/// Reads a file, or the standard input, as text.
pub(in crate::cli) fn text(path: &Path) -> Result<String, String> {
    let read = match path.as_os_str() == "-" {
        true => {
            let mut text = String::new();
            std::io::stdin()
                .lock()
                .read_to_string(&mut text)
                .map(|_| text)
        }
        false => std::fs::read_to_string(path),
    };
    read.map_err(|error| format!("cannot be read: {error}"))
}

/// The listeners of a file. Topics are looked at where it is known which are allowed.
fn read(path: &Path, topics: &[String]) -> Result<Vec<Item>, Vec<Wrong>> {
    let text = text(path).map_err(|sentence| {
        let place = String::new();
        vec![Wrong { place, sentence }]
    })?;
    let items = file::read(path, &text)?;
    let wrong: Vec<_> = items
        .iter()
        .filter_map(|item| {
            let problem = entry::not_allowed(&item.entry, topics)?;
            let place = item.place.clone();
            let sentence = problem.to_string();
            Some(Wrong { place, sentence })
        })
        .collect();
    match wrong.is_empty() {
        true => Ok(items),
        false => Err(wrong),
    }
}

/// The same, with everything that is wrong as one error.
pub(super) fn required(path: &Path, topics: &[String]) -> Result<Vec<Item>, Error> {
    read(path, topics).map_err(|wrong| {
        let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        Error::new(
            Code::Config,
            format!("{}: {}", path.display(), wrong.join("; also: ")),
        )
    })
}
