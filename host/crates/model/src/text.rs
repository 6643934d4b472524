//! Texts cut to a length, with a mark where something is missing.

/// At most `most` bytes, cut at a character, with a mark.
pub(crate) fn clip(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// `text` cut to at most `most` bytes from the middle, with a mark.
pub(crate) fn cut_middle(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mark = |left: usize| format!("\n[… {left} bytes left out …]\n");
    let room = most.saturating_sub(mark(text.len()).len()) / 2;
    let mut head = room;
    while !text.is_char_boundary(head) {
        head -= 1;
    }
    let mut tail = text.len() - room;
    while !text.is_char_boundary(tail) {
        tail += 1;
    }
    format!(
        "{}{}{}",
        text.get(..head).unwrap_or_default(),
        mark(tail - head),
        text.get(tail..).unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_from_the_middle() {
        let text = "ä".repeat(5000);
        let cut = cut_middle(&text, 1000);
        assert!(cut.len() <= 1000 && cut.starts_with('ä') && cut.ends_with('ä'));
        assert!(cut.contains("bytes left out"));
        assert_eq!(cut_middle("short", 1000), "short");
        assert!(cut_middle(&text, 3).contains("left out"));
    }
}
