//! What a sed command line touches: its files, and those that its script names.
//!
//! Sed's own language reads and writes files and runs commands (`r`, `w`, `e`, and the
//! flags of `s`), so the script is read. What is not of a plain form is not understood.

use super::word::Value;

/// One sed command line.
#[derive(Default, Debug, PartialEq)]
pub(super) struct Sed {
    /// Files that are edited or printed.
    pub(super) operands: Vec<Value>,
    /// They are edited.
    pub(super) in_place: bool,
    /// Files that scripts read.
    pub(super) reads: Vec<Value>,
    /// Files that scripts write.
    pub(super) writes: Vec<Value>,
    /// A script runs commands, or is not of a plain form.
    pub(super) acts: bool,
}

impl Sed {
    /// Reads the words behind the program's name.
    pub(super) fn of(rest: &[Value]) -> Self {
        let mut sed = Self::default();
        let mut scripts: Vec<Value> = Vec::new();
        let mut words = rest.iter();
        let mut only_operands = false;
        while let Some(word) = words.next() {
            let text = word.text.as_str();
            if only_operands || !text.starts_with('-') || text == "-" {
                sed.operands.push(word.clone());
            } else if text == "--" {
                only_operands = true;
            } else if let Some(long) = text.strip_prefix("--") {
                sed.long(long, word, &mut words, &mut scripts);
            } else {
                sed.short(word, &mut words, &mut scripts);
            }
        }
        // A file of scripts, which are not read here, is one of `reads`.
        if scripts.is_empty() && sed.reads.is_empty() && !sed.operands.is_empty() {
            scripts.push(sed.operands.remove(0));
        }
        for script in &scripts {
            if !script.known || read_script(script, &mut sed).is_none() {
                sed.acts = true;
            }
        }
        sed
    }

    /// A long option, which may be abbreviated.
    fn long<'v>(
        &mut self,
        long: &str,
        word: &Value,
        words: &mut impl Iterator<Item = &'v Value>,
        scripts: &mut Vec<Value>,
    ) {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(like(word, value))),
            None => (long, None),
        };
        let is = |option: &str| !name.is_empty() && option.starts_with(name);
        if is("expression") {
            scripts.extend(value.or_else(|| words.next().cloned()));
        } else if is("file") {
            self.reads.extend(value.or_else(|| words.next().cloned()));
            self.acts = true;
        } else if is("line-length") {
            if value.is_none() {
                words.next();
            }
        } else if is("in-place") {
            self.in_place = true;
        }
    }

    /// A cluster of short options, as in `-ne SCRIPT` or `-i.bak`.
    fn short<'v>(
        &mut self,
        word: &Value,
        words: &mut impl Iterator<Item = &'v Value>,
        scripts: &mut Vec<Value>,
    ) {
        for (at, letter) in word.text.char_indices().skip(1) {
            let glued = word.text.get(at + 1..).unwrap_or_default();
            let mut value = || {
                if glued.is_empty() {
                    words.next().cloned()
                } else {
                    Some(like(word, glued))
                }
            };
            match letter {
                'e' => {
                    scripts.extend(value());
                    return;
                }
                'f' => {
                    self.reads.extend(value());
                    self.acts = true;
                    return;
                }
                'l' => {
                    value();
                    return;
                }
                'i' | 'I' => {
                    self.in_place = true;
                    return;
                }
                _ => {}
            }
        }
    }
}

/// A part of a word, known as well as the word.
fn like(word: &Value, text: &str) -> Value {
    Value {
        text: text.to_owned(),
        ..word.clone()
    }
}

/// Reads a script; none where it runs commands or is not of a plain form.
fn read_script(script: &Value, sed: &mut Sed) -> Option<()> {
    let mut rest = script.text.as_str();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || ";{}".contains(c));
        rest = address(rest)?;
        let Some(command) = rest.chars().next() else {
            return Some(());
        };
        rest = rest.get(command.len_utf8()..)?;
        match command {
            '{' | '}' => continue,
            '=' | 'd' | 'D' | 'g' | 'G' | 'h' | 'H' | 'n' | 'N' | 'p' | 'P' | 'x' | 'z' | 'F'
            | 'q' | 'Q' | 'l' => {
                rest = rest.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit());
            }
            '#' | 'a' | 'i' | 'c' => rest = after_text(rest),
            ':' | 'b' | 't' | 'T' => {
                let end = rest.find([';', '\n', '}']).unwrap_or(rest.len());
                rest = rest.get(end..)?;
            }
            's' | 'y' => {
                let delimiter = rest.chars().next().filter(|c| *c != '\\' && *c != '\n')?;
                rest = rest.get(delimiter.len_utf8()..)?;
                rest = if command == 's' {
                    pattern(rest, delimiter)?
                } else {
                    section(rest, delimiter)?
                };
                rest = section(rest, delimiter)?;
                let flags = rest.find(|c: char| !(c.is_ascii_digit() || "gpiIMm".contains(c)));
                rest = rest.get(flags.unwrap_or(rest.len())..)?;
                if rest.starts_with('w') {
                    let file = file_name(rest.get(1..)?);
                    sed.writes.push(like(script, file.0));
                    rest = file.1;
                } else if rest.starts_with('e') {
                    return None;
                }
            }
            'r' | 'R' => {
                let file = file_name(rest);
                sed.reads.push(like(script, file.0));
                rest = file.1;
            }
            'w' | 'W' => {
                let file = file_name(rest);
                sed.writes.push(like(script, file.0));
                rest = file.1;
            }
            _ => return None,
        }
        let ends = rest.trim_start_matches([' ', '\t']);
        if !ends.is_empty() && !ends.starts_with([';', '\n', '}', '#']) {
            return None;
        }
    }
}

/// What stands behind an address, if there is one.
fn address(mut rest: &str) -> Option<&str> {
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || "$,~+! \t".contains(c));
        let delimiter = match rest.chars().next() {
            Some('/') => {
                rest = rest.get(1..)?;
                '/'
            }
            Some('\\') => {
                let delimiter = rest.get(1..)?.chars().next()?;
                rest = rest.get(1 + delimiter.len_utf8()..)?;
                delimiter
            }
            _ => return Some(rest),
        };
        rest = pattern(rest, delimiter)?.trim_start_matches(['I', 'M']);
    }
}

/// What stands behind the next `delimiter` that is not escaped.
fn section(text: &str, delimiter: char) -> Option<&str> {
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == delimiter {
            return text.get(at + character.len_utf8()..);
        }
    }
    None
}

/// The same where brackets are those of a regular expression: in them the delimiter
/// stands for itself. None where it is not plain where they end.
fn pattern(text: &str, delimiter: char) -> Option<&str> {
    let mut rest = text;
    loop {
        let character = rest.chars().next()?;
        rest = rest.get(character.len_utf8()..)?;
        match character {
            '\\' => rest = rest.get(rest.chars().next()?.len_utf8()..)?,
            _ if character == delimiter => return Some(rest),
            '[' => rest = brackets(rest)?,
            _ => {}
        }
    }
}

/// What stands behind the end of a bracket expression.
fn brackets(text: &str) -> Option<&str> {
    let text = text.strip_prefix('^').unwrap_or(text);
    let mut rest = text.strip_prefix(']').unwrap_or(text);
    loop {
        let character = rest.chars().next()?;
        rest = rest.get(character.len_utf8()..)?;
        match character {
            ']' => return Some(rest),
            // A letter here, an escape to who reads it otherwise.
            '\\' if rest.starts_with(']') => return None,
            '[' => {
                if let Some(kind) = rest.chars().next().filter(|c| ":.=".contains(*c)) {
                    let (_, behind) = rest.get(1..)?.split_once(&format!("{kind}]"))?;
                    rest = behind;
                }
            }
            _ => {}
        }
    }
}

/// What stands behind a text that ends with its line; a backslash continues it.
fn after_text(text: &str) -> &str {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        if character == '\n' && !escaped {
            return text.get(at..).unwrap_or_default();
        }
        escaped = character == '\\' && !escaped;
    }
    ""
}

/// The name of a file, which goes to the end of the line, and what stands behind.
fn file_name(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches([' ', '\t']);
    let end = text.find('\n').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(line: &[&str]) -> String {
        let words: Vec<Value> = line.iter().map(|word| Value::plain(word)).collect();
        let sed = Sed::of(&words);
        let list = |name: &str, files: &[Value]| {
            files
                .iter()
                .map(|file| format!("{name}:{} ", file.text))
                .collect::<String>()
        };
        format!(
            "{}{}{}{}",
            list(if sed.in_place { "i" } else { "o" }, &sed.operands),
            list("r", &sed.reads),
            list("w", &sed.writes),
            if sed.acts { "!" } else { "" },
        )
        .trim()
        .to_owned()
    }

    #[test]
    fn scripts_are_read() {
        for (line, want) in [
            (&["-n", "p", "SECRET"][..], "o:SECRET"),
            (&["-n", "1,5p", "a"], "o:a"),
            (&["-ne", "/x/,/y/p", "a", "b"], "o:a o:b"),
            (&["-n", "-e", "p", "-e", "w F", "a"], "o:a w:F"),
            (&["-i.bak", "s/a/b/g; s|c|d|2p", "a"], "i:a"),
            (&["-Ei", r"s/(\/)/[\/]/gI", "a"], "i:a"),
            (&["s/[^/]*$//;y/ab/cd/", "a"], "o:a"),
            (&["s/[[:alpha:]/]/g;#/e", "a"], "o:a !"),
            (&[r"s/[\]/x/e;s/]/y/", "a"], "o:a !"),
            (&[r"s/\[x/y/", "a"], "o:a"),
            (&["s/x/[/e", "a"], "o:a !"),
            (&["--expression=s/a/b/", "a"], "o:a"),
            (&["--express", "s/a/b/e", "a"], "o:a !"),
            (&["r SECRET", "a"], "o:a r:SECRET"),
            (&["1rSECRET", "a"], "o:a r:SECRET"),
            (&["/x/ r SECRET", "a"], "o:a r:SECRET"),
            (&["wF", "a"], "o:a w:F"),
            (&["1wF", "a"], "o:a w:F"),
            (&["s/x/y/gwF", "a"], "o:a w:F"),
            (&["s/x/y/w F", "a"], "o:a w:F"),
            (&["1e touch x", "a"], "o:a !"),
            (&["-e", "1etouch x", "a"], "o:a !"),
            (&["e", "a"], "o:a !"),
            (&["s/x/y/e", "a"], "o:a !"),
            (&["s/x/y/;e", "a"], "o:a !"),
            (&["s,x,y,ge", "a"], "o:a !"),
            (&["-f", "x.sed", "a"], "o:a r:x.sed !"),
            (&["-nfx.sed", "a"], "o:a r:x.sed !"),
            (&["/a/{s/b/c/;d}", "a"], "o:a"),
            (&["$!N;P;D", "a"], "o:a"),
            (&[":a;N;$!ba;s/\\n/ /g", "a"], "o:a"),
            (&["1i\\\nw F", "a"], "o:a"),
            (&["2a text; w F", "a"], "o:a"),
            (&["# c\nw F", "a"], "o:a w:F"),
            (&["\\,x,d", "a"], "o:a"),
            (&["0~4d", "a"], "o:a"),
            (&["-n", "$="], ""),
            (&["s/a/b/", "--in-pl", "a"], "i:a"),
            (&["--", "p", "-n"], "o:-n"),
            (&["M", "a"], "o:a !"),
        ] {
            assert_eq!(show(line), want, "{line:?}");
        }
    }
}
