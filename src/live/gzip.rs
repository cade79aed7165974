//! `Content-Encoding: gzip` for streams that share what is sent: a batch is compressed once for all clients of a group.
//!
//! A client's stream is one gzip member (RFC 1952), since browsers read no second one. It consists of pieces that end at a
//! whole byte and refer to nothing before them, so that each fits behind any other; only the checksum at the end is each
//! client's own, put together from those of the pieces.

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use flate2::{Compress, Compression, Crc, FlushCompress};
use std::cell::RefCell;

/// Deflate, no name, no time, no word about the system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// A last block with nothing in it.
const LAST: [u8; 2] = [3, 0];
/// The most that a block takes that is not compressed (RFC 1951, 3.2.4).
const MOST_STORED: usize = 0xffff;
/// Compressing takes as long as copying the same to so many clients. For fewer it is not worth the time.
const WORTH_CLIENTS: usize = 16;
/// What is smaller, in bytes, becomes hardly smaller.
const WORTH_BYTES: usize = 512;

/// A text as a part of any stream.
#[derive(Debug)]
pub struct Piece {
    bytes: Bytes,
    crc: Crc,
}

impl Piece {
    /// Compressed where that is worth it for so many clients.
    pub fn new(text: &[u8], clients: usize) -> Self {
        let mut crc = Crc::new();
        crc.update(text);
        let is_worth_it = clients >= WORTH_CLIENTS && text.len() >= WORTH_BYTES;
        let bytes = match is_worth_it.then(|| compressed(text)).flatten() {
            Some(bytes) => bytes,
            None => stored(text),
        };
        Self {
            bytes: bytes.into(),
            crc,
        }
    }
}

/// In blocks as they are.
fn stored(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 5 * (text.len() / MOST_STORED + 1));
    for block in text.chunks(MOST_STORED) {
        let length = block.len() as u16;
        out.push(0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out
}

fn compressed(text: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        // It has some hundred kilobytes, which each batch would take and clear anew.
        static COMPRESS: RefCell<Compress> = RefCell::new(Compress::new(Compression::default(), false));
    }
    COMPRESS.with_borrow_mut(|compress| {
        compress.reset();
        let mut out = Vec::with_capacity(text.len() / 2 + 64);
        loop {
            let taken = usize::try_from(compress.total_in()).ok()?;
            let done = compress.compress_vec(&text[taken..], &mut out, FlushCompress::Sync);
            done.ok()?;
            // Where there is room left, everything has come out, up to a whole byte.
            if compress.total_in() == text.len() as u64 && out.len() < out.capacity() {
                return Some(out);
            }
            out.reserve(text.len() / 2 + 64);
        }
    })
}

/// One client's stream.
#[derive(Debug, Default)]
pub struct Stream(Crc);

impl Stream {
    /// What comes first, with the first text behind it.
    pub fn begin(&mut self, text: &[u8]) -> Bytes {
        [&HEAD, &*self.text(text)].concat().into()
    }

    /// A text for this client alone.
    pub fn text(&mut self, text: &[u8]) -> Bytes {
        self.piece(&Piece::new(text, 1))
    }

    pub fn piece(&mut self, piece: &Piece) -> Bytes {
        self.0.combine(&piece.crc);
        piece.bytes.clone()
    }

    /// The last text, and what comes last.
    pub fn end(&mut self, text: &[u8]) -> Bytes {
        let text = self.text(text);
        let (sum, length) = (self.0.sum().to_le_bytes(), self.0.amount().to_le_bytes());
        [&*text, &LAST, &sum, &length].concat().into()
    }
}

/// Whether a client takes it (RFC 9110, 12.5.3).
pub fn is_accepted(headers: &HeaderMap) -> bool {
    let given = headers.get_all(header::ACCEPT_ENCODING).iter();
    let entries = given.filter_map(|value| value.to_str().ok());
    entries.flat_map(|value| value.split(',')).any(|entry| {
        let (coding, weight) = entry.split_once(';').unwrap_or((entry, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        coding.trim().eq_ignore_ascii_case("gzip")
            && weight.parse::<f32>().is_ok_and(|weight| weight > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::{Piece, Stream, is_accepted};
    use axum::http::{HeaderMap, HeaderValue, header};
    use flate2::read::GzDecoder;
    use std::io::Read;

    fn decoded(stream: &[u8]) -> String {
        let mut text = String::new();
        // It compares the checksum and the length as well.
        GzDecoder::new(stream).read_to_string(&mut text).unwrap();
        text
    }

    /// Pieces of every kind and size, of which two streams take different ones.
    #[test]
    fn pieces_fit_behind_any_other() {
        let noise = |seed: u64, length: usize| -> String {
            let mut state = seed;
            std::iter::repeat_with(|| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                char::from(b' ' + (state >> 58) as u8)
            })
            .take(length)
            .collect()
        };
        let texts: Vec<_> = [0, 1, 511, 512, 5_000, 65_535, 65_536, 300_000]
            .iter()
            .flat_map(|&length| [noise(length as u64, length), "id: a".repeat(length / 5)])
            .collect();
        let pieces: Vec<_> = texts
            .iter()
            .flat_map(|text| {
                [
                    (text, Piece::new(text.as_bytes(), 1)),
                    (text, Piece::new(text.as_bytes(), 1_000)),
                ]
            })
            .collect();
        for step in [1, 3, 5, 7] {
            let mut stream = Stream::default();
            let (mut sent, mut wanted) = (stream.begin(b"first\n").to_vec(), "first\n".to_owned());
            for n in 0..pieces.len() {
                let (text, piece) = &pieces[n * step % pieces.len()];
                sent.extend_from_slice(&stream.piece(piece));
                wanted.push_str(text);
            }
            sent.extend_from_slice(&stream.end(b"last\n"));
            wanted.push_str("last\n");
            assert_eq!(decoded(&sent), wanted, "step {step}");
        }
    }

    #[test]
    fn what_many_read_is_compressed() {
        let text = "data: {\"room\":\"r1\",\"text\":\"good morning\"}\n\n".repeat(100);
        assert!(Piece::new(text.as_bytes(), 1_000).bytes.len() < text.len() / 10);
        assert!(Piece::new(text.as_bytes(), 1).bytes.len() >= text.len());
    }

    #[test]
    fn a_client_says_what_it_takes() {
        for (given, is_taken) in [
            (None, false),
            (Some("gzip, deflate, br, zstd"), true),
            (Some("br, GZIP;q=0.5"), true),
            (Some("gzip; q=0, br"), false),
            (Some("gzip;q=0.000"), false),
            (Some("identity"), false),
            (Some("x-gzipped"), false),
            (Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(given));
            }
            assert_eq!(is_accepted(&headers), is_taken, "{given:?}");
        }
    }
}
