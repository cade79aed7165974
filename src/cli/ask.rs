//! Asks the instance that runs here: `health`, as a container's health check does, `status`, `pause`, …

use super::http::{DEADLINE, reachable, send};
use crate::api::escaped;
use crate::config::{Endpoint, Http, Secret};
use serde_json::Value;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

/// How long `pause`, `resume` and `stop` wait for what they asked for.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const POLL: Duration = Duration::from_millis(100);
/// A call that stops is answered at the end, or by then.
const HELD: Duration = Duration::from_secs(25);
/// The exit code of an answer that is no.
pub(super) const NO: u8 = 1;

/// The instance here.
#[derive(Debug)]
pub(super) struct Instance {
    address: SocketAddr,
    token: Option<Secret>,
    /// The streams that it should have, where the environment tells them.
    streams: Vec<String>,
    /// Whether a worker is meant.
    is_worker: bool,
}

/// Why the answer is no, and the exit code that says so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) sentence: String,
    pub(super) exit: u8,
}

impl From<String> for Refusal {
    fn from(sentence: String) -> Self {
        Self { sentence, exit: NO }
    }
}

impl Instance {
    /// The one that listens at this address.
    pub(super) fn at(endpoint: &Endpoint) -> Result<Self, String> {
        match &endpoint.http {
            Http::Off => Err("HTTP_ADDR=off: there is no server to ask".to_owned()),
            Http::Asked(address) | Http::Default(address) => Ok(Self {
                address: reachable(*address),
                token: endpoint.token.clone(),
                streams: endpoint.streams.clone(),
                is_worker: false,
            }),
        }
    }

    /// The same, where a worker is meant.
    pub(super) fn of_worker(&self) -> Self {
        Self {
            address: self.address,
            token: self.token.clone(),
            streams: Vec::new(),
            is_worker: true,
        }
    }

    /// Whether `/health/ready` says yes; its body, or why not.
    pub(super) fn ready(&self) -> Result<String, String> {
        let (status, body) = self.request("GET", "/health/ready", "", DEADLINE)?;
        let line = body.lines().next().unwrap_or_default().trim().to_owned();
        self.is_meant(&serde_json::from_str(&line).unwrap_or_default())?;
        if status == 200 {
            Ok(line)
        } else {
            Err(format!("not ready: {status} {line}"))
        }
    }

    /// The JSON at `path`.
    pub(super) fn get(&self, path: &str) -> Result<Value, String> {
        let (_, body) = self.request("GET", path, "", DEADLINE)?;
        serde_json::from_str(&body).map_err(|_| format!("{path}: this is no Tailwater"))
    }

    /// Whether the instance that gave this answer is the one that is meant: several may run here, and one
    /// that found its port taken has none.
    pub(super) fn is_meant(&self, answer: &Value) -> Result<(), String> {
        let theirs = streams_of(answer);
        let is_meant = |stream: &&str| self.streams.iter().any(|ours| ours == stream);
        if self.streams.is_empty() || theirs.is_empty() || theirs.iter().any(is_meant) {
            return Ok(());
        }
        Err(format!(
            "http://{} is the instance of {}, and this environment is of {}: set HTTP_ADDR to where that \
             one listens",
            self.address,
            named(&theirs),
            named(&self.streams)
        ))
    }

    /// A call that changes something.
    pub(super) fn post(&self, path: &str, body: &str) -> Result<(), String> {
        self.look()?;
        match self.request("POST", path, body, DEADLINE)? {
            (200..=299, _) => Ok(()),
            (status, answer) => Err(reason(status, &answer)),
        }
    }

    /// The same for a call under `/api`, with its answer.
    pub(super) fn call(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.look()?;
        match self.request("POST", path, &body.to_string(), HELD)? {
            (200, answer) => {
                serde_json::from_str(&answer).map_err(|_| format!("{path}: this is no Tailwater"))
            }
            (status, answer) => Err(reason(status, &answer)),
        }
    }

    /// Looks who answers, before that one is changed.
    fn look(&self) -> Result<(), String> {
        let live = self.get("/health/live")?;
        if live["worker"].is_string() != self.is_worker {
            let (there, command) = match self.is_worker {
                true => ("no worker", "tailwater"),
                false => ("a worker", "tailwater worker"),
            };
            return Err(format!(
                "http://{} is {there}: give `{command}` that command, or set HTTP_ADDR to where the other one listens",
                self.address
            ));
        }
        match streams_of(&live).is_empty() && !self.is_worker {
            false => self.is_meant(&live),
            true => Err(format!("http://{}: this is no Tailwater", self.address)),
        }
    }

    /// Pauses the streams that are meant or lets them run, and waits until all do.
    pub(super) fn set_paused(
        &self,
        is_paused: bool,
        stream: Option<&str>,
    ) -> Result<String, String> {
        let path = match is_paused {
            true => "/admin/pause",
            false => "/admin/resume",
        };
        self.post(&of_stream(path, stream), "")?;
        let end = Instant::now() + PATIENCE;
        let live = of_stream("/health/live", stream);
        while Instant::now() < end {
            if let Ok(live) = self.get(&live) {
                let several = live["streams"].as_array();
                let states: Vec<_> = several.map_or(vec![&live], |all| all.iter().collect());
                let is_elsewhere =
                    |live: &&Value| live["state"] == "standby" || live["state"] == "unowned";
                let is_so = |live: &&Value| {
                    is_elsewhere(live)
                        || ((live["state"] == "paused") == is_paused && live["state"] != "draining")
                };
                if states.iter().all(is_so) {
                    let is_cut_short = states.iter().any(|live| live["drained"] == false);
                    return Ok(match (is_paused, is_cut_short) {
                        (true, false) => "paused: all that was read is delivered and committed",
                        (true, true) => {
                            "paused, but kafka did not acknowledge the last records in time: they come again"
                        }
                        (false, _) => "resumed at the checkpoint",
                    }
                    .to_owned());
                }
            }
            thread::sleep(POLL);
        }
        Err(not_yet())
    }

    /// Lets the process drain, and waits until it is gone: it tells how that went, and the exit code is its
    /// own.
    pub(super) fn stop(&self) -> Result<String, Refusal> {
        self.look()?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            match self.request("POST", "/admin/stop?wait=true", "", HELD) {
                Ok((200, answer)) => {
                    let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
                    if let Some(outcome) = outcome(&answer["data"]["ended"]) {
                        return outcome;
                    }
                }
                Ok((status, answer)) => return Err(reason(status, &answer).into()),
                // An answer was lost. Was the instance, too?
                Err(_) => {
                    if self.get("/health/live").is_err() {
                        let sentence = "the instance has ended without saying how: its exit code and its \
                                        last log line tell";
                        return Err(sentence.to_owned().into());
                    }
                }
            }
            thread::sleep(POLL);
        }
        Err(not_yet().into())
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        body: &str,
        deadline: Duration,
    ) -> Result<(u16, String), String> {
        let address = self.address;
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        if method == "POST" {
            head += "Content-Type: application/json\r\n";
            head += &format!("Content-Length: {}\r\n", body.len());
            if let Some(token) = &self.token {
                head += &format!("Authorization: Bearer {}\r\n", token.expose());
            }
        }
        send(address, &format!("{head}\r\n{body}"), deadline)
            .map_err(|error| format!("http://{address}: {error}"))
    }
}

/// The ids of the streams that an instance says it has.
fn streams_of(answer: &Value) -> Vec<&str> {
    let several = answer["streams"].as_array().into_iter().flatten();
    let ids = several.filter_map(|stream| stream["stream"].as_str());
    answer["stream"].as_str().into_iter().chain(ids).collect()
}

fn named<S: AsRef<str>>(streams: &[S]) -> String {
    let names: Vec<_> = streams.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [only] => format!("the stream {only}"),
        _ => format!("the streams {}", names.join(", ")),
    }
}

/// The path of a call that is about one stream, or about all.
pub(super) fn of_stream(path: &str, stream: Option<&str>) -> String {
    match stream {
        Some(name) => query(path, &[("stream", name)]),
        None => path.to_owned(),
    }
}

/// The path of a call with these values in its query.
pub(super) fn query(path: &str, values: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = values
        .iter()
        .map(|(name, value)| format!("{name}={}", escaped(value)))
        .collect();
    format!("{path}?{}", pairs.join("&"))
}

/// Why a call was refused, in the instance's own words where it has some.
fn reason(status: u16, answer: &str) -> String {
    let message = serde_json::from_str::<Value>(answer)
        .ok()
        .and_then(|answer| {
            let told = answer.get("message").or_else(|| answer.get("detail"))?;
            Some(told.as_str()?.to_owned())
        });
    message.unwrap_or_else(|| format!("refused: {status} {answer}"))
}

/// What an instance says of its end; none while it continues.
fn outcome(ended: &Value) -> Option<Result<String, Refusal>> {
    let exit = ended["exitCode"].as_u64()?;
    if exit == 0 {
        return Some(Ok("stopped".to_owned()));
    }
    let word = |field: &str| ended[field].as_str().unwrap_or("unknown").to_owned();
    Some(Err(Refusal {
        sentence: format!(
            "the instance has ended with {} (exit code {exit}): {}",
            word("code"),
            word("message")
        ),
        exit: u8::try_from(exit).unwrap_or(NO),
    }))
}

pub(super) fn not_yet() -> String {
    format!("not yet so after {} s", PATIENCE.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// Asks for the stream a:shop.
    fn ask(http: &Http) -> Result<String, String> {
        let endpoint = Endpoint {
            http: http.clone(),
            token: None,
            streams: vec!["a:shop".to_owned()],
        };
        Instance::at(&endpoint)?.ready()
    }

    /// A server that gives one answer and the address to ask.
    fn server(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /health/ready HTTP/1.1\r\nHost: "));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn a_ready_instance_answers_with_its_body() {
        let address = server("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{\"a\":1}");
        assert_eq!(ask(&Http::Asked(address)), Ok("{\"a\":1}".to_owned()));
    }

    #[test]
    fn an_instance_that_is_not_ready_is_an_error_with_its_reason() {
        let address = server("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"kafka\":false}");
        let reason = ask(&Http::Asked(address)).unwrap_err();
        assert_eq!(reason, "not ready: 503 {\"kafka\":false}");
    }

    #[test]
    fn nobody_there_and_no_http_are_errors() {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert!(ask(&Http::Asked(address)).unwrap_err().contains("refused"));
        let address = server("SSH-2.0\r\n\r\n");
        assert!(
            ask(&Http::Asked(address))
                .unwrap_err()
                .contains("no HTTP answer")
        );
        assert!(ask(&Http::Off).unwrap_err().contains("HTTP_ADDR=off"));
    }

    #[test]
    fn the_instance_of_another_stream_is_not_taken_for_the_one_that_is_meant() {
        let address = server("HTTP/1.1 200 OK\r\n\r\n{\"stream\":\"b:shop\"}");
        let reason = ask(&Http::Default(address)).unwrap_err();
        for word in ["a:shop", "b:shop", "HTTP_ADDR"] {
            assert!(reason.contains(word), "{reason}");
        }
        let address = server("HTTP/1.1 200 OK\r\n\r\n{\"stream\":\"a:shop\"}");
        assert!(ask(&Http::Default(address)).is_ok());
    }

    #[test]
    fn an_end_is_told_as_the_instance_tells_it() {
        assert_eq!(outcome(&Value::Null), None);
        let stopped = outcome(&json!({"exitCode": 0})).unwrap();
        assert_eq!(stopped, Ok("stopped".to_owned()));
        let ended = json!({"exitCode": 9, "code": "drain_timed_out", "message": "late"});
        let refusal = outcome(&ended).unwrap().unwrap_err();
        let sentence = "the instance has ended with drain_timed_out (exit code 9): late";
        assert_eq!((refusal.sentence.as_str(), refusal.exit), (sentence, 9));
    }
}
