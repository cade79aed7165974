//! Kafka Connect with the connectors that others come from.

use super::process::{self, Process};
use super::{PATIENCE, cache, eventually, http, ports};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A worker of Connect, killed when dropped.
pub struct Connect {
    process: Process,
    addr: SocketAddr,
    offsets: PathBuf,
}

impl Connect {
    /// Starts a worker with no connectors yet.
    pub async fn start(kafka: &super::Kafka) -> Self {
        Self::start_with(kafka, None).await
    }

    /// The same, with the file in which a former one had its offsets.
    pub async fn start_with(kafka: &super::Kafka, offsets: Option<&Path>) -> Self {
        let peers = tokio::task::spawn_blocking(cache::peers).await.unwrap();
        let folder = process::folder("connect");
        let offsets = offsets.map_or_else(|| folder.join("offsets"), Path::to_owned);
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
        let properties = folder.join("worker.properties");
        let text = format!(
            "bootstrap.servers={}\nplugin.path={}\n\
             # Looking through all classes would take half a minute.\nplugin.discovery=service_load\n\
             offset.storage.file.filename={}\noffset.flush.interval.ms=1000\nlisteners=http://{addr}\n\
             key.converter=org.apache.kafka.connect.json.JsonConverter\n\
             value.converter=org.apache.kafka.connect.json.JsonConverter\n",
            kafka.brokers(),
            peers.display(),
            offsets.display(),
        );
        std::fs::write(&properties, text).expect("the temporary folder is writable");
        let mut command = Command::new("java");
        command
            .args(["-Xmx700m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
            .args(["-cp", &cache::programs().kafka_classpath])
            .arg("org.apache.kafka.connect.cli.ConnectStandalone")
            .arg(&properties);
        let connect = Self {
            process: Process::spawn("connect", &mut command),
            addr,
            offsets,
        };
        eventually(PATIENCE, "connect answers", async || {
            let reply = http::get(addr, "/connectors").await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
        connect
    }

    /// Makes a connector with these properties; with `offset`, it goes on from there.
    ///
    /// # Panics
    /// When Connect refuses it, with its words.
    pub async fn connector(&self, properties: &[(&str, &str)], offset: Option<Value>) {
        let config: serde_json::Map<_, _> = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let name = config["name"].as_str().unwrap().to_owned();
        let made = json!({"name": name, "config": config, "initial_state": "STOPPED"});
        self.call("POST", "/connectors", &made).await;
        if let Some(offset) = offset {
            let path = format!("/connectors/{name}/offsets");
            let offsets = json!({"offsets": [offset]});
            self.call("PATCH", &path, &offsets).await;
        }
        let path = format!("/connectors/{name}/resume");
        self.call("PUT", &path, &json!({})).await;
    }

    /// Makes a connector of what `POST /connectors` takes, and lets it run.
    pub async fn create(&self, body: &str, name: &str) {
        let body: Value = serde_json::from_str(body).unwrap();
        self.call("POST", "/connectors", &body).await;
        let path = format!("/connectors/{name}/resume");
        self.call("PUT", &path, &json!({})).await;
    }

    /// What Connect says of a connector.
    pub async fn configuration(&self, name: &str) -> String {
        let path = format!("/connectors/{name}");
        let reply = http::get(self.addr, &path).await.unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.body
    }

    /// Stops it as an operator does; the file in which it has stored its offsets.
    pub async fn end(mut self) -> PathBuf {
        self.process.signal(Signal::TERM);
        self.process.wait_exit(PATIENCE).await;
        self.offsets
    }

    async fn call(&self, method: &str, path: &str, body: &Value) {
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nhost: {}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.addr,
            body.len()
        );
        // A connector that was just made may not be stopped yet.
        eventually(PATIENCE, &format!("{method} {path}"), async || {
            let reply = http::send(self.addr, &request).await.ok()?;
            assert!(
                reply.status < 400 || reply.status == 409,
                "{method} {path}: {}",
                reply.body
            );
            (reply.status < 400).then_some(())
        })
        .await;
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        self.process.output()
    }
}
