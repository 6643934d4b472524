//! Output of unknown length in bounded memory: the head and the tail are kept.

use std::collections::VecDeque;

/// The first and the last bytes of a stream, at most `limit` together.
#[derive(Debug)]
pub(crate) struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    half: usize,
    dropped: u64,
}

impl Capture {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            half: limit / 2,
            dropped: 0,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = self.half.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        // Of a chunk longer than the tail only its end can stay.
        let skip = rest.len().saturating_sub(self.half);
        self.dropped += skip as u64;
        let rest = rest.get(skip..).unwrap_or_default();
        let surplus = (self.tail.len() + rest.len()).saturating_sub(self.half);
        self.tail.drain(..surplus.min(self.tail.len()));
        self.dropped += surplus as u64;
        self.tail.extend(rest);
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.dropped > 0
    }

    /// Lossy UTF-8, with a line that says what was cut.
    pub(crate) fn into_text(self) -> String {
        let (front, back) = self.tail.as_slices();
        if self.dropped == 0 {
            let mut whole = self.head;
            whole.extend_from_slice(front);
            whole.extend_from_slice(back);
            return String::from_utf8(whole)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        }
        let tail = [front, back].concat();
        format!(
            "{}\n[… {} bytes cut …]\n{}",
            String::from_utf8_lossy(&self.head),
            self.dropped,
            String::from_utf8_lossy(&tail)
        )
    }

    /// What is kept so far, as text.
    pub(crate) fn text(&self) -> String {
        let copy = Self {
            head: self.head.clone(),
            tail: self.tail.clone(),
            half: self.half,
            dropped: self.dropped,
        };
        copy.into_text()
    }
}

#[cfg(test)]
mod tests {
    use super::Capture;

    fn check(limit: usize, chunks: &[&str], expected: &str, cut: bool) {
        let mut capture = Capture::new(limit);
        for chunk in chunks {
            capture.push(chunk.as_bytes());
        }
        assert_eq!(capture.is_cut(), cut);
        assert_eq!(capture.text(), expected);
        assert_eq!(capture.into_text(), expected);
    }

    #[test]
    fn keeps_head_and_tail() {
        check(8, &[], "", false);
        check(8, &["abcdefgh"], "abcdefgh", false);
        check(8, &["abcdefghi"], "abcd\n[… 1 bytes cut …]\nfghi", true);
        check(
            8,
            &["ab", "cdef", "ghijkl"],
            "abcd\n[… 4 bytes cut …]\nijkl",
            true,
        );
        check(4, &["0123456789", "ab"], "01\n[… 8 bytes cut …]\nab", true);
        check(0, &["x"], "\n[… 1 bytes cut …]\n", true);
    }
}
