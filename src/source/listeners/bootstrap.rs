//! The listeners of `LISTENERS_BOOTSTRAP`.

use super::create::{Created, create};
use crate::change::namespace::Namespace;
use crate::config::Bootstrap;
use crate::error::{Code, Error};
use crate::listener::document::id_text;
use crate::listener::entry;
use crate::listener::file::{self, Item};
use crate::log::event_id;
use mongodb::Client;

/// The listeners of the file.
///
/// # Errors
/// [`Code::Config`] with everything that is wrong.
pub fn items(bootstrap: &Bootstrap) -> Result<Vec<Item>, Error> {
    file::read(&bootstrap.path, &bootstrap.text).map_err(|wrong| {
        let wrong: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        let path = bootstrap.path.display();
        Error::new(
            Code::Config,
            format!("LISTENERS_BOOTSTRAP: {path}: {}", wrong.join("; also: ")),
        )
    })
}

/// Creates the listeners that are missing, and says of each what has become of it.
///
/// # Errors
/// As [`items`], and what the server answers. Trying again is always safe.
pub async fn run(client: &Client, at: &Namespace, bootstrap: &Bootstrap) -> Result<(), Error> {
    let (mut created, mut kept) = (0, 0);
    for item in items(bootstrap)? {
        let title = entry::title(&item.document);
        let (id, what) = match create(client, at, &item.document).await? {
            Created::New(id) => {
                created += 1;
                (id, "created")
            }
            Created::Kept(id) => {
                kept += 1;
                (id, "kept as it is")
            }
        };
        tracing::info!(listener = id_text(&id), "{title}: {what}");
    }
    tracing::info!(
        event_id = event_id::LISTENERS_BOOTSTRAPPED,
        created,
        kept,
        "the listeners of LISTENERS_BOOTSTRAP are there"
    );
    Ok(())
}
