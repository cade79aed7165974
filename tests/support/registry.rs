//! A real registry of schemas, with Confluent's interface.

use super::process::{self, Process};
use super::{PATIENCE, cache, eventually, http, ports};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use tokio::sync::OnceCell;

/// An Apicurio registry, killed when dropped. What it holds outlives its process.
pub struct Registry {
    process: Process,
    addr: SocketAddr,
    folder: PathBuf,
}

const PATH: &str = "/apis/ccompat/v7";

/// The one that tests share which do not break it.
pub async fn registry() -> &'static Registry {
    static SHARED: OnceCell<Registry> = OnceCell::const_new();
    SHARED.get_or_init(Registry::start).await
}

impl Registry {
    /// Starts one, and waits until it answers.
    pub async fn start() -> Self {
        let (folder, port) = (process::folder("registry"), ports::free());
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let registry = Self {
            process: spawn(addr, &folder).await,
            addr,
            folder,
        };
        registry.wait().await;
        registry
    }

    async fn wait(&self) {
        eventually(PATIENCE, "the registry answers", async || {
            let reply = self.ask("/schemas/types").await?;
            (reply.status == 200).then_some(())
        })
        .await;
    }

    async fn ask(&self, path: &str) -> Option<http::Reply> {
        http::get(self.addr, &format!("{PATH}{path}")).await.ok()
    }

    /// `SCHEMA_REGISTRY_URL`.
    pub fn url(&self) -> String {
        format!("http://{}{PATH}", self.addr)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What is at a path of Confluent's interface.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn get(&self, path: &str) -> Value {
        let reply = self.ask(path).await.expect("the registry answers");
        reply.json()
    }

    /// Sends something to a path of Confluent's interface.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> http::Reply {
        let body = body.to_string();
        let request = format!(
            "{method} {PATH}{path} HTTP/1.0\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.addr,
            body.len()
        );
        let reply = http::send(self.addr, &request).await;
        reply.expect("the registry answers")
    }

    /// Registers a schema by hand.
    ///
    /// # Panics
    /// When the registry refuses it.
    pub async fn register(&self, subject: &str, kind: &str, schema: &str) {
        let body = json!({"schema": schema, "schemaType": kind});
        let path = format!("/subjects/{subject}/versions");
        let reply = self.send("POST", &path, &body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }

    /// Has the registry refuse a version that readers of it could not read older values by.
    ///
    /// # Panics
    /// When the registry refuses that.
    pub async fn demand_compatibility(&self, subject: &str) {
        let body = json!({"compatibility": "BACKWARD"});
        let reply = self.send("PUT", &format!("/config/{subject}"), &body).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
    }

    /// The schema of a number, as text.
    pub async fn schema(&self, id: i32) -> String {
        let found = self.get(&format!("/schemas/ids/{id}")).await;
        found["schema"].as_str().unwrap().to_owned()
    }

    /// SIGKILL.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts it again, with what it held, and waits until it answers.
    pub async fn start_again(&mut self) {
        self.process = spawn(self.addr, &self.folder).await;
        self.wait().await;
    }
}

/// What Java's deserializers are told of Confluent's framing.
pub const CONFLUENT: [(&str, &str); 2] = [("as-confluent", "true"), ("use-id", "contentId")];
/// The same of headers.
pub const HEADERS: [(&str, &str); 1] = [("headers.enabled", "true")];

/// Reads a topic from its beginning as a consumer in Java does, with a deserializer (of `io.apicurio.registry.serde`)
/// and its properties: one line for each value.
pub async fn read_in_java(
    kafka: &super::Kafka,
    registry: &Registry,
    topic: &str,
    count: usize,
    deserializer: &str,
    properties: &[(&str, &str)],
) -> Vec<String> {
    let installed = tokio::task::spawn_blocking(cache::registry).await.unwrap();
    let kafka_classpath = &cache::programs().kafka_classpath;
    let classpath = format!(
        "{}:{kafka_classpath}",
        installed.join("readers/*").display()
    );
    let mut command = Command::new("java");
    command
        .args(["-Xmx200m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
        .args(["-cp", &classpath])
        .arg("org.apache.kafka.tools.consumer.ConsoleConsumer")
        .args(["--bootstrap-server", kafka.brokers(), "--topic", topic])
        .args(["--from-beginning", "--max-messages", &count.to_string()])
        .args(["--timeout-ms", "30000"])
        .arg("--value-deserializer")
        .arg(format!("io.apicurio.registry.serde.{deserializer}"));
    let url = format!("http://{}/apis/registry/v2", registry.addr);
    for (name, value) in [("url", url.as_str())].iter().chain(properties) {
        let property = format!("value.deserializer.apicurio.registry.{name}={value}");
        command.args(["--property", &property]);
    }
    let mut process = Process::spawn("reader", &mut command);
    process.wait_exit(PATIENCE).await;
    let output = process.output();
    output.lines().map(str::to_owned).collect()
}

async fn spawn(addr: SocketAddr, folder: &std::path::Path) -> Process {
    let installed = tokio::task::spawn_blocking(cache::registry).await.unwrap();
    let mut command = Command::new("java");
    command
        .args(["-Xmx400m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .args(["-jar", "apicurio-registry-app-3.0.9-runner.jar"])
        .current_dir(installed.join("app"))
        .env("QUARKUS_HTTP_HOST", "127.0.0.1")
        .env("QUARKUS_HTTP_PORT", addr.port().to_string())
        .env("APICURIO_STORAGE_KIND", "sql")
        .env("APICURIO_STORAGE_SQL_KIND", "h2")
        .env(
            "APICURIO_DATASOURCE_URL",
            format!("jdbc:h2:file:{}/registry", folder.display()),
        );
    Process::spawn("registry", &mut command)
}
