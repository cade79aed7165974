//! One request to the instance here, over a socket of its own.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Below the usual time-out of a container's health check.
pub(super) const DEADLINE: Duration = Duration::from_secs(3);
/// More than any answer has; what is beyond is not read.
const LIMIT: usize = 256 * 1024;

/// A server that listens on every address is asked on the local one.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Sends the request; status and body of the answer, which has `deadline` to come.
pub(super) fn send(
    address: SocketAddr,
    request: &str,
    deadline: Duration,
) -> Result<(u16, String), String> {
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
        let left = deadline.saturating_sub(start.elapsed());
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

    #[test]
    fn an_instance_on_every_address_is_asked_on_the_local_one() {
        let local = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(local("0.0.0.0:3001"), "127.0.0.1:3001");
        assert_eq!(local("[::]:3001"), "[::1]:3001");
        assert_eq!(local("10.0.0.1:1"), "10.0.0.1:1");
    }
}
