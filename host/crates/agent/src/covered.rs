//! Secrets that a call may show without naming them: by a wildcard, a name that is only
//! known when it runs, or a walk through a directory.
//!
//! Only for calls that nothing contains. In the sandbox secrets read as empty, so there
//! it does not matter what a command looks through.

use crate::view::View;
use crate::walk::all_files;
use globset::{GlobBuilder, GlobMatcher};
use selfheal_domain::policy::{AccessMode, SimpleCommand, ToolCallFacts};
use serde_json::Value as Json;
use std::ops::ControlFlow;
use std::path::Path;

/// Programs that show no contents of the files they are given.
const NAMES_ONLY: &[&str] = &[
    ":", "[", "[[", "basename", "cd", "chgrp", "chmod", "chown", "command", "declare", "dir",
    "dirname", "du", "df", "echo", "exit", "export", "false", "git", "kill", "local", "ls",
    "mkdir", "popd", "printf", "pushd", "read", "readlink", "realpath", "return", "rm", "rmdir",
    "set", "shift", "sleep", "stat", "test", "touch", "tree", "true", "type", "unlink", "unset",
    "vdir", "which",
];

/// Programs that show, copy or run the files they are given.
const SHOWS: &[&str] = &[
    ".", "awk", "base32", "base64", "bash", "bat", "bzcat", "cat", "cmp", "column", "comm", "cp",
    "cut", "dd", "diff", "egrep", "expand", "fgrep", "fold", "gawk", "grep", "gzip", "head",
    "hexdump", "iconv", "install", "join", "jq", "less", "ln", "mawk", "more", "mv", "nl", "od",
    "openssl", "paste", "pr", "rev", "rg", "rsync", "scp", "sed", "sh", "sort", "source",
    "strings", "tac", "tail", "tar", "tee", "tr", "uniq", "view", "xxd", "xzcat", "yq", "zcat",
    "zgrep", "zip",
];

/// Of those, the ones whose first words are no files.
const PATTERN_FIRST: &[&str] = &[
    "awk", "egrep", "fgrep", "gawk", "grep", "jq", "mawk", "rg", "sed", "tr", "yq", "zgrep",
];

/// What is only known when it runs.
const COMPUTED: [char; 2] = ['$', '`'];

const WILDCARDS: [char; 4] = ['*', '?', '[', '{'];

/// What a call may read, none of it by its exact name.
#[derive(Default)]
struct Reach {
    /// Globs, relative to any directory.
    patterns: Vec<Pattern>,
    /// All below the directories that the call names, or below the workspace.
    walks: bool,
    /// Whatever git knows.
    known_to_git: bool,
}

struct Pattern {
    text: String,
    /// A shell's: a wildcard at the start of a name matches no dot.
    shell: bool,
}

impl Pattern {
    fn of_shell(text: &str) -> Self {
        Self {
            text: anywhere(text),
            shell: true,
        }
    }

    fn plain(text: &str) -> Self {
        Self {
            text: anywhere(text),
            shell: false,
        }
    }

    /// Whether it may stand for a file of this name.
    fn meets(&self, path: &str) -> bool {
        let hidden = base_name(path).starts_with('.');
        !(self.shell && hidden && base_name(&self.text).starts_with(['*', '?', '[']))
    }
}

/// The first secret file of the workspace that the call may show, if there is one.
/// `is_secret` and `is_tracked` take paths relative to the workspace.
pub(crate) fn covered(
    facts: &ToolCallFacts,
    input: &Json,
    view: &View,
    is_secret: &dyn Fn(&str) -> bool,
    is_tracked: &dyn Fn(&str) -> bool,
) -> Option<String> {
    let reach = reach(facts, input);
    if reach.patterns.is_empty() && !reach.walks && !reach.known_to_git {
        return None;
    }
    let globs: Vec<(&Pattern, GlobMatcher)> = reach
        .patterns
        .iter()
        .filter_map(|pattern| Some((pattern, glob(&pattern.text)?)))
        .collect();
    let unreadable = globs.len() < reach.patterns.len();
    let places: Vec<&str> = facts
        .paths
        .iter()
        .filter(|access| access.mode == AccessMode::Read)
        .filter_map(|access| access.relative.as_deref())
        .filter(|relative| view.root().join(relative).is_dir())
        .collect();
    let walked = |path: &str| {
        reach.walks
            && (places.is_empty()
                || places
                    .iter()
                    .any(|place| Path::new(path).starts_with(place)))
    };
    let mut found = None;
    let complete = all_files(view, &mut |path| {
        let full = view.root().join(path);
        let shown = is_secret(path)
            && (unreadable
                || walked(path)
                || reach.known_to_git && is_tracked(path)
                || globs.iter().any(|(pattern, glob)| {
                    pattern.meets(path) && (glob.is_match(path) || glob.is_match(&full))
                }));
        if shown {
            found = Some(path.to_owned());
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    found.or_else(|| (!complete).then(|| "one of very many files".to_owned()))
}

fn reach(facts: &ToolCallFacts, input: &Json) -> Reach {
    let mut reach = Reach::default();
    match facts.tool.as_str() {
        "Bash" => {
            for command in &facts.commands {
                of_command(command, facts, &mut reach);
            }
            of_redirections(facts, &mut reach);
        }
        // Their globs count even for files that searches leave out by themselves.
        "Grep" | "Read" => {
            let fields = ["glob", "include", "include_pattern", "paths"];
            let texts = fields.iter().filter_map(|name| input.get(*name));
            let texts = texts.flat_map(|field| match field {
                Json::Array(items) => items.iter().filter_map(Json::as_str).collect(),
                field => field.as_str().into_iter().collect::<Vec<_>>(),
            });
            reach.patterns.extend(
                texts
                    .filter(|text| text.contains(WILDCARDS) && !text.starts_with('!'))
                    .map(Pattern::plain),
            );
        }
        _ => {}
    }
    reach
}

fn of_command(command: &SimpleCommand, facts: &ToolCallFacts, reach: &mut Reach) {
    let name = base_name(&command.program.text);
    let words: Vec<&str> = command
        .arguments
        .iter()
        .map(|word| word.text.as_str())
        .collect();
    let beyond_git = name == "git" && words.iter().any(|word| is_beyond_git(word));
    if NAMES_ONLY.contains(&name) && !beyond_git {
        return;
    }
    reach.walks |= walks(name, &words) || (beyond_git && words.contains(&"grep"));
    let last = words.len().saturating_sub(1);
    for (at, word) in command.arguments.iter().enumerate() {
        if word.certain || word.text.starts_with('-') {
            continue;
        }
        if word.text == "{}" {
            handed_over(facts, reach);
        } else if word.text.contains(COMPUTED) {
            let is_file = SHOWS.contains(&name) && (at == last || !PATTERN_FIRST.contains(&name));
            if is_file {
                reach.patterns.push(Pattern::plain(&computed(&word.text)));
            }
        } else if word.text.contains(WILDCARDS) {
            reach.patterns.push(Pattern::of_shell(&word.text));
        }
    }
}

/// Files that `find` and `xargs` hand to a command.
fn handed_over(facts: &ToolCallFacts, reach: &mut Reach) {
    let mut known = false;
    for command in &facts.commands {
        let words = || command.arguments.iter().map(|word| word.text.as_str());
        match base_name(&command.program.text) {
            "find" => {
                known = true;
                let mut named = false;
                let mut tests = words();
                while let Some(word) = tests.next() {
                    if matches!(word, "-name" | "-iname" | "-path" | "-wholename" | "-ipath") {
                        named = true;
                        reach.patterns.extend(tests.next().map(Pattern::plain));
                    }
                }
                let alternatives = words().any(|word| matches!(word, "-o" | "-or" | "!" | "-not"));
                reach.walks |= !named || alternatives;
            }
            "git" => {
                known = true;
                reach.known_to_git = true;
                reach.walks |= words().any(|word| matches!(word, "-o" | "--others"));
            }
            // What they look through is a question of its own.
            "grep" | "egrep" | "fgrep" | "rg" | "ag" => known = true,
            _ => {}
        }
    }
    reach.walks |= !known;
}

/// Files that come in by redirections are no words of a command.
fn of_redirections(facts: &ToolCallFacts, reach: &mut Reach) {
    let named = |path: &str| {
        facts
            .commands
            .iter()
            .flat_map(|command| &command.arguments)
            .map(|word| word.text.trim_start_matches("./"))
            .any(|word| !word.is_empty() && path.ends_with(word))
    };
    for access in &facts.paths {
        let open = access.path.contains(WILDCARDS) || access.path.contains(COMPUTED);
        if access.mode == AccessMode::Read && !access.certain && open && !named(&access.path) {
            let text = access.relative.as_deref().unwrap_or(&access.path);
            reach.patterns.push(if access.path.contains(COMPUTED) {
                Pattern::plain(&computed(text))
            } else {
                Pattern::of_shell(text)
            });
        }
    }
}

/// Looks through whole directories.
fn walks(name: &str, words: &[&str]) -> bool {
    let short = |letters: &[char]| {
        words
            .iter()
            .any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letters))
    };
    let long = |option: &str| {
        words
            .iter()
            .any(|word| word.len() > 3 && option.starts_with(*word))
    };
    match name {
        "grep" | "egrep" | "fgrep" | "zgrep" => {
            short(&['r', 'R'])
                || long("--recursive")
                || long("--dereference-recursive")
                || words.iter().any(|word| word.contains("recurse"))
        }
        // They leave out what git ignores, unless they are told not to.
        "rg" | "ag" => {
            short(&['u', '.', 'g', 'U'])
                || words.iter().any(|word| {
                    ["--no-i", "--hid", "--unr", "--glob", "--igl"]
                        .iter()
                        .any(|start| word.starts_with(start))
                })
        }
        "ack" | "ugrep" => true,
        "cp" => short(&['r', 'R', 'a']) || long("--recursive") || long("--archive"),
        "rsync" | "scp" => short(&['r', 'a']) || long("--recursive") || long("--archive"),
        "diff" => short(&['r']) || long("--recursive"),
        "zip" => short(&['r']) || long("--recurse-paths"),
        "tar" | "bsdtar" => {
            words.first().is_some_and(|first| {
                !first.starts_with("--") && first.contains(['c', 'r', 'u', 'A'])
            }) || short(&['c', 'r', 'u', 'A'])
                || long("--create")
                || long("--append")
                || long("--update")
        }
        "7z" => words.first() == Some(&"a"),
        _ => false,
    }
}

/// Options with which git looks at files that it does not know.
fn is_beyond_git(word: &str) -> bool {
    ["--no-in", "--untr", "--no-ex", "--contents"]
        .iter()
        .any(|start| word.starts_with(start))
}

/// What is computed may be any text.
fn computed(text: &str) -> String {
    match text.find(COMPUTED) {
        // All behind it counts only where it is plainly no part of the substitution.
        Some(at) => {
            let before = text.get(..at).unwrap_or_default();
            let behind = text
                .rsplit(['}', ')', '`', '"'])
                .next()
                .and_then(|rest| rest.find('/').and_then(|slash| rest.get(slash..)))
                .filter(|rest| !rest.contains(COMPUTED))
                .unwrap_or_default();
            format!("{before}**{behind}")
        }
        None => text.to_owned(),
    }
}

/// The pattern, below any directory: where a command works is not always known.
fn anywhere(pattern: &str) -> String {
    let mut rest = pattern;
    while let Some(inside) = rest.strip_prefix("./").or_else(|| rest.strip_prefix("../")) {
        rest = inside;
    }
    let rest = rest.rsplit("/../").next().unwrap_or(rest);
    if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("**/{rest}")
    }
}

/// Whatever is a wildcard to a shell, and `**` over all directories.
fn glob(pattern: &str) -> Option<GlobMatcher> {
    // In the middle of a name `**` would be a mistake in a glob.
    let pattern = pattern.replace("**", "\u{1}");
    let pattern = pattern.replace("\u{1}/", "**/");
    let across = pattern.contains('\u{1}');
    let pattern = pattern.replace('\u{1}', "*");
    GlobBuilder::new(&pattern)
        .literal_separator(!across)
        .case_insensitive(true)
        .build()
        .ok()
        .map(|glob| glob.compile_matcher())
}

fn base_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}
