//! Asks the instance that runs here: `health`, as a container's health check does, `status`, `pause`, …

use crate::config::{Http, Secret};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// Below the usual time-out of a container's health check.
const DEADLINE: Duration = Duration::from_secs(3);
/// More than any answer has; what is beyond is not read.
const LIMIT: usize = 256 * 1024;
/// How long `pause`, `resume` and `stop` wait for what they asked for.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(100);

/// The instance here.
#[derive(Debug)]
pub(super) struct Instance {
    address: SocketAddr,
    token: Option<Secret>,
}

impl Instance {
    /// The one that listens at this address.
    pub(super) fn at(http: &Http, token: Option<Secret>) -> Result<Self, String> {
        match http {
            Http::Off => Err("HTTP_ADDR=off: there is no server to ask".to_owned()),
            Http::Asked(address) | Http::Default(address) => Ok(Self {
                address: reachable(*address),
                token,
            }),
        }
    }

    /// Whether `/health/ready` says yes; its body, or why not.
    pub(super) fn ready(&self) -> Result<String, String> {
        let (status, body) = self.request("GET", "/health/ready", "")?;
        let line = body.lines().next().unwrap_or_default().trim().to_owned();
        if status == 200 {
            Ok(line)
        } else {
            Err(format!("not ready: {status} {line}"))
        }
    }

    /// The JSON at `path`.
    pub(super) fn get(&self, path: &str) -> Result<serde_json::Value, String> {
        let (_, body) = self.request("GET", path, "")?;
        serde_json::from_str(&body).map_err(|_| format!("{path}: this is no Tailwater"))
    }

    /// A call that changes something.
    pub(super) fn post(&self, path: &str, body: &str) -> Result<(), String> {
        let (status, answer) = self.request("POST", path, body)?;
        if status == 200 {
            return Ok(());
        }
        let message = serde_json::from_str::<serde_json::Value>(&answer)
            .ok()
            .and_then(|answer| Some(answer.get("message")?.as_str()?.to_owned()));
        Err(message.unwrap_or_else(|| format!("refused: {status} {answer}")))
    }

    /// Pauses the stream or lets it go on, and waits until it does.
    pub(super) fn set_paused(&self, is_paused: bool) -> Result<String, String> {
        let path = match is_paused {
            true => "/admin/pause",
            false => "/admin/resume",
        };
        self.post(path, "")?;
        self.wait(|state| match state {
            Ok(state) => ((state == "paused") == is_paused && state != "draining").then_some(()),
            Err(_) => None,
        })?;
        Ok(match is_paused {
            true => "paused: all that was read is delivered and committed".to_owned(),
            false => "going on from the checkpoint".to_owned(),
        })
    }

    /// Lets the process drain, and waits until it is gone.
    pub(super) fn stop(&self) -> Result<String, String> {
        self.post("/admin/stop", "")?;
        self.wait(|state| state.is_err().then_some(()))?;
        Ok("stopped".to_owned())
    }

    fn wait(&self, until: impl Fn(Result<String, String>) -> Option<()>) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let live = self.get("/health/live");
            let state = live.map(|live| live["state"].as_str().unwrap_or_default().to_owned());
            if until(state).is_some() {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        Err(format!("not yet so after {} s", PATIENCE.as_secs()))
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
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
        send(address, &format!("{head}\r\n{body}"))
            .map_err(|error| format!("http://{address}: {error}"))
    }
}

/// A server that listens on every address is asked on the local one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn send(address: SocketAddr, request: &str) -> Result<(u16, String), String> {
    let start = Instant::now();
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)
        .map_err(|error| format!("{error}; no instance runs here, or its HTTP_ADDR is another"))?;
    stream
        .set_write_timeout(Some(DEADLINE))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    while answer.len() < LIMIT {
        let left = DEADLINE.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err("no answer in time".to_owned());
        }
        stream
            .set_read_timeout(Some(left))
            .map_err(|error| error.to_string())?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&chunk[..read]),
            Err(error) if is_timeout(&error) => return Err("no answer in time".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
    }
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| "no HTTP answer".to_owned())
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.split_whitespace();
    words
        .next()
        .filter(|version| version.starts_with("HTTP/"))?;
    Some((words.next()?.parse().ok()?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn ask(http: &Http) -> Result<String, String> {
        Instance::at(http, None)?.ready()
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
    fn an_instance_on_every_address_is_asked_on_the_local_one() {
        let local = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(local("0.0.0.0:3001"), "127.0.0.1:3001");
        assert_eq!(local("[::]:3001"), "[::1]:3001");
        assert_eq!(local("10.0.0.1:1"), "10.0.0.1:1");
    }
}
