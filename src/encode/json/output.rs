//! The buffer being written, and what is counted on the way.

use super::Stats;

pub(super) struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    replaced: u64,
}

impl<'a> Output<'a> {
    pub(super) fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes, replaced: 0 }
    }

    pub(super) fn stats(&self) -> Stats {
        Stats {
            replaced: self.replaced,
        }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    #[inline(always)]
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends the first `len` bytes of a block, copied as a whole: faster than just as many.
    #[inline(always)]
    pub(super) fn extend_cut<const N: usize>(&mut self, block: &[u8; N], len: usize) {
        let end = self.bytes.len() + len;
        self.bytes.extend_from_slice(block);
        self.bytes.truncate(end);
    }

    /// Appends `len` bytes that `fill` then overwrites.
    #[inline]
    pub(super) fn extend_with(&mut self, len: usize, fill: impl FnOnce(&mut [u8])) {
        let start = self.bytes.len();
        self.bytes.resize(start + len, 0);
        fill(&mut self.bytes[start..]);
    }

    #[inline]
    pub(super) fn reserve(&mut self, len: usize) {
        self.bytes.reserve(len);
    }

    /// Ends a list whose members are each followed by a comma: the last comma becomes `close`.
    #[inline(always)]
    pub(super) fn close(&mut self, close: u8) {
        match self.bytes.last_mut() {
            Some(last) if *last == b',' => *last = close,
            _ => self.bytes.push(close),
        }
    }

    pub(super) fn count_replaced(&mut self) {
        self.replaced += 1;
    }
}
