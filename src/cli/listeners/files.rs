//! Files of listeners: reading and checking them.

use crate::cli::files::{self, text};
use crate::error::{Code, Error};
use crate::listener::file::{self, Item, Wrong};
use crate::listener::{entry, told};
use crate::worker::handler;
use std::path::{Path, PathBuf};

/// Checks the files; the exit code.
pub(super) fn lint(files: &[PathBuf], topics: &[String]) -> u8 {
    files::lint(files, |path| {
        let items = read(path, topics)
            .map_err(|wrong| wrong.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let shown = items.iter();
        Ok(shown
            .map(|item| format!("{}: {}", item.place, entry::title(&item.document)))
            .collect())
    })
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
            let allowed = entry::not_allowed(&item.entry, topics);
            let problems: Vec<_> = allowed
                .into_iter()
                .chain(handler::problems(&item.document))
                .collect();
            let place = item.place.clone();
            let sentence = told(&problems);
            (!problems.is_empty()).then_some(Wrong { place, sentence })
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
