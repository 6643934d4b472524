//! Matching without a regular-expression engine: a fresh instance per decision
//! would compile every pattern anew.

mod needles;

pub use needles::Needles;

/// Does `path` match `glob`? `*` and `?` stay within a component, `**` crosses
/// them; a pattern without `/` matches any component's name at the end, as in
/// `.gitignore`. ASCII case is ignored: file systems may.
pub fn glob(pattern: &str, path: &str) -> bool {
    let path = path.strip_prefix("./").unwrap_or(path);
    let pattern = pattern.strip_prefix("./").unwrap_or(pattern);
    if !pattern.contains('/') {
        // A bare name protects the file and all below a directory of that name.
        return path
            .split('/')
            .any(|component| matches(pattern.as_bytes(), component.as_bytes()));
    }
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
    matches(pattern.as_bytes(), path.as_bytes())
}

/// Iterative wildcard match with one saved position for `*` and one for `**`:
/// linear for a star, quadratic at worst, never exponential.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut here) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        match pattern.get(at) {
            Some(b'*') if pattern.get(at + 1) == Some(&b'*') => {
                at += 2;
                // `**/` also matches nothing at all.
                if pattern.get(at) == Some(&b'/') {
                    at += 1;
                }
                double = Some((at, here));
                star = None;
                continue;
            }
            Some(b'*') => {
                at += 1;
                star = Some((at, here));
                continue;
            }
            Some(wanted) => {
                if let Some(found) = text.get(here) {
                    let same = match wanted {
                        b'?' => *found != b'/',
                        _ => wanted.eq_ignore_ascii_case(found),
                    };
                    if same {
                        at += 1;
                        here += 1;
                        continue;
                    }
                }
            }
            None if here == text.len() => return true,
            None => {}
        }
        // Mismatch: let the latest star take one more byte, else the double star.
        if let Some((after, from)) = star
            && text.get(from).is_some_and(|byte| *byte != b'/')
        {
            star = Some((after, from + 1));
            (at, here) = (after, from + 1);
        } else if let Some((after, from)) = double
            && from < text.len()
        {
            double = Some((after, from + 1));
            star = None;
            (at, here) = (after, from + 1);
        } else {
            return false;
        }
    }
}

/// The text in lower case with every run of blanks as one blank: the form that
/// [`phrase`] searches.
pub fn squeeze(text: &str) -> String {
    if !text.is_ascii() {
        return squeeze_characters(text);
    }
    let mut squeezed = Vec::with_capacity(text.len());
    let mut blank_before = false;
    for byte in text.bytes() {
        // The vertical tab is a blank to `char`, not to `u8`.
        let blank = byte.is_ascii_whitespace() || byte == 0x0b;
        if !blank {
            squeezed.push(byte.to_ascii_lowercase());
        } else if !blank_before {
            squeezed.push(b' ');
        }
        blank_before = blank;
    }
    // All bytes are ASCII, so nothing is lost.
    String::from_utf8(squeezed).unwrap_or_default()
}

fn squeeze_characters(text: &str) -> String {
    let mut squeezed = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_whitespace() {
            if !squeezed.ends_with(' ') {
                squeezed.push(' ');
            }
        } else {
            squeezed.extend(character.to_lowercase());
        }
    }
    squeezed
}

/// A squeezed text without the blanks that only separate marks: `os . system (x)`
/// reads `os.system(x)`, while `return eval (x)` keeps its two words.
pub fn tighten(squeezed: &str) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tight = String::with_capacity(squeezed.len());
    let mut characters = squeezed.chars().peekable();
    while let Some(character) = characters.next() {
        let between_words = tight.ends_with(word) && characters.peek().copied().is_some_and(word);
        if character != ' ' || between_words {
            tight.push(character);
        }
    }
    tight
}

/// Is `needle` in `text` with no letter, digit or underscore right before or
/// after it? Give both in the same case.
pub fn phrase(text: &str, needle: &str) -> bool {
    find_phrase(text, needle).is_some()
}

/// Where [`phrase`] finds it, as a byte offset.
pub fn find_phrase(text: &str, needle: &str) -> Option<usize> {
    let first = *needle.as_bytes().first()?;
    let mut from = 0;
    while let Some(rest) = text.as_bytes().get(from..) {
        let start = from + rest.iter().position(|byte| *byte == first)?;
        from = start + 1;
        let there = text.as_bytes().get(start..start + needle.len())?;
        if there == needle.as_bytes() && stands_alone(text, start, needle) {
            return Some(start);
        }
    }
    None
}

/// Is the word that begins at `start` of `text` no part of a longer one? Only its
/// edges that are letters, digits or underscores count.
pub fn stands_alone(text: &str, start: usize, word: &str) -> bool {
    let inner = |c: char| c.is_alphanumeric() || c == '_';
    let open = |edge: Option<char>, outside: Option<char>| {
        !(edge.is_some_and(inner) && outside.is_some_and(inner))
    };
    let before = text.get(..start).and_then(|head| head.chars().next_back());
    let after = text
        .get(start + word.len()..)
        .and_then(|tail| tail.chars().next());
    open(word.chars().next(), before) && open(word.chars().next_back(), after)
}

/// Shannon entropy in bits per character; about 4 and more for random tokens.
pub fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = text.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / total)
        .map(|p| -p * p.log2())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_like_gitignore() {
        for (pattern, path, expected) in [
            (".env", ".env", true),
            (".env", "config/.env", true),
            (".env", ".env.example", false),
            (".env*", "a/.env.local", true),
            ("*.pem", "keys/server.PEM", true),
            (".git", ".git/config", true),
            ("src/**", "src/a/b.py", true),
            ("src/**/*.py", "src/b.py", true),
            ("src/**/*.py", "src/x/y/b.py", true),
            ("src/*.py", "src/x/b.py", false),
            ("**/secrets/**", "a/secrets/b", true),
            ("/policy.toml", "policy.toml", true),
            ("/policy.toml", "x/policy.toml", false),
            ("a*b*c/**/z", "axxbyyc/1/2/z", true),
            ("a?c", "a/c", false),
            (
                "**/*a*a*a*a*a*b",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/aaaaaaaaaaaaaaaaaaa",
                false,
            ),
        ] {
            assert_eq!(glob(pattern, path), expected, "{pattern} on {path}");
        }
    }

    #[test]
    fn phrases_respect_word_edges() {
        assert!(phrase("drop table users", "drop table"));
        assert!(!phrase("airdrop tablecloth", "drop table"));
        assert!(phrase("x = eval(y)", "eval("));
        assert!(!phrase("retrieval(y)", "eval("));
        assert_eq!(
            tighten("return eval ( os . system )"),
            "return eval(os.system)"
        );
        assert_eq!(squeeze("DELETE \t\n FROM x"), "delete from x");
        assert_eq!(squeeze(" A\u{b} b "), " a b ");
        assert_eq!(squeeze("\u{c9}T\u{c9} \u{a0} x"), "\u{e9}t\u{e9} x");
        assert!(!phrase("x", ""));
        assert!(!phrase("\u{e9}eval(", "eval(") && phrase("\u{2192}eval(", "eval("));
    }

    #[test]
    fn entropy_tells_tokens_from_words() {
        assert!(entropy("aaaaaaaaaaaa") < 1.0);
        assert!(entropy("kJ8s0Q2mZx71LwPq9RtVbN3c") > 4.0);
    }
}
