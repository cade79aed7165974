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
    /// Its records in Avro, by schemas that it infers.
    MongoKafkaAvro,
    /// Its records in Avro.
    DebeziumAvro,
}

const AVRO: &str = "io.apicurio.registry.utils.converter.AvroConverter";

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
            Self::MongoKafkaAvro => "mongo-kafka 2.0.1, Avro",
            Self::DebeziumAvro => "Debezium 3.5.0, Avro",
        }
    }

    pub fn slug(self) -> &'static str {
        match self {
            Self::MongoKafka => "mongo-kafka",
            Self::Debezium => "debezium",
            Self::MongoKafkaAvro => "mongo-kafka-avro",
            Self::DebeziumAvro => "debezium-avro",
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

    fn is_debezium(self) -> bool {
        matches!(self, Self::Debezium | Self::DebeziumAvro)
    }

    /// What decides how it works, without addresses and paths.
    fn own_properties(self, begin: Begin) -> String {
        let (database, slug) = (load::DATABASE, self.slug());
        let begin = match (self.is_debezium(), begin) {
            (false, Begin::Changes) => "",
            (false, Begin::Snapshot) => "startup.mode=copy_existing\n",
            (true, Begin::Changes) => "snapshot.mode=no_data\n",
            (true, Begin::Snapshot) => "snapshot.mode=initial\n",
        };
        let own = match self.is_debezium() {
            false => format!(
                "connector.class=com.mongodb.kafka.connect.MongoSourceConnector\ntasks.max=1\n{begin}\
                 database={database}\ntopic.prefix={slug}\n\
                 change.stream.full.document=updateLookup\n"
            ),
            true => format!(
                "connector.class=io.debezium.connector.mongodb.MongoDbConnector\ntasks.max=1\n{begin}\
                 topic.prefix={slug}\n\
                 database.include.list={database}\n\
                 capture.mode=change_streams_update_full\n"
            ),
        };
        let converters = match self {
            Self::MongoKafka => {
                "key.converter=org.apache.kafka.connect.storage.StringConverter\n\
                 value.converter=org.apache.kafka.connect.storage.StringConverter\n"
                    .to_owned()
            }
            Self::Debezium => {
                "key.converter=org.apache.kafka.connect.json.JsonConverter\nkey.converter.schemas.enable=false\n\
                 value.converter=org.apache.kafka.connect.json.JsonConverter\nvalue.converter.schemas.enable=false\n"
                    .to_owned()
            }
            Self::MongoKafkaAvro => format!(
                "output.format.value=schema\noutput.schema.infer.value=true\n\
                 key.converter=org.apache.kafka.connect.storage.StringConverter\n{}",
                in_avro("value")
            ),
            Self::DebeziumAvro => [in_avro("key"), in_avro("value")].concat(),
        };
        own + &converters
    }

    /// Where the schemas of its records are.
    fn registry(self, settings: &Settings) -> Fallible<String> {
        if !matches!(self, Self::MongoKafkaAvro | Self::DebeziumAvro) {
            return Ok(String::new());
        }
        let registry = settings
            .schema_registry
            .as_deref()
            .ok_or("no --schema-registry")?;
        let of =
            |part| format!("{part}.converter.apicurio.registry.url={registry}/apis/registry/v2\n");
        Ok(["key", "value"].map(of).concat())
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
        let uri = match self.is_debezium() {
            false => "connection.uri",
            true => "mongodb.connection.string",
        };
        // The stand-in does not answer a streamed hello as Java's driver expects it beside much else.
        let address = &settings.mongodb_uri;
        let more = match (address.contains('?'), address.matches('/').count()) {
            (true, _) => "&",
            (false, 2) => "/?",
            (false, _) => "?",
        };
        let own = format!(
            "name={}\n{uri}={address}{more}serverMonitoringMode=poll&heartbeatFrequencyMS=3600000\n{}{}",
            self.slug(),
            self.own_properties(begin),
            self.registry(settings)?
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

/// Keys or values in Avro, with Confluent's framing.
fn in_avro(part: &str) -> String {
    let properties = [
        ("auto-register", "true"),
        ("as-confluent", "true"),
        ("use-id", "contentId"),
        ("headers.enabled", "false"),
    ];
    let mut text = format!("{part}.converter={AVRO}\n");
    for (name, value) in properties {
        text.push_str(&format!(
            "{part}.converter.apicurio.registry.{name}={value}\n"
        ));
    }
    text
}

pub fn free_port() -> Fallible<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}
