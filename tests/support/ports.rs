//! Free ports for servers that must come back on the same one.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the range from which systems take the ports of outgoing connections. Inside it, a client
/// that retries while the server is down may be given the server's own port, connect to itself,
/// and keep the server from coming back.
const RANGE: std::ops::Range<u32> = 10_000..32_000;

/// A port of the loopback interface on which nothing listens; each call gives another.
pub fn free() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test processes that run side by side begin at different places.
    let start = std::process::id().wrapping_mul(7_919);
    let width = RANGE.end - RANGE.start;
    (0..width)
        .map(|_| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % width + RANGE.start)
        .map(|port| u16::try_from(port).expect("the range fits"))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}
