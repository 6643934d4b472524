//! What was said and done, for people.

/// Longest log, in bytes.
const MOST: usize = 64 * 1024;

/// Longest single entry, in bytes.
const LONGEST: usize = 4 * 1024;

/// The beginning and the end of a conversation.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    head: String,
    tail: std::collections::VecDeque<String>,
    tail_bytes: usize,
    left_out: u64,
}

impl Transcript {
    /// Adds an entry, as in `agent`, `looking at src/a.py`.
    pub(crate) fn push(&mut self, who: &str, what: &str) {
        let what = what.trim();
        if what.is_empty() {
            return;
        }
        let entry = format!("{who}: {}\n", cut(what, LONGEST));
        if self.tail.is_empty() && self.head.len() + entry.len() <= MOST / 2 {
            self.head.push_str(&entry);
            return;
        }
        self.tail_bytes += entry.len();
        self.tail.push_back(entry);
        while self.tail_bytes > MOST / 2 - 128 {
            let Some(first) = self.tail.pop_front() else {
                break;
            };
            self.tail_bytes -= first.len();
            self.left_out += 1;
        }
    }

    /// The whole, at most 64 KiB.
    pub(crate) fn text(&self) -> String {
        let mut text = self.head.clone();
        if self.left_out > 0 {
            text.push_str(&format!("[{} entries left out]\n", self.left_out));
        }
        text.extend(self.tail.iter().map(String::as_str));
        text
    }
}

/// At most `most` bytes, cut at a character.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_talk_keeps_its_beginning_and_its_end() {
        let mut transcript = Transcript::default();
        for number in 0..10_000 {
            transcript.push("agent", &format!("entry {number} {}", "é".repeat(50)));
        }
        let text = transcript.text();
        assert!(text.len() <= MOST, "{}", text.len());
        assert!(text.contains("entry 0 ") && text.contains("entry 9999 "));
        assert!(text.contains("entries left out"));
        transcript.push("agent", &"x".repeat(1 << 20));
        assert!(transcript.text().len() <= MOST);
    }
}
