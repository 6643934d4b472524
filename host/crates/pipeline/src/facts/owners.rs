//! Who owns a file, as `CODEOWNERS` says: GitHub's and GitLab's form. The last rule
//! that matches wins; in GitLab's sections, the last of each section.

/// Where the file may lie, in the order in which it is looked for.
pub(super) const PLACES: [&str; 4] = [
    ".github/CODEOWNERS",
    "CODEOWNERS",
    "docs/CODEOWNERS",
    ".gitlab/CODEOWNERS",
];

/// Most rules that are read.
const MOST: usize = 10_000;

/// Rules of one file.
#[derive(Debug, Default)]
pub(super) struct Owners {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    section: usize,
    pattern: String,
    owners: Vec<String>,
}

impl Owners {
    /// Reads the file; what is no rule is passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut rules = Vec::new();
        let mut section = 0;
        let mut defaults: Vec<String> = Vec::new();
        for line in text.lines().take(MOST) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let header = line.trim_start_matches('^');
            if header.starts_with('[')
                && let Some(end) = header.find(']')
            {
                section += 1;
                // A number of approvals may follow in brackets of its own.
                let rest = header.get(end + 1..).unwrap_or_default();
                let rest = match rest.strip_prefix('[') {
                    Some(count) => count.split_once(']').map_or("", |(_, rest)| rest),
                    None => rest,
                };
                defaults = names(rest);
                continue;
            }
            let (pattern, rest) = first_word(line);
            let owners = names(rest);
            rules.push(Rule {
                section,
                pattern,
                owners: if owners.is_empty() {
                    defaults.clone()
                } else {
                    owners
                },
            });
        }
        Self { rules }
    }

    /// Who owns `path`; nobody where no rule says so.
    pub(super) fn of(&self, path: &str) -> Vec<String> {
        let mut last: std::collections::BTreeMap<usize, &Rule> = std::collections::BTreeMap::new();
        for rule in &self.rules {
            if matches(&rule.pattern, path) {
                last.insert(rule.section, rule);
            }
        }
        let mut owners: Vec<String> = Vec::new();
        for owner in last.values().flat_map(|rule| &rule.owners) {
            if !owners.contains(owner) {
                owners.push(owner.clone());
            }
        }
        owners
    }
}

/// The pattern, in which a blank may be escaped, and the rest of the line.
fn first_word(line: &str) -> (String, &str) {
    let mut word = String::new();
    let mut characters = line.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => word.extend(characters.next().map(|(_, escaped)| escaped)),
            c if c.is_whitespace() => return (word, line.get(at..).unwrap_or_default()),
            c => word.push(c),
        }
    }
    (word, "")
}

fn names(text: &str) -> Vec<String> {
    text.split_whitespace()
        .take_while(|word| !word.starts_with('#'))
        .filter(|word| word.contains('@'))
        .map(str::to_owned)
        .collect()
}

/// As in `.gitignore`, without negation and character classes.
fn matches(pattern: &str, path: &str) -> bool {
    let directory = pattern.ends_with('/');
    let bare = pattern.trim_matches('/');
    if bare.is_empty() || bare == "*" {
        return !bare.is_empty() || directory;
    }
    let anchored = pattern.starts_with('/') || bare.contains('/');
    let pattern: Vec<&str> = bare.split('/').collect();
    let parts: Vec<&str> = path.split('/').collect();
    let starts = if anchored { 0..1 } else { 0..parts.len() };
    // `docs/*` means the files of the directory, not what lies below.
    let below = !(anchored && bare.ends_with("/*"));
    starts
        .filter_map(|from| parts.get(from..))
        .any(|parts| walk(&pattern, parts, directory, below))
}

/// Do the first of `parts` match all of `pattern`? What lies below a directory that
/// matched belongs to it.
fn walk(pattern: &[&str], parts: &[&str], directory: bool, below: bool) -> bool {
    match (pattern.split_first(), parts.split_first()) {
        (None, None) => !directory,
        (None, Some(_)) => below || directory,
        (Some((&"**", rest)), _) => (0..=parts.len()).any(|skipped| {
            parts
                .get(skipped..)
                .is_some_and(|parts| walk(rest, parts, directory, below))
        }),
        (Some((first, rest)), Some((part, parts))) => {
            component(first.as_bytes(), part.as_bytes()) && walk(rest, parts, directory, below)
        }
        (Some(_), None) => false,
    }
}

/// `*` and `?` within one name; linear but for stars, which save one position.
fn component(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut here) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), name.get(here)) {
            (Some(b'*'), _) => {
                star = Some((at + 1, here));
                at += 1;
            }
            (Some(b'?'), Some(_)) => {
                at += 1;
                here += 1;
            }
            (Some(wanted), Some(found)) if wanted == found => {
                at += 1;
                here += 1;
            }
            (None, None) => return true,
            _ => match star {
                Some((after, from)) if from < name.len() => {
                    star = Some((after, from + 1));
                    (at, here) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rule_that_matches_wins() {
        let owners = Owners::parse(
            "# who\n* @org/all\n*.js @org/web # scripts\n/build/logs/ @doc\ndocs/* docs@example.org\napps/ @org/apps\n/scripts/ @a @b\n**/logs @log\n/apps/github\npath\\ x/ @space\n",
        );
        for (path, expected) in [
            ("a.py", vec!["@org/all"]),
            ("web/a.js", vec!["@org/web"]),
            ("build/logs/x/y", vec!["@log"]),
            ("docs/a.md", vec!["docs@example.org"]),
            ("docs/build/a.md", vec!["@org/all"]),
            ("x/apps/a.py", vec!["@org/apps"]),
            ("scripts/x", vec!["@a", "@b"]),
            ("deep/scripts/x", vec!["@org/all"]),
            ("deep/logs/x", vec!["@log"]),
            ("apps/github/a.py", vec![]),
            ("path x/a.py", vec!["@space"]),
        ] {
            assert_eq!(owners.of(path), expected, "{path}");
        }
    }

    #[test]
    fn every_section_has_its_say() {
        let owners =
            Owners::parse("* @all\n[Security][2] @sec\nauth/\n*.key @keys\n^[Docs]\n*.md @docs\n");
        assert_eq!(owners.of("auth/a.py"), ["@all", "@sec"]);
        assert_eq!(owners.of("auth/a.key"), ["@all", "@keys"]);
        assert_eq!(owners.of("a.md"), ["@all", "@docs"]);
        assert_eq!(Owners::parse("").of("a"), [""; 0]);
    }

    #[test]
    fn stars_take_no_more_time_than_they_must() {
        let pattern = format!("{}b", "a*".repeat(50));
        assert!(!component(pattern.as_bytes(), "a".repeat(5_000).as_bytes()));
    }
}
