//! What is measured: how each is configured and started. All that differs from its defaults is here.

use crate::process::Measured;
use crate::{Fallible, Settings, load};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connector {
    MongoKafka,
    Debezium,
}

impl Connector {
    pub const ALL: [Self; 2] = [Self::MongoKafka, Self::Debezium];

    pub fn name(self) -> &'static str {
        match self {
            Self::MongoKafka => "mongo-kafka 2.0.1",
            Self::Debezium => "Debezium 3.3.1",
        }
    }

    fn folder(self) -> &'static str {
        match self {
            Self::MongoKafka => "mongo-kafka",
            Self::Debezium => "debezium",
        }
    }

    /// The topic its records go to.
    pub fn topic(self) -> String {
        format!("{}.{}.{}", self.folder(), load::DATABASE, load::COLLECTION)
    }

    /// Where Connect keeps the connector's offsets.
    pub fn offsets(self, settings: &Settings) -> PathBuf {
        settings.folder.join(format!("{}.offsets", self.folder()))
    }

    fn properties(self, uri: &str) -> String {
        let database = load::DATABASE;
        match self {
            Self::MongoKafka => format!(
                "name=mongo-kafka\nconnector.class=com.mongodb.kafka.connect.MongoSourceConnector\ntasks.max=1\n\
                 connection.uri={uri}\ndatabase={database}\ntopic.prefix=mongo-kafka\n\
                 change.stream.full.document=updateLookup\n\
                 key.converter=org.apache.kafka.connect.storage.StringConverter\n\
                 value.converter=org.apache.kafka.connect.storage.StringConverter\n"
            ),
            Self::Debezium => format!(
                "name=debezium\nconnector.class=io.debezium.connector.mongodb.MongoDbConnector\ntasks.max=1\n\
                 mongodb.connection.string={uri}\ntopic.prefix=debezium\n\
                 database.include.list={database}\nsnapshot.mode=no_data\n\
                 capture.mode=change_streams_update_full\n\
                 key.converter=org.apache.kafka.connect.json.JsonConverter\nkey.converter.schemas.enable=false\n\
                 value.converter=org.apache.kafka.connect.json.JsonConverter\nvalue.converter.schemas.enable=false\n"
            ),
        }
    }

    /// Starts Connect standalone with this connector, heap 1 GiB.
    ///
    /// # Errors
    /// When its files cannot be written or Java is missing.
    pub fn start(self, settings: &Settings) -> Fallible<Measured> {
        let peers = settings.peers.as_deref().ok_or("no --peers")?;
        let file = |suffix: &str| settings.folder.join(format!("{}.{suffix}", self.folder()));
        let mut worker = String::new();
        writeln!(worker, "bootstrap.servers={}", settings.kafka_brokers)?;
        writeln!(worker, "plugin.path={}", peers.display())?;
        writeln!(
            worker,
            "offset.storage.file.filename={}",
            self.offsets(settings).display()
        )?;
        writeln!(worker, "listeners=http://127.0.0.1:{}", free_port()?)?;
        worker.push_str(
            "offset.flush.interval.ms=5000\n\
             key.converter=org.apache.kafka.connect.json.JsonConverter\n\
             value.converter=org.apache.kafka.connect.json.JsonConverter\n",
        );
        std::fs::write(file("worker.properties"), worker)?;
        std::fs::write(file("properties"), self.properties(&settings.mongodb_uri))?;
        let classes = format!("{}/*", settings.kafka_jars.display());
        let mut command = Command::new("java");
        command
            .args([
                "-Xmx1g",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                "-cp",
                &classes,
            ])
            .arg("org.apache.kafka.connect.cli.ConnectStandalone")
            .args([file("worker.properties"), file("properties")]);
        Measured::start(self.name(), &mut command, &file("log"))
    }
}

/// Starts Tailwater with its defaults, one topic and a stream of its own.
///
/// # Errors
/// When the binary is missing.
pub fn tailwater(settings: &Settings, topic: &str, start_at: &str) -> Fallible<Measured> {
    let mut command = Command::new(std::fs::canonicalize(&settings.tailwater)?);
    command
        .env("MONGODB_URI", &settings.mongodb_uri)
        .env("MONGODB_DATABASE", load::DATABASE)
        .env("KAFKA_BROKERS", &settings.kafka_brokers)
        .env("KAFKA_DB_CHANGES_TOPIC", topic)
        .env("STREAM_ID", topic)
        .env("START_AT", start_at)
        .env("HTTP_ADDR", "off")
        .current_dir(&settings.folder);
    for variable in &settings.variables {
        let (name, value) = variable.split_once('=').ok_or("--set wants NAME=VALUE")?;
        command.env(name, value);
    }
    Measured::start(
        "Tailwater",
        &mut command,
        &settings.folder.join("tailwater.log"),
    )
}

fn free_port() -> Fallible<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

/// The folder, made if it is missing, as an absolute path.
///
/// # Errors
/// When it cannot be made.
pub fn folder(path: &Path) -> Fallible<PathBuf> {
    std::fs::create_dir_all(path)?;
    Ok(std::fs::canonicalize(path)?)
}
