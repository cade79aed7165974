//! A real registry of schemas, with Confluent's interface.

use super::process::{self, Process};
use super::{PATIENCE, cache, eventually, http, ports};
use serde_json::Value;
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

async fn spawn(addr: SocketAddr, folder: &std::path::Path) -> Process {
    let installed = tokio::task::spawn_blocking(cache::registry).await.unwrap();
    let mut command = Command::new("java");
    command
        .args(["-Xmx400m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .args(["-jar", "apicurio-registry-app-3.0.9-runner.jar"])
        .current_dir(installed)
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
