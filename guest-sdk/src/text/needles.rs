//! Many words looked for in one pass. The tables are made by the compiler, so a
//! fresh instance has nothing to build.
//!
//! Every word is found by one trigram of it, the rarest by a rough guess. A
//! trigram has 15 bits, the lower five of each byte: letters of both cases share
//! them, so ASCII case does not matter. A bitmap of all trigrams keeps the scan to
//! one look-up per byte; what passes it is compared with the words in question.

/// Marks the end of a chain, and words that are not there.
const NONE: u16 = u16::MAX;

/// `N` words, at least two bytes each, looked for without regard to ASCII case.
pub struct Needles<const N: usize> {
    words: [&'static str; N],
    /// Where in its word the anchor trigram stands.
    anchors: [u8; N],
    /// Which trigrams some word is anchored at.
    bitmap: [u32; 1024],
    /// First word by the upper ten bits of its anchor.
    heads: [u16; 1024],
    /// Next word with the same ten bits.
    next: [u16; N],
}

/// Bytes that are looked at together.
const BLOCK: usize = 8;

#[inline(always)]
const fn low(byte: u8) -> usize {
    (byte & 31) as usize
}

/// The latest three bytes, with one more.
#[inline(always)]
const fn shifted(window: usize, byte: u8) -> usize {
    (window << 5 | low(byte)) & 0x7fff
}

/// How seldom a byte is in source code, roughly.
const fn rarity(byte: u8) -> u32 {
    match byte.to_ascii_lowercase() {
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b' ' => 1,
        b'l' | b'd' | b'c' | b'u' | b'm' | b'p' | b'f' | b'h' | b'g' | b'.' | b'(' | b'_' => 2,
        _ => 4,
    }
}

impl<const N: usize> Needles<N> {
    /// Tables for these words; meant for a `static`, so that the compiler makes them.
    ///
    /// # Panics
    /// A word is shorter than two bytes, longer than 255, or there are too many:
    /// in a `static`, that stops the compiler.
    #[allow(
        clippy::indexing_slicing,
        reason = "evaluated by the compiler: an index out of range does not compile"
    )]
    pub const fn new(words: [&'static str; N]) -> Self {
        assert!(N < NONE as usize, "too many words");
        let mut anchors = [0_u8; N];
        let mut bitmap = [0_u32; 1024];
        let mut heads = [NONE; 1024];
        let mut next = [NONE; N];
        let mut word = 0;
        while word < N {
            let bytes = words[word].as_bytes();
            assert!(
                bytes.len() >= 2 && bytes.len() < 256,
                "a word has 2 to 255 bytes"
            );
            let mut best = 0;
            let mut anchor = 0;
            let mut at = 0;
            while at + 2 < bytes.len() {
                let score = rarity(bytes[at]) + rarity(bytes[at + 1]) + rarity(bytes[at + 2]);
                if score > best {
                    best = score;
                    anchor = at;
                }
                at += 1;
            }
            anchors[word] = anchor as u8;
            let pair = low(bytes[anchor]) << 5 | low(bytes[anchor + 1]);
            if bytes.len() == 2 {
                // Whatever follows.
                bitmap[pair] = u32::MAX;
            } else {
                bitmap[pair] |= 1 << low(bytes[anchor + 2]);
            }
            next[word] = heads[pair];
            heads[pair] = word as u16;
            word += 1;
        }
        Self {
            words,
            anchors,
            bitmap,
            heads,
            next,
        }
    }

    /// Calls `found` with the number of every word in `text` and where it begins,
    /// in bytes. Stops early when `found` says `true`, and says whether it did.
    pub fn scan(&self, text: &str, mut found: impl FnMut(usize, usize) -> bool) -> bool {
        let bytes = text.as_bytes();
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        let (mut window, mut end) = (0_usize, 0);
        for block in blocks {
            // One branch for a whole block, as nearly none has a word in it.
            let (mut ahead, mut hits) = (window, 0);
            for byte in block {
                ahead = shifted(ahead, *byte);
                hits |= self.anchor(ahead);
            }
            if hits & 1 == 1 && self.look(bytes, window, end, block, &mut found) {
                return true;
            }
            (window, end) = (ahead, end + BLOCK);
        }
        // The byte past the end is there for words of two bytes.
        let past = rest
            .iter()
            .fold(window, |window, byte| shifted(window, *byte));
        self.look(bytes, window, end, rest, &mut found)
            || self.look(bytes, past, bytes.len(), b"\n", &mut found)
    }

    /// Whether a word may be anchored at the window, in the lowest bit.
    #[inline(always)]
    fn anchor(&self, window: usize) -> u32 {
        let row = self.bitmap.get(window >> 5).copied().unwrap_or_default();
        row >> (window & 31)
    }

    /// Looks closely at `part`, which begins at `end` of `bytes`.
    fn look(
        &self,
        bytes: &[u8],
        window: usize,
        end: usize,
        part: &[u8],
        found: &mut impl FnMut(usize, usize) -> bool,
    ) -> bool {
        let mut window = window;
        for (end, byte) in (end..).zip(part) {
            window = shifted(window, *byte);
            let hit = self.anchor(window) & 1 == 1;
            if hit && end >= 2 && self.compare(bytes, window >> 5, end - 2, found) {
                return true;
            }
        }
        false
    }

    /// The word with this number; empty where there is none.
    pub fn word(&self, number: usize) -> &'static str {
        self.words.get(number).copied().unwrap_or_default()
    }

    /// Is any of the words in `text`?
    pub fn any(&self, text: &str) -> bool {
        self.scan(text, |_, _| true)
    }

    #[cold]
    fn compare(
        &self,
        bytes: &[u8],
        pair: usize,
        anchored: usize,
        found: &mut impl FnMut(usize, usize) -> bool,
    ) -> bool {
        let mut word = self.heads.get(pair).copied().unwrap_or(NONE);
        while let Some(text) = self.words.get(usize::from(word)) {
            let number = usize::from(word);
            let anchor = usize::from(self.anchors.get(number).copied().unwrap_or_default());
            if let Some(start) = anchored.checked_sub(anchor)
                && let Some(there) = bytes.get(start..start + text.len())
                && there.eq_ignore_ascii_case(text.as_bytes())
                && found(number, start)
            {
                return true;
            }
            word = self.next.get(number).copied().unwrap_or(NONE);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static WORDS: Needles<7> = Needles::new([
        "eval",
        "os.system",
        "sk",
        "q~",
        "password",
        "pass",
        "rm -rf",
    ]);

    fn all(text: &str) -> Vec<(usize, usize)> {
        let mut all = Vec::new();
        WORDS.scan(text, |word, at| {
            all.push((word, at));
            false
        });
        all.sort_unstable();
        all
    }

    #[test]
    fn every_word_is_found_wherever_it_stands() {
        assert_eq!(all("eval"), [(0, 0)]);
        assert_eq!(all("x = EVAL(OS.System)"), [(0, 4), (1, 9)]);
        assert_eq!(all("task"), [(2, 2)]);
        assert_eq!(all("q~"), [(3, 0)]);
        assert_eq!(all("Password"), [(4, 0), (5, 0)]);
        assert_eq!(all("do rm -rf /"), [(6, 3)]);
        assert_eq!(all(""), []);
        assert_eq!(all("s"), []);
        assert_eq!(all("ordinary text, nothing to see"), []);
    }

    #[test]
    fn it_agrees_with_a_plain_search() {
        let text =
            "SK q~~q sksksk passpassword evaleval os.system.os.system rm -rm -rf -rf \u{e9}sk";
        let lower = text.to_ascii_lowercase();
        let mut plain: Vec<(usize, usize)> = WORDS
            .words
            .iter()
            .enumerate()
            .flat_map(|(number, word)| {
                (0..lower.len())
                    .filter(|at| lower.as_bytes()[*at..].starts_with(word.as_bytes()))
                    .map(move |at| (number, at))
                    .collect::<Vec<_>>()
            })
            .collect();
        plain.sort_unstable();
        assert_eq!(all(text), plain);
    }

    #[test]
    fn the_first_yes_ends_the_scan() {
        let mut calls = 0;
        assert!(WORDS.scan("eval eval eval", |_, _| {
            calls += 1;
            true
        }));
        assert_eq!(calls, 1);
        assert!(WORDS.any("skip"));
        assert!(!WORDS.any("plain"));
    }
}
