//! The file of offsets of a standalone worker of Connect and of Debezium Server: Java's serialized `HashMap` of byte
//! arrays, of which this is all that is read or written.

/// Keys and values, in the order of the file.
pub(super) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// From the start to the number of buckets: a new `java.util.HashMap` and its fields, of which the load factor.
const MAP: &[u8] = b"\xac\xed\x00\x05sr\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02F\x00\nloadFactorI\x00\tthresholdxp";
/// A new array, and the description of its class, which later arrays refer to.
const ARRAY: &[u8] = b"u";
const CLASS: &[u8] = b"r\x00\x02[B\xac\xf3\x17\xf8\x06\x08\x54\xe0\x02\x00\x00xp";
const CLASS_AGAIN: &[u8] = b"q\x00\x7e\x00\x02";
const NULL: &[u8] = b"p";
const BLOCK: &[u8] = b"w\x08";
const END: &[u8] = b"x";

/// Reads the file; `None` where it is no such file, or holds something else. Entries without key or value are left out.
pub(super) fn read(bytes: &[u8]) -> Option<Entries> {
    let mut rest = Rest(bytes);
    rest.expect(MAP)?;
    // Load factor and threshold.
    rest.take(8)?;
    rest.expect(BLOCK)?;
    rest.take(4)?;
    let count = rest.number()?;
    let mut entries = Entries::new();
    for _ in 0..count {
        let (key, value) = (rest.array()?, rest.array()?);
        if let (Some(key), Some(value)) = (key, value) {
            entries.push((key, value));
        }
    }
    rest.expect(END)?;
    rest.0.is_empty().then_some(entries)
}

/// The file that holds these entries.
pub(super) fn write(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    let buckets = count.saturating_mul(2).next_power_of_two().max(16);
    let mut out = MAP.to_vec();
    out.extend(0.75_f32.to_be_bytes());
    out.extend((buckets / 4 * 3).to_be_bytes());
    out.extend(BLOCK);
    out.extend(buckets.to_be_bytes());
    out.extend(count.to_be_bytes());
    let mut is_first = true;
    for bytes in entries.iter().flat_map(|(key, value)| [key, value]) {
        out.extend(ARRAY);
        out.extend(if is_first { CLASS } else { CLASS_AGAIN });
        is_first = false;
        out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(bytes);
    }
    out.extend(END);
    out
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn expect(&mut self, bytes: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(bytes)?;
        Some(())
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// An array, or that there is none.
    fn array(&mut self) -> Option<Option<Vec<u8>>> {
        if self.expect(NULL).is_some() {
            return Some(None);
        }
        self.expect(ARRAY)?;
        if self.expect(CLASS).is_none() {
            self.expect(CLASS_AGAIN)?;
        }
        let length = usize::try_from(self.number()?).ok()?;
        Some(Some(self.take(length)?.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::{read, write};

    /// As Java 17 writes `{"k" -> "v", "k2" -> null}`.
    const OF_JAVA: &[u8] = b"\xac\xed\x00\x05sr\x00\x11java.util.HashMap\x05\x07\xda\xc1\xc3\x16\x60\xd1\x03\x00\x02F\x00\nloadFactorI\x00\tthresholdxp?@\x00\x00\x00\x00\x00\x0cw\x08\x00\x00\x00\x10\x00\x00\x00\x02ur\x00\x02[B\xac\xf3\x17\xf8\x06\x08\x54\xe0\x02\x00\x00xp\x00\x00\x00\x01kuq\x00\x7e\x00\x02\x00\x00\x00\x01vuq\x00\x7e\x00\x02\x00\x00\x00\x02k2px";

    #[test]
    fn javas_map_is_read_and_written() {
        let entry = (b"k".to_vec(), b"v".to_vec());
        assert_eq!(read(OF_JAVA).unwrap(), std::slice::from_ref(&entry));
        let many: Vec<_> = (0..40_u8).map(|n| (vec![n], vec![n; 300])).collect();
        for entries in [vec![], vec![entry], many] {
            assert_eq!(read(&write(&entries)).unwrap(), entries);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for end in 0..OF_JAVA.len() {
            assert_eq!(read(&OF_JAVA[..end]), None, "{end}");
        }
        assert_eq!(read(b"{}"), None);
        assert_eq!(read(&[OF_JAVA, b"x"].concat()), None);
    }
}
