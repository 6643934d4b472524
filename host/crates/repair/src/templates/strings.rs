//! Texts: string constants, regular expressions, formats.

use super::Gen;
use crate::source::field;
use tree_sitter::Node;

pub(super) fn string(generator: &mut Gen<'_>, node: Node<'_>) {
    let text = generator.at(node).to_owned();
    if text.len() > 80 || text.starts_with("\"\"\"") || text.starts_with("'''") {
        return;
    }
    let Some(quote) = text.chars().last() else {
        return;
    };
    let Some(open) = text.find(quote) else { return };
    let prefix = text.get(..open).unwrap_or_default().to_owned();
    if prefix.contains(['f', 'F']) {
        return;
    }
    let inner = text
        .get(open + 1..text.len().saturating_sub(1))
        .unwrap_or_default()
        .to_owned();
    let donors: Vec<String> = generator
        .file
        .strings
        .iter()
        .filter(|other| **other != inner)
        .cloned()
        .collect();
    let mut ranked: Vec<(f64, String)> = donors
        .into_iter()
        .filter(|other| !other.contains(quote) && !other.contains('\n'))
        .map(|other| (super::scope::distance(&inner, &other), other))
        .collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (index, (distance, other)) in ranked.into_iter().take(10).enumerate() {
        let cost = if distance < 0.4 {
            1.6
        } else {
            2.7 + 0.12 * index as f64
        };
        generator.swap(
            node,
            format!("{prefix}{quote}{other}{quote}"),
            "string-donor",
            cost,
        );
    }
    let mut options: Vec<(String, f64)> = Vec::new();
    match inner.as_str() {
        "" => options.push((" ".into(), 2.2)),
        " " => options.extend([
            (String::new(), 2.0),
            (", ".into(), 3.0),
            ("\\n".into(), 3.2),
        ]),
        "," => options.extend([(", ".into(), 1.8), (";".into(), 2.6)]),
        ", " => options.push((",".into(), 1.8)),
        "\\n" => options.extend([(String::new(), 2.6), (" ".into(), 3.0)]),
        _ => {}
    }
    if inner.len() > 1 {
        let lower = inner.to_lowercase();
        if lower != inner {
            options.push((lower, 2.6));
        }
        let trimmed = inner.trim().to_owned();
        if trimmed != inner && !trimmed.is_empty() {
            options.push((trimmed, 2.4));
        }
        if !inner.ends_with(' ') {
            options.push((format!("{inner} "), 3.4));
        }
    }
    if let Some(other) = match inner.as_str() {
        "r" => Some("rb"),
        "w" => Some("a"),
        "a" => Some("w"),
        "(" => Some(")"),
        ")" => Some("("),
        "[" => Some("]"),
        "]" => Some("["),
        "{" => Some("}"),
        "}" => Some("{"),
        _ => None,
    } {
        options.push((other.to_owned(), 2.0));
    }
    for (from, to, cost) in [
        ("%d", "%s", 2.6),
        ("%m", "%M", 1.8),
        ("%M", "%m", 1.8),
        ("%y", "%Y", 1.8),
        ("%Y", "%y", 2.2),
        ("%H", "%I", 2.2),
        ("%I", "%H", 1.8),
    ] {
        if inner.contains(from) {
            options.push((inner.replacen(from, to, 1), cost));
        }
    }
    if inner.contains("%d/%m") {
        options.push((inner.replace("%d/%m", "%m/%d"), 1.8));
    }
    if inner.contains("%m-%d") {
        options.push((inner.replace("%m-%d", "%d-%m"), 2.0));
    }
    if inner.contains("%d-%m") {
        options.push((inner.replace("%d-%m", "%m-%d"), 1.8));
    }
    for (option, cost) in options {
        generator.swap(
            node,
            format!("{prefix}{quote}{option}{quote}"),
            "string",
            cost,
        );
    }
    let pattern = prefix.contains(['r', 'R'])
        || node
            .parent()
            .and_then(|parent| parent.parent())
            .is_some_and(|call| generator.at(call).starts_with("re."));
    if pattern {
        for (option, cost) in pattern_options(&inner) {
            generator.swap(
                node,
                format!("{prefix}{quote}{option}{quote}"),
                "pattern",
                cost,
            );
        }
    }
}

/// Small slips inside regular expressions.
fn pattern_options(inner: &str) -> Vec<(String, f64)> {
    let mut out = Vec::new();
    for (from, to) in [
        ("+", "*"),
        ("*", "+"),
        ("\\d", "\\w"),
        ("\\w", "\\d"),
        ("\\s", "\\S"),
        ("\\D", "\\d"),
        (".", "\\."),
        ("?", ""),
        ("\\b", ""),
        ("a-z", "a-zA-Z"),
        ("A-Z", "A-Za-z"),
        ("\\d", "\\d+"),
        ("\\w", "\\w+"),
        ("0-9", "0-9a-z"),
        (".*", ".*?"),
        (".+", ".+?"),
        ("\\w", "[\\w.]"),
        ("^", ""),
    ] {
        for (at, _) in inner.match_indices(from).take(3) {
            let mut option = inner.to_owned();
            option.replace_range(at..at + from.len(), to);
            out.push((option, 2.3));
        }
    }
    for (at, _) in inner.match_indices([']', ')']).take(4) {
        for quantifier in ["+", "*", "?"] {
            let mut option = inner.to_owned();
            option.insert_str(at + 1, quantifier);
            out.push((option, 2.8));
        }
    }
    if !inner.ends_with('$') {
        out.push((format!("{inner}$"), 2.2));
    }
    if !inner.starts_with('^') {
        out.push((format!("^{inner}"), 2.2));
    }
    for (at, _) in inner.match_indices('{').take(2) {
        if let Some(end) = inner.get(at..).and_then(|rest| rest.find('}'))
            && let Some(body) = inner.get(at + 1..at + end)
        {
            let mut numbers: Vec<i64> = body
                .split(',')
                .filter_map(|part| part.parse().ok())
                .collect();
            for position in 0..numbers.len() {
                for delta in [-1, 1] {
                    if let Some(number) = numbers.get_mut(position) {
                        *number += delta;
                    }
                    let spelled: Vec<String> = numbers.iter().map(i64::to_string).collect();
                    let mut option = inner.to_owned();
                    option.replace_range(at + 1..at + end, &spelled.join(","));
                    out.push((option, 2.2));
                    if let Some(number) = numbers.get_mut(position) {
                        *number -= delta;
                    }
                }
            }
            let mut option = inner.to_owned();
            option.replace_range(at + 1..at + end, &format!("{body},"));
            out.push((option, 2.4));
        }
    }
    out
}

pub(super) fn regex(generator: &mut Gen<'_>, node: Node<'_>) {
    let Some(pattern) = field(node, "pattern") else {
        return;
    };
    let inner = generator.at(pattern).to_owned();
    let flags = field(node, "flags")
        .map(|flags| generator.at(flags).to_owned())
        .unwrap_or_default();
    for flag in ["g", "i", "m"] {
        if flags.contains(flag) {
            generator.swap(
                node,
                format!("/{inner}/{}", flags.replace(flag, "")),
                "regex-flag",
                2.2,
            );
        } else {
            generator.swap(
                node,
                format!("/{inner}/{flags}{flag}"),
                "regex-flag",
                if flag == "g" { 1.4 } else { 2.2 },
            );
        }
    }
    for (option, cost) in pattern_options(&inner) {
        generator.swap(pattern, option, "pattern", cost);
    }
}

pub(super) fn format_specifier(generator: &mut Gen<'_>, node: Node<'_>) {
    let text = generator.at(node).to_owned();
    for (at, digit) in text
        .char_indices()
        .filter(|(_, c)| c.is_ascii_digit())
        .take(4)
    {
        let Some(value) = digit.to_digit(10) else {
            continue;
        };
        for other in [value.wrapping_add(1), value.wrapping_sub(1)] {
            if other <= 9 {
                let mut option = text.clone();
                option.replace_range(at..=at, &other.to_string());
                generator.swap(node, option, "format", 2.2);
            }
        }
    }
    for (from, to) in [("<", ">"), (">", "<"), ("^", ">"), ("d", "f"), ("f", "d")] {
        if text.contains(from) {
            generator.swap(node, text.replacen(from, to, 1), "format", 2.4);
        }
    }
}
