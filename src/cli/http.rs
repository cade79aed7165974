//! One request to the instance here, over a socket of its own.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Below the usual time-out of a container's health check.
pub(super) const DEADLINE: Duration = Duration::from_secs(3);
/// So much of an answer is read: 20,000 schedules with all that they hold are less.
const LIMIT: usize = 128 << 20;
/// An answer that has begun may take so long to come whole.
const WHOLE: Duration = Duration::from_secs(60);

/// A server that listens on every address is asked on the local one.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Sends the request; status and body of the answer, which has `deadline` to begin.
pub(super) fn send(
    address: SocketAddr,
    request: &str,
    deadline: Duration,
) -> Result<(u16, String), String> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)
        .map_err(|error| format!("{error}; no instance runs here, or its HTTP_ADDR is another"))?;
    stream
        .set_write_timeout(Some(DEADLINE))
        .and_then(|()| stream.write_all(request.as_bytes()))
        .map_err(|error| error.to_string())?;
    let answer = read(&mut stream, deadline, LIMIT)?;
    parse(&answer)
}

fn read(stream: &mut TcpStream, deadline: Duration, limit: usize) -> Result<Vec<u8>, String> {
    let mut end = Instant::now() + deadline;
    let mut answer = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("no answer in time".to_owned());
        }
        stream
            .set_read_timeout(Some(left))
            .map_err(|error| error.to_string())?;
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(answer),
            Ok(read) => {
                if answer.is_empty() {
                    end += WHOLE;
                }
                answer.extend_from_slice(&chunk[..read]);
            }
            Err(error) if is_timeout(&error) => return Err("no answer in time".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
        if answer.len() > limit {
            return Err(format!(
                "the answer has more than {limit} bytes, which this command does not read; ask for less"
            ));
        }
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}

fn parse(answer: &[u8]) -> Result<(u16, String), String> {
    let text = String::from_utf8_lossy(answer);
    let (status, length, body) = parts(&text).ok_or("no HTTP answer")?;
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let came = at.map_or(0, |at| answer.len() - at - 4);
    match length.filter(|length| came < *length) {
        Some(length) => Err(format!(
            "the answer broke off after {came} of {length} bytes"
        )),
        None => Ok((status, body.to_owned())),
    }
}

/// Status, length where it says so, and body.
fn parts(answer: &str) -> Option<(u16, Option<usize>, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let mut words = lines.next()?.split_whitespace();
    words
        .next()
        .filter(|version| version.starts_with("HTTP/"))?;
    let status = words.next()?.parse().ok()?;
    let mut headers = lines.filter_map(|line| line.split_once(':'));
    let length = headers
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok());
    Some((status, length, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn an_instance_on_every_address_is_asked_on_the_local_one() {
        let local = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(local("0.0.0.0:3001"), "127.0.0.1:3001");
        assert_eq!(local("[::]:3001"), "[::1]:3001");
        assert_eq!(local("10.0.0.1:1"), "10.0.0.1:1");
    }

    /// A server that gives this answer to one request.
    fn server(answer: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 64];
            let _ = stream.read(&mut request).unwrap();
            // Whoever has read enough goes away.
            let _ = stream.write_all(&answer);
        });
        address
    }

    fn answer(body: &str, length: usize) -> Vec<u8> {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    }

    #[test]
    fn a_large_answer_is_read_whole_and_one_that_is_not_whole_is_none() {
        let body = "ä".repeat(1 << 20);
        let sent = send(server(answer(&body, body.len())), "GET / H\r\n", DEADLINE);
        let length = sent.map(|(status, read)| (status, read == body));
        assert_eq!(length, Ok((200, true)));
        let broken = send(server(answer("{\"a\":1}", 9)), "GET / H\r\n", DEADLINE);
        assert_eq!(
            broken,
            Err("the answer broke off after 7 of 9 bytes".to_owned())
        );
        let address = server(answer("123456", 6));
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / H\r\n").unwrap();
        let told = read(&mut stream, DEADLINE, 20).unwrap_err();
        assert!(told.contains("more than 20 bytes"), "{told}");
    }
}
