//! `tailwater export`: lets a connector of others go on where the stream stopped.

use super::import::{Whose, secret_file};
use super::token::active;
use super::{Chosen, StreamArg, complain, files, print};
use crate::checkpoint;
use crate::error::{Code, Error};
use crate::migrate::offset::Place;
use crate::migrate::offsets::{self, Stored};
use crate::migrate::{Connector, Incumbent, back};
use crate::tasks;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(
    after_help = "Stop the stream first. The files may hold a password and the key of a document: only their owner may read \
                  them. docs/migrating.md says what to do with them."
)]
pub struct ExportArgs {
    /// Whose connector is to go on
    #[arg(value_enum)]
    whose: Whose,
    /// The connector's name in Connect
    #[arg(long, value_name = "NAME")]
    connect_name: String,
    /// The configuration that the connector had; otherwise one is made of the stream's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder for connector.json and offsets.json, as Connect's REST API takes them
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,
    /// Also write the offset into the topic in which Connect keeps offsets; no worker may run
    #[arg(long, value_name = "TOPIC", conflicts_with = "offsets_file")]
    offsets_topic: Option<String>,
    /// Also write the offset into the file of a standalone worker or of Debezium Server, which must not run
    #[arg(long, value_name = "FILE")]
    offsets_file: Option<PathBuf>,
    /// Export the position of a stream that an instance runs: it will go on from there, too
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub which: StreamArg,
}

/// Carries the command out; the exit code.
///
/// # Errors
/// Where there is no checkpoint, or no connector could go on from it.
pub async fn run(args: &ExportArgs, chosen: Chosen<'_>) -> Result<u8, Error> {
    let incumbent = Incumbent::from(args.whose);
    let connector = connector(args, chosen)?;
    let wrong = |detail: String| Error::new(Code::Config, detail);
    let partition = incumbent.partition(&connector).map_err(wrong)?;
    let before = checkpoint::read(chosen.location(), None).await?;
    if !args.force {
        active::refuse(chosen, before.as_ref()).await?;
    }
    let stream = &chosen.stream.id;
    let found = before.ok_or_else(|| {
        Error::new(
            Code::CheckpointFailed,
            format!("the stream {stream} has no checkpoint"),
        )
    })?;
    let position = found.position;
    let place = match (position.token.is_absent(), position.begins_at()) {
        (true, Some(time)) => Place::At(time),
        _ => Place::After(position.token),
    };
    let offset = place.to_offset(incumbent).map_err(wrong)?;
    let stored = Stored { partition, offset };
    write(&args.out, &connector, &stored)?;
    let name = args.connect_name.clone();
    if let Some(topic) = args.offsets_topic.clone() {
        let (kafka, stored) = (chosen.config.kafka.clone(), stored.clone());
        let put = move || offsets::to_topic(&kafka, &topic, &name, &stored);
        tasks::blocking("the offsets of Connect", put).await??;
        print("the offset is in the topic\n");
    } else if let Some(file) = &args.offsets_file {
        offsets::to_file(file, &name, &stored)?;
        print("the offset is in the file\n");
    }
    Ok(0)
}

fn connector(args: &ExportArgs, chosen: Chosen<'_>) -> Result<Connector, Error> {
    let incumbent = Incumbent::from(args.whose);
    let Some(path) = &args.config else {
        let back = back::connector(incumbent, &args.connect_name, chosen.config, chosen.stream)
            .map_err(|why| Error::new(Code::Config, why))?;
        for note in &back.notes {
            complain(note);
        }
        return Ok(back.connector);
    };
    let wrong = |why: String| Error::new(Code::Config, format!("{} {why}", path.display()));
    let mut connector = files::text(path)
        .and_then(|text| Connector::read(&text))
        .map_err(wrong)?;
    connector.name = Some(args.connect_name.clone());
    connector
        .properties
        .insert("name".into(), args.connect_name.clone());
    Ok(connector)
}

/// Both files, as Connect's REST API takes them: `POST /connectors` and `PATCH /connectors/NAME/offsets`.
fn write(folder: &Path, connector: &Connector, stored: &Stored) -> Result<(), Error> {
    let made = json!({
        "name": connector.name,
        "config": connector.properties,
        // So that it does nothing before it has its offset.
        "initial_state": "STOPPED",
    });
    let offsets = json!({
        "offsets": [{ "partition": stored.partition, "offset": stored.offset }],
    });
    for (name, value) in [("connector.json", &made), ("offsets.json", &offsets)] {
        one(&folder.join(name), value)?;
    }
    Ok(())
}

fn one(path: &Path, value: &Value) -> Result<(), Error> {
    let name = path.display();
    secret_file(path, &format!("{value:#}\n")).map_err(|why| {
        Error::new(Code::Config, format!("{name} cannot be written")).because(why)
    })?;
    print(&format!("written: {name}\n"));
    Ok(())
}
