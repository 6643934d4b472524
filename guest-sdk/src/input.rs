//! One field of a call's input, without reading all of it as JSON.

use std::borrow::Cow;

/// The text under `key` of a JSON object. None where the object has no such text
/// on its first level; nothing is guessed.
pub(crate) fn text<'a>(json: &'a str, key: &str) -> Option<Cow<'a, str>> {
    let raw = value(json, key)?;
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(raw).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// Seconds under `key`: a number, or `{"secs": …, "nanos": …}`, rounded up.
pub(crate) fn seconds(json: &str, key: &str) -> Option<u64> {
    let raw = value(json, key)?;
    if raw.starts_with('{') {
        let more = value(raw, "nanos").is_some_and(|nanos| nanos != "0");
        let whole: u64 = value(raw, "secs")?.parse().ok()?;
        return Some(whole.saturating_add(u64::from(more)));
    }
    raw.parse::<f64>().ok().map(|seconds| seconds.ceil() as u64)
}

/// The value under `key` of a JSON object, as it is written.
fn value<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let bytes = json.as_bytes();
    let mut at = blanks(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    loop {
        at = blanks(bytes, at + 1);
        let name_end = string_end(bytes, at)?;
        let name = json.get(at + 1..name_end)?;
        at = blanks(bytes, name_end + 1);
        if bytes.get(at) != Some(&b':') {
            return None;
        }
        let start = blanks(bytes, at + 1);
        let end = value_end(bytes, start)?;
        // A name with escapes could be any.
        if name.contains('\\') {
            return None;
        }
        if name == key {
            return json.get(start..end);
        }
        at = blanks(bytes, end);
        if bytes.get(at) != Some(&b',') {
            return None;
        }
    }
}

fn blanks(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// The closing quote of the string that opens at `start`.
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    if bytes.get(start) != Some(&b'"') {
        return None;
    }
    let mut at = start + 1;
    loop {
        let rest = bytes.get(at..)?;
        // Most blocks of a long text have no mark in them and are passed as a whole.
        let (blocks, _) = rest.as_chunks::<16>();
        let clear = 16 * blocks.iter().take_while(|block| !marked(block)).count();
        let mark = rest.get(clear..)?.iter().position(is_mark)?;
        at += clear + mark;
        if bytes.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

fn is_mark(byte: &u8) -> bool {
    matches!(byte, b'"' | b'\\')
}

fn marked(block: &[u8; 16]) -> bool {
    // No early end, so that it is a few vector instructions.
    block.iter().fold(false, |any, byte| any | is_mark(byte))
}

/// Right after the value that begins at `start`.
fn value_end(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0_u32);
    loop {
        match bytes.get(at)? {
            b'"' => at = string_end(bytes, at)?,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return Some(at),
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return Some(at),
            _ => {}
        }
        at += 1;
        if depth == 0
            && bytes
                .get(at)
                .is_none_or(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace())
        {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_first_level_are_found() {
        let json = r#"{"access":"keep", "nested":{"command":"no"},"list":["}",1], "command":"ls \"a\"\n\u0072m","timeout":{"nanos":1,"secs":60}}"#;
        assert_eq!(text(json, "command").as_deref(), Some("ls \"a\"\nrm"));
        assert_eq!(text(json, "access").as_deref(), Some("keep"));
        assert_eq!(text(json, "timeout"), None);
        assert_eq!(text(json, "nothing"), None);
        assert_eq!(seconds(json, "timeout"), Some(61));
        assert_eq!(seconds(r#"{"timeout": 1.5}"#, "timeout"), Some(2));
        assert_eq!(seconds(json, "access"), None);
    }

    #[test]
    fn a_text_within_a_text_is_no_field() {
        let json = r#"{"a":"x\",\"command\":\"rm","command":"ls"}"#;
        assert_eq!(text(json, "command").as_deref(), Some("ls"));
    }

    #[test]
    fn what_is_no_object_has_no_fields() {
        for json in [
            "",
            "[]",
            "{",
            "{\"command\"",
            "{\"command\":\"x",
            "x",
            "{\"c\\u006fmmand\":\"x\"}",
        ] {
            assert_eq!(text(json, "command"), None, "{json}");
        }
    }
}
