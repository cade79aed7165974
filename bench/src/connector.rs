//! The connectors, in Connect standalone: all that differs from their defaults is here.

use crate::error::Fallible;
use crate::load;
use crate::process::Measured;
use crate::settings::Settings;
use std::path::PathBuf;
use std::process::Command;

/// Options of Connect's virtual machine.
const JAVA: [&str; 2] = ["-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connector {
    MongoKafka,
    Debezium,
}

/// Where a connector begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At its offsets, or with what happens from now on.
    Changes,
    /// With the documents that are there.
    Snapshot,
}

impl Connector {
    pub const ALL: [Self; 2] = [Self::MongoKafka, Self::Debezium];

    pub fn name(self) -> &'static str {
        match self {
            Self::MongoKafka => "mongo-kafka 2.0.1",
            Self::Debezium => "Debezium 3.5.0",
        }
    }

    pub fn slug(self) -> &'static str {
        match self {
            Self::MongoKafka => "mongo-kafka",
            Self::Debezium => "debezium",
        }
    }

    /// The topic its records go to.
    pub fn topic(self) -> String {
        self.topic_of(load::COLLECTION)
    }

    /// The topic of a collection's records.
    pub fn topic_of(self, collection: &str) -> String {
        format!("{}.{}.{collection}", self.slug(), load::DATABASE)
    }

    /// Where Connect keeps the connector's offsets.
    pub fn offsets(self, settings: &Settings) -> PathBuf {
        settings.folder.join(format!("{}.offsets", self.slug()))
    }

    /// What decides how it works, without addresses and paths.
    fn own_properties(self, begin: Begin) -> String {
        let database = load::DATABASE;
        let begin = match (self, begin) {
            (Self::MongoKafka, Begin::Changes) => "",
            (Self::MongoKafka, Begin::Snapshot) => "startup.mode=copy_existing\n",
            (Self::Debezium, Begin::Changes) => "snapshot.mode=no_data\n",
            (Self::Debezium, Begin::Snapshot) => "snapshot.mode=initial\n",
        };
        match self {
            Self::MongoKafka => format!(
                "connector.class=com.mongodb.kafka.connect.MongoSourceConnector\ntasks.max=1\n{begin}\
                 database={database}\ntopic.prefix=mongo-kafka\n\
                 change.stream.full.document=updateLookup\n\
                 key.converter=org.apache.kafka.connect.storage.StringConverter\n\
                 value.converter=org.apache.kafka.connect.storage.StringConverter\n"
            ),
            Self::Debezium => format!(
                "connector.class=io.debezium.connector.mongodb.MongoDbConnector\ntasks.max=1\n{begin}\
                 topic.prefix=debezium\n\
                 database.include.list={database}\n\
                 capture.mode=change_streams_update_full\n\
                 key.converter=org.apache.kafka.connect.json.JsonConverter\nkey.converter.schemas.enable=false\n\
                 value.converter=org.apache.kafka.connect.json.JsonConverter\nvalue.converter.schemas.enable=false\n"
            ),
        }
    }

    fn worker_properties(settings: &Settings) -> String {
        format!(
            "offset.flush.interval.ms=5000\n\
             key.converter=org.apache.kafka.connect.json.JsonConverter\n\
             value.converter=org.apache.kafka.connect.json.JsonConverter\n\
             producer.compression.type={}\n",
            settings.compression
        )
    }

    /// All that is set, for the report. Connect's producers have `acks=all` and are idempotent by default.
    pub fn settings(self, settings: &Settings, begin: Begin) -> String {
        let worker = Self::worker_properties(settings);
        let own = self.own_properties(begin);
        let text = format!("java {}\n{worker}{own}", JAVA.join(" "));
        text.lines().collect::<Vec<_>>().join("; ")
    }

    /// Starts Connect standalone with this connector.
    ///
    /// # Errors
    /// When its files cannot be written or Java is missing.
    pub fn start(self, settings: &Settings, begin: Begin) -> Fallible<Measured> {
        let peers = settings.peers.as_deref().ok_or("no --peers")?;
        let file = |suffix: &str| settings.folder.join(format!("{}.{suffix}", self.slug()));
        let worker = format!(
            "bootstrap.servers={}\nplugin.path={}\noffset.storage.file.filename={}\n\
             listeners=http://127.0.0.1:{}\n{}",
            settings.kafka_brokers,
            peers.display(),
            self.offsets(settings).display(),
            free_port()?,
            Self::worker_properties(settings)
        );
        let uri = match self {
            Self::MongoKafka => "connection.uri",
            Self::Debezium => "mongodb.connection.string",
        };
        // The stand-in does not answer a streamed hello as Java's driver expects it beside much else.
        let address = &settings.mongodb_uri;
        let more = match (address.contains('?'), address.matches('/').count()) {
            (true, _) => "&",
            (false, 2) => "/?",
            (false, _) => "?",
        };
        let own = format!(
            "name={}\n{uri}={address}{more}serverMonitoringMode=poll&heartbeatFrequencyMS=3600000\n{}",
            self.slug(),
            self.own_properties(begin)
        );
        std::fs::write(file("worker.properties"), worker)?;
        std::fs::write(file("properties"), own)?;
        let mut command = Command::new("java");
        command
            .args(JAVA)
            .args(["-cp", &format!("{}/*", settings.kafka_jars.display())])
            .arg("org.apache.kafka.connect.cli.ConnectStandalone")
            .args([file("worker.properties"), file("properties")]);
        Measured::start(self.name(), &mut command, &file("log"))
    }
}

pub fn free_port() -> Fallible<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}
