//! Kafka: one broker for all tests, and dedicated ones to be broken.

use super::consumer::{self, Isolation, Record};
use super::process::{self, Process};
use super::{FirstRefused, PATIENCE, Proxy, acls, cache, eventually, ports};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::OnceCell;

/// The broker that all tests of this run share: the one of `TAILWATER_TEST_KAFKA_BROKERS`, else
/// one started at the first call.
pub async fn kafka() -> &'static Kafka {
    static SHARED: OnceCell<Kafka> = OnceCell::const_new();
    SHARED
        .get_or_init(|| async {
            match std::env::var("TAILWATER_TEST_KAFKA_BROKERS") {
                Ok(brokers) if !brokers.is_empty() => Kafka {
                    brokers,
                    users: None,
                    local: None,
                },
                _ => Kafka::dedicated(&[]).await,
            }
        })
        .await
}

/// A running broker.
pub struct Kafka {
    brokers: String,
    /// The listener of [`Kafka::with_acls`].
    users: Option<String>,
    local: Option<Local>,
}

/// A listener beside the administrator's.
struct Listener {
    name: &'static str,
    port: u16,
    advertised: SocketAddr,
}

impl Listener {
    /// One at this port, whose clients are sent to the proxy before it.
    fn proxied(port: u16, advertised: SocketAddr) -> Self {
        Self {
            name: "PROXIED",
            port,
            advertised,
        }
    }
}

/// A broker of our own.
struct Local {
    process: Process,
    properties: PathBuf,
}

/// For a broker that says less often that it is there than the controller wants to hear it: of six seconds it is fenced
/// for three, and the cluster names no broker.
pub const FENCED: &[&str] = &[
    "broker.session.timeout.ms=3000",
    "broker.heartbeat.interval.ms=6000",
];

impl Kafka {
    /// Whether the cluster names a broker to whoever asks: not always, with [`FENCED`].
    pub async fn names_brokers(&self) -> bool {
        let brokers = self.brokers().to_owned();
        let asking = tokio::task::spawn_blocking(move || {
            // A client that was told of none has nobody left to ask: each question has its own.
            let client: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", &brokers)
                .create()
                .unwrap();
            let answer = client.fetch_metadata(None, Duration::from_secs(1));
            answer.is_ok_and(|answer| !answer.brokers().is_empty())
        });
        asking.await.unwrap()
    }

    /// Waits until it names none.
    pub async fn until_fenced(&self) {
        eventually(PATIENCE, "no broker is named", async || {
            (!self.names_brokers().await).then_some(())
        })
        .await;
    }

    /// A broker for one test alone, with lines of `server.properties`:
    /// `message.max.bytes=2000000`… It ends when it is dropped.
    pub async fn dedicated(properties: &[&str]) -> Self {
        Self::start(None, properties).await
    }

    /// A dedicated broker and a fault proxy. Who connects to [`Proxy::addr`] is told the proxy's
    /// address for all that follows; [`Kafka::brokers`] goes past it, so that a test can look at
    /// the records while the proxy is cut.
    pub async fn behind_proxy(properties: &[&str]) -> (Self, Proxy) {
        let port = ports::free();
        let proxy = Proxy::to(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
        let proxied = Listener::proxied(port, proxy.addr());
        (Self::start(Some(proxied), properties).await, proxy)
    }

    /// As [`Kafka::behind_proxy`], with a proxy that refuses the first records of a topic.
    pub async fn behind_refusals(properties: &[&str]) -> (Self, FirstRefused) {
        let port = ports::free();
        let proxy = FirstRefused::to(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
        let proxied = Listener::proxied(port, proxy.addr());
        (Self::start(Some(proxied), properties).await, proxy)
    }

    /// A dedicated broker that refuses what no rule allows, with a listener for these users
    /// ([`Setup::logged_in_as`](super::Setup::logged_in_as)); [`Kafka::brokers`] is the administrator's, who may do
    /// everything. Users may do nothing before [`Kafka::allow`].
    pub async fn with_acls(users: &[&str], properties: &[&str]) -> Self {
        let port = ports::free();
        let advertised = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self::start_with_users(port, advertised, users, properties).await
    }

    /// As [`Kafka::with_acls`], with a fault proxy before the users' listener.
    pub async fn with_acls_behind_proxy(users: &[&str], properties: &[&str]) -> (Self, Proxy) {
        let port = ports::free();
        let proxy = Proxy::to(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await;
        let kafka = Self::start_with_users(port, proxy.addr(), users, properties).await;
        (kafka, proxy)
    }

    async fn start_with_users(
        port: u16,
        advertised: SocketAddr,
        users: &[&str],
        properties: &[&str],
    ) -> Self {
        let listener = Listener {
            name: "USERS",
            port,
            advertised,
        };
        let mut all = acls::properties(users);
        all.extend(properties.iter().map(|line| (*line).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let mut kafka = Self::start(Some(listener), &all).await;
        kafka.users = Some(advertised.to_string());
        kafka
    }

    async fn start(second: Option<Listener>, properties: &[&str]) -> Self {
        let folder = process::folder("kafka");
        let (port, controller) = (ports::free(), ports::free());
        let mut listeners =
            format!("PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}");
        let mut advertised = format!("PLAINTEXT://127.0.0.1:{port}");
        if let Some(Listener {
            name,
            port,
            advertised: there,
        }) = second
        {
            listeners += &format!(",{name}://127.0.0.1:{port}");
            advertised += &format!(",{name}://{there}");
        }
        let text = format!(
            "{}\nlisteners={listeners}\nadvertised.listeners={advertised}\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\nlog.dirs={}\n{}\n",
            include_str!("kafka.properties"),
            folder.join("data").display(),
            properties.join("\n"),
        );
        let file = folder.join("server.properties");
        std::fs::write(&file, text).expect("the temporary folder is writable");
        format_data(&file);
        let mut kafka = Self {
            brokers: format!("127.0.0.1:{port}"),
            users: None,
            local: Some(Local {
                process: spawn(&file),
                properties: file,
            }),
        };
        kafka.wait_until_it_answers().await;
        kafka
    }

    /// `host:port,…`, for clients.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// As [`brokers`](Self::brokers), of the users' listener.
    ///
    /// # Panics
    /// When it was not made by [`Kafka::with_acls`].
    pub fn users_brokers(&self) -> &str {
        self.users.as_deref().expect("made with_acls")
    }

    /// Everything that is in these topics now, committed or not. A topic that does not exist holds
    /// nothing. Records of one partition are in order; partitions and topics follow each other.
    pub async fn records(&self, topics: &[&str]) -> Vec<Record> {
        consumer::read_to_end(&self.brokers, topics, Isolation::ReadUncommitted).await
    }

    /// As [`Kafka::records`], without what belongs to open or aborted transactions.
    pub async fn committed_records(&self, topics: &[&str]) -> Vec<Record> {
        consumer::read_to_end(&self.brokers, topics, Isolation::ReadCommitted).await
    }

    /// Reads these topics from their beginnings until at least `count` records are there.
    ///
    /// # Panics
    /// When that takes longer than [`PATIENCE`].
    pub async fn wait_for_records(&self, topics: &[&str], count: usize) -> Vec<Record> {
        let what = format!("{count} records");
        self.wait_until(topics, &what, |records| records.len() >= count)
            .await
    }

    /// Reads these topics from their beginnings, as records come, until `enough` says so of all
    /// read so far.
    ///
    /// # Panics
    /// When that takes longer than [`PATIENCE`], naming `what` was awaited and what was there.
    pub async fn wait_until(
        &self,
        topics: &[&str],
        what: &str,
        enough: impl FnMut(&[Record]) -> bool,
    ) -> Vec<Record> {
        consumer::read_until(
            &self.brokers,
            topics,
            Isolation::ReadUncommitted,
            what,
            enough,
        )
        .await
    }

    /// Records of these topics as they come, from their beginnings, over restarts of the broker.
    pub fn tail(
        &self,
        topics: &[&str],
        isolation: Isolation,
    ) -> tokio::sync::mpsc::Receiver<Record> {
        consumer::tail(&self.brokers, topics, isolation)
    }

    /// Creates a topic with `name=value` settings.
    pub async fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let results = self
            .admin()
            .create_topics([&topic], &AdminOptions::new())
            .await;
        for result in results.expect("the broker answers") {
            result.unwrap_or_else(|(name, error)| panic!("cannot create {name}: {error}"));
        }
        // The controller has made it; the broker may learn of it later.
        eventually(PATIENCE, &format!("{name} is there"), async || {
            self.partitions(name).await
        })
        .await;
    }

    /// Sets `name=value` settings of a topic, at run time; its others go back to their defaults.
    pub async fn alter_topic(&self, name: &str, settings: &[(&str, &str)]) {
        let mut alteration = AlterConfig::new(ResourceSpecifier::Topic(name));
        for (key, value) in settings {
            alteration = alteration.set(key, value);
        }
        let results = self
            .admin()
            .alter_configs([&alteration], &AdminOptions::new())
            .await;
        for result in results.expect("the broker answers") {
            result.unwrap_or_else(|(_, error)| panic!("cannot alter {name}: {error}"));
        }
    }

    pub async fn delete_topic(&self, name: &str) {
        let results = self
            .admin()
            .delete_topics(&[name], &AdminOptions::new())
            .await;
        for result in results.expect("the broker answers") {
            result.unwrap_or_else(|(name, error)| panic!("cannot delete {name}: {error}"));
        }
    }

    /// Deletes all records of a topic that are there now; its partitions begin where they end. Records of
    /// a compacted topic can only be deleted while it is not: afterwards the topic has these `settings`
    /// and no others.
    pub async fn delete_records(&self, name: &str, settings: &[(&str, &str)]) {
        self.alter_topic(name, &[("cleanup.policy", "delete")])
            .await;
        let partitions = self.partitions(name).await.expect("the topic is there");
        let mut until = TopicPartitionList::new();
        for partition in 0..i32::try_from(partitions).expect("few") {
            until
                .add_partition_offset(name, partition, Offset::End)
                .expect("a valid offset");
        }
        // The brokers hear a little later that it is allowed.
        eventually(PATIENCE, "the records are deleted", async || {
            let admin = self.admin();
            let deleted = admin.delete_records(&until, &AdminOptions::new()).await;
            let deleted = deleted.expect("the broker answers");
            let is_done = |element: &TopicPartitionListElem<'_>| element.error().is_ok();
            deleted.elements().iter().all(is_done).then_some(())
        })
        .await;
        self.alter_topic(name, settings).await;
    }

    /// Writes one record and waits until it is acknowledged.
    ///
    /// # Panics
    /// When the broker refuses it.
    pub async fn produce(&self, topic: &str, key: &str, value: &str) {
        self.produce_record(topic, BaseRecord::to(topic).key(key).payload(value))
            .await;
    }

    /// As [`produce`](Self::produce), without a value.
    pub async fn tombstone(&self, topic: &str, key: &str) {
        self.produce_record(topic, BaseRecord::<str, str>::to(topic).key(key))
            .await;
    }

    async fn produce_record(&self, topic: &str, record: BaseRecord<'_, str, str>) {
        let producer: BaseProducer<LastError> = self
            .client_config()
            .create_with_context(LastError::default())
            .expect("a plain configuration is valid");
        producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("an empty queue takes it");
        let flushed = tokio::task::spawn_blocking(move || {
            producer.flush(PATIENCE)?;
            let error = producer
                .context()
                .0
                .lock()
                .expect("no holder panics")
                .take();
            error.map_or(Ok(()), Err)
        });
        let result = flushed.await.expect("flushing does not panic");
        result.unwrap_or_else(|error| panic!("not produced to {topic}: {error}"));
    }

    /// How many partitions a topic has; `None` when it does not exist.
    pub async fn partitions(&self, topic: &str) -> Option<usize> {
        consumer::partitions(&self.brokers, topic).await
    }

    /// A client for everything else that an administrator may ask.
    pub fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client_config()
            .create()
            .expect("a plain configuration is valid")
    }

    /// The configuration every client of this broker begins with.
    pub fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// Kills it as a crash does; [`Kafka::restart`] brings it back.
    pub fn kill9(&mut self) {
        self.local_mut().process.kill9();
    }

    /// Freezes it: connections stay, nothing answers.
    pub fn stop_signal(&mut self) {
        self.local_mut().process.signal(Signal::STOP);
    }

    /// Ends [`Kafka::stop_signal`].
    pub fn cont(&mut self) {
        self.local_mut().process.signal(Signal::CONT);
    }

    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        let local = self.local.as_ref().expect(NOT_OURS);
        local.properties.with_file_name("data")
    }

    /// Removes what it remembers of idempotent producers beside the records, while it does not run.
    pub fn forget_producers(&self) {
        let folders = std::fs::read_dir(self.data()).expect("its data is there");
        for folder in folders.flatten().map(|entry| entry.path()) {
            if !folder.is_dir() || folder.to_string_lossy().contains("__cluster_metadata") {
                continue;
            }
            let files = std::fs::read_dir(folder).expect("a folder");
            for file in files.flatten().map(|entry| entry.path()) {
                if file.extension().is_some_and(|ext| ext == "snapshot") {
                    std::fs::remove_file(file).expect("it can be removed");
                }
            }
        }
    }

    /// Starts it again (killing it first where it still runs), on the same data and ports.
    pub async fn restart(&mut self) {
        let local = self.local_mut();
        local.process.kill9();
        local.process = spawn(&local.properties);
        self.wait_until_it_answers().await;
    }

    /// The broker's own log: warnings and errors.
    pub fn log(&self) -> String {
        let local = self.local.as_ref().expect(NOT_OURS);
        local.process.output()
    }

    async fn wait_until_it_answers(&mut self) {
        let brokers = self.brokers.clone();
        eventually(PATIENCE, "kafka answers", async || {
            let process = &mut self.local_mut().process;
            if let Some(status) = process.exit_status() {
                panic!("kafka ended with {status}:\n{}", process.output());
            }
            consumer::answers(&brokers).await.then_some(())
        })
        .await;
    }

    fn local_mut(&mut self) -> &mut Local {
        self.local.as_mut().expect(NOT_OURS)
    }
}

/// What the last delivery report complained of.
#[derive(Default)]
struct LastError(Mutex<Option<KafkaError>>);

impl ClientContext for LastError {}

impl ProducerContext for LastError {
    type DeliveryOpaque = ();

    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = report {
            *self.0.lock().expect("no holder panics") = Some(error.clone());
        }
    }
}

const NOT_OURS: &str = "the shared broker is not to be broken: use Kafka::dedicated";

/// A virtual machine that starts fast and stays small: throughput is not what tests are about.
fn java() -> Command {
    let mut java = Command::new("java");
    java.args([
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-XX:-UsePerfData",
        "-Xshare:auto",
        "-Xmx512m",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        &cache::programs().kafka_classpath,
    ]);
    java
}

fn format_data(properties: &Path) {
    let output = java()
        .args([
            "kafka.tools.StorageTool",
            "format",
            "-t",
            "tailwaterTestCluster00",
            "-c",
        ])
        .arg(properties)
        .stdin(Stdio::null())
        .output()
        .expect("java 17 is installed");
    assert!(
        output.status.success(),
        "kafka cannot format its folder:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn spawn(properties: &Path) -> Process {
    Process::spawn("kafka", java().arg("kafka.Kafka").arg(properties))
}
