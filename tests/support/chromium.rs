//! A real headless Chromium, steered by the protocol of its developer tools
//! (<https://chromedevtools.github.io/devtools-protocol/>), over its WebSocket.

use super::process::{self, Process};
use super::{PATIENCE, eventually};
use futures_util::SinkExt;
use futures_util::stream::{SplitSink, StreamExt};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Answers = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// The browser and axe-core's file, by `scripts/browser`.
fn programs() -> &'static (PathBuf, PathBuf) {
    static PROGRAMS: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/browser");
        let output = Command::new(script).output().expect("a shell script");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines = text.lines().map(PathBuf::from);
        match (output.status.success(), lines.next(), lines.next()) {
            (true, Some(browser), Some(axe)) => (browser, axe),
            _ => panic!(
                "`scripts/browser` failed:\n{}",
                String::from_utf8_lossy(&output.stderr)
            ),
        }
    })
}

/// One window.
pub struct Chromium {
    _process: Process,
    sink: tokio::sync::Mutex<SplitSink<Socket, Message>>,
    answers: Answers,
    faults: Arc<Mutex<Vec<String>>>,
    asked: Arc<Mutex<Vec<String>>>,
    next: AtomicU64,
    /// Of the window, among those of the browser.
    session: OnceLock<String>,
}

impl Chromium {
    /// Opens a window of this size, in pixels, at a page.
    ///
    /// # Panics
    /// When there is no browser, or the page is not loaded.
    pub async fn open(url: &str, (width, height): (u32, u32)) -> Self {
        let profile = process::folder("chromium");
        let mut command = Command::new(&programs().0);
        command
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--no-first-run",
                "--disable-extensions",
                "--disable-background-networking",
            ])
            .args([
                "--remote-debugging-port=0",
                "--hide-scrollbars",
                "about:blank",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("--window-size={width},{height}"))
            .args(["--log-level=3"])
            .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
            // It would leave its own files in the home of whoever runs the tests.
            .env("HOME", &profile);
        let process = Process::spawn("chromium", &mut command);
        let target = eventually(PATIENCE, "Chromium listens", async || {
            let text = std::fs::read_to_string(profile.join("DevToolsActivePort")).ok()?;
            let (port, path) = text.split_once('\n')?;
            path.starts_with('/')
                .then(|| format!("ws://127.0.0.1:{port}{}", path.trim()))
        })
        .await;
        let (socket, _) = tokio_tungstenite::connect_async(target)
            .await
            .expect("it listens");
        let (sink, mut stream) = socket.split();
        let answers = Answers::default();
        let (faults, asked) = (
            Arc::<Mutex<Vec<String>>>::default(),
            Arc::<Mutex<Vec<String>>>::default(),
        );
        let chromium = Self {
            _process: process,
            sink: tokio::sync::Mutex::new(sink),
            answers: Arc::clone(&answers),
            faults: Arc::clone(&faults),
            asked: Arc::clone(&asked),
            next: AtomicU64::new(1),
            session: OnceLock::new(),
        };
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                let Ok(text) = message.to_text() else {
                    continue;
                };
                let Ok(message) = serde_json::from_str::<Value>(text) else {
                    continue;
                };
                match message["id"].as_u64() {
                    Some(id) => {
                        let waiting = answers.lock().expect("no holder panics").remove(&id);
                        if let Some(waiting) = waiting {
                            let _ = waiting.send(message);
                        }
                    }
                    None => note(&message, &faults, &asked),
                }
            }
        });
        let window = chromium
            .command("Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let attach = json!({"targetId": window["targetId"], "flatten": true});
        let attached = chromium.command("Target.attachToTarget", attach).await;
        let session = attached["sessionId"]
            .as_str()
            .expect("a session")
            .to_owned();
        chromium.session.set(session).expect("once");
        for domain in ["Page", "Runtime", "Log", "Network"] {
            chromium
                .command(&format!("{domain}.enable"), json!({}))
                .await;
        }
        chromium.size(width, height).await;
        chromium.command("Page.navigate", json!({"url": url})).await;
        chromium
            .until("document.readyState === 'complete' && location.href !== 'about:blank'")
            .await;
        chromium
    }

    async fn command(&self, method: &str, params: Value) -> Value {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.answers
            .lock()
            .expect("no holder panics")
            .insert(id, answer);
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = self.session.get() {
            message["sessionId"] = session.as_str().into();
        }
        let message = Message::text(message.to_string());
        let sent = self.sink.lock().await.send(message).await;
        sent.expect("Chromium lives");
        let reply = tokio::time::timeout(PATIENCE, answered).await;
        let reply = reply.expect("Chromium answers").expect("Chromium lives");
        assert!(reply["error"].is_null(), "{method}: {}", reply["error"]);
        reply["result"].clone()
    }

    /// What an expression gives; a promise is waited for.
    ///
    /// # Panics
    /// When it throws.
    pub async fn evaluate(&self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let result = self.command("Runtime.evaluate", asked).await;
        assert!(
            result["exceptionDetails"].is_null(),
            "{expression}: {}",
            result["exceptionDetails"]
        );
        result["result"]["value"].clone()
    }

    /// Waits until an expression gives something true, and gives that.
    pub async fn until(&self, expression: &str) -> Value {
        eventually(PATIENCE, expression, async || {
            let value = self.evaluate(expression).await;
            let is_true =
                !matches!(value, Value::Null | Value::Bool(false)) && value != 0 && value != "";
            is_true.then_some(value)
        })
        .await
    }

    /// Waits until this text can be read on the page.
    pub async fn reads(&self, text: &str) {
        self.until(&format!(
            "document.body.innerText.includes({})",
            json!(text)
        ))
        .await;
    }

    /// Clicks what has this name, by its text or its label, once it is there and can be clicked.
    pub async fn click(&self, name: &str) {
        let name = json!(name);
        let script = format!(
            "(() => {{
                const all = [...(document.querySelector('dialog[open]') ?? document).querySelectorAll('button, a, summary, label')];
                const found = all.find((one) => (one.getAttribute('aria-label') ?? one.textContent).trim() === {name} && !one.disabled && one.offsetParent);
                found?.click();
                return Boolean(found);
            }})()"
        );
        self.until(&script).await;
    }

    /// Writes a text into the field with this label, as a person would.
    pub async fn fill(&self, label: &str, text: &str) {
        let (label, text) = (json!(label), json!(text));
        let script = format!(
            "(() => {{
                const within = document.querySelector('dialog[open]') ?? document;
                const label = [...within.querySelectorAll('label')].find((one) => one.textContent.trim() === {label});
                const field = label?.control;
                if (!field) return false;
                field.focus();
                field.value = {text};
                field.dispatchEvent(new Event('input', {{bubbles: true}}));
                field.dispatchEvent(new Event('change', {{bubbles: true}}));
                return true;
            }})()"
        );
        self.until(&script).await;
    }

    pub async fn press(&self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let code = if key == "Tab" { 9 } else { 13 };
            let text = if key == "Enter" { "\r" } else { "" };
            let event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.command("Input.dispatchKeyEvent", event).await;
        }
    }

    pub async fn size(&self, width: u32, height: u32) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    /// Prefers the dark or the light scheme.
    pub async fn scheme(&self, name: &str) {
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": name}]});
        self.command("Emulation.setEmulatedMedia", features).await;
    }

    /// A picture of the window, as PNG.
    pub async fn screenshot(&self) -> Vec<u8> {
        use base64::Engine as _;
        let shot = self
            .command("Page.captureScreenshot", json!({"format": "png"}))
            .await;
        let data = shot["data"].as_str().expect("a picture");
        base64::engine::general_purpose::STANDARD
            .decode(data)
            .expect("base64")
    }

    /// What axe-core finds that is serious or critical, in its words.
    pub async fn inaccessible(&self) -> Vec<String> {
        let axe = std::fs::read_to_string(&programs().1).expect("scripts/browser has it");
        self.evaluate(&format!("{axe}; true")).await;
        let found = self
            .evaluate(
                "axe.run(document, {resultTypes: ['violations']}).then((run) => run.violations
                    .filter((one) => ['serious', 'critical'].includes(one.impact))
                    .flatMap((one) => one.nodes.map((node) => `${one.id}: ${node.html} ${node.failureSummary}`)))",
            )
            .await;
        serde_json::from_value(found).expect("a list of texts")
    }

    /// Errors in the console and exceptions that nobody caught, so far.
    pub fn faults(&self) -> Vec<String> {
        self.faults.lock().expect("no holder panics").clone()
    }

    /// The addresses of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.asked.lock().expect("no holder panics").clone()
    }
}

fn note(message: &Value, faults: &Mutex<Vec<String>>, asked: &Mutex<Vec<String>>) {
    let params = &message["params"];
    let fault = match message["method"].as_str() {
        Some("Runtime.exceptionThrown") => Some(params["exceptionDetails"].to_string()),
        Some("Runtime.consoleAPICalled") if params["type"] == "error" => {
            Some(params["args"].to_string())
        }
        // An answer that is an error is told there too, and is one of the server's.
        Some("Log.entryAdded")
            if params["entry"]["level"] == "error" && params["entry"]["source"] != "network" =>
        {
            Some(params["entry"].to_string())
        }
        Some("Network.requestWillBeSent") => {
            let url = params["request"]["url"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            asked.lock().expect("no holder panics").push(url);
            None
        }
        _ => None,
    };
    faults.lock().expect("no holder panics").extend(fault);
}
