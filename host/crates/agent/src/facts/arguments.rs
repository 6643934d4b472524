//! Files that well-known programs touch, guessed from their arguments.

use super::network::hosts;
use super::sed::Sed;
use super::word::Value;
use super::{Collector, Directory};
use selfheal_domain::policy::AccessMode::{self, Delete, Read, Write};
use std::path::Path;

/// Every operand is read.
const READERS: &[&str] = &[
    "cat",
    "tac",
    "head",
    "tail",
    "less",
    "more",
    "most",
    "nl",
    "wc",
    "od",
    "hexdump",
    "strings",
    "file",
    "stat",
    "ls",
    "dir",
    "vdir",
    "tree",
    "du",
    "readlink",
    "realpath",
    "cmp",
    "diff",
    "diff3",
    "sdiff",
    "comm",
    "join",
    "paste",
    "cut",
    "sort",
    "fold",
    "fmt",
    "rev",
    "expand",
    "unexpand",
    "column",
    "md5sum",
    "sha1sum",
    "sha224sum",
    "sha256sum",
    "sha384sum",
    "sha512sum",
    "b2sum",
    "cksum",
    "sum",
    "base64",
    "base32",
    "zcat",
    "bzcat",
    "xzcat",
    "zless",
    "bat",
    "batcat",
    "source",
    ".",
    "test",
    "[",
    "view",
    "look",
    "tsort",
    "ptx",
    "pr",
    "iconv",
];

/// The first operand is a pattern or program, the others are read.
const SEARCHERS: &[&str] = &[
    "grep", "egrep", "fgrep", "zgrep", "rg", "ag", "ack", "awk", "gawk", "mawk", "nawk", "jq",
    "yq", "xmllint",
];

/// Every operand is written.
const WRITERS: &[&str] = &[
    "touch", "mkdir", "mkfifo", "mknod", "truncate", "tee", "sponge", "ed", "ex", "vi", "vim",
    "nvim", "nano", "emacs", "gzip", "gunzip", "bzip2", "bunzip2", "xz", "unxz", "zip", "dos2unix",
    "unix2dos", "black", "isort", "autopep8", "prettier",
];

/// The first operand is a mode or owner, the others are written.
const CHANGERS: &[&str] = &["chmod", "chown", "chgrp", "setfacl", "chattr", "chcon"];

/// Every operand goes.
const REMOVERS: &[&str] = &["rm", "unlink", "rmdir", "shred", "srm", "wipe", "trash"];

/// The last operand is written; the others are read, or go.
const COPIERS: &[&str] = &["cp", "install", "ln", "link", "rsync", "scp"];

/// The first operand is a program text's file.
const INTERPRETERS: &[&str] = &[
    "sh", "bash", "dash", "ash", "ksh", "zsh", "perl", "ruby", "node", "nodejs", "deno", "bun",
    "php", "lua", "tclsh", "Rscript",
];

/// Texts in code on the command line that are looked at.
const MAX_QUOTED: usize = 200;

/// Git's commands that change files of the worktree.
const GIT_WRITERS: &[&str] = &[
    "add",
    "am",
    "apply",
    "bisect",
    "branch",
    "checkout",
    "checkout-index",
    "cherry-pick",
    "clean",
    "clone",
    "commit",
    "config",
    "fetch",
    "filter-branch",
    "gc",
    "init",
    "merge",
    "mv",
    "notes",
    "prune",
    "pull",
    "push",
    "read-tree",
    "rebase",
    "reset",
    "restore",
    "revert",
    "rm",
    "sparse-checkout",
    "stash",
    "submodule",
    "switch",
    "symbolic-ref",
    "tag",
    "update-index",
    "update-ref",
    "worktree",
];

/// Does a subcommand that can write only look, given these words?
fn git_looks(verb: &str, rest: &[Value]) -> bool {
    if rest.iter().any(|word| !word.certain) {
        return false;
    }
    let words: Vec<&str> = rest.iter().map(|word| word.text.as_str()).collect();
    let only = |known: &[&str]| words.iter().all(|word| known.contains(word));
    match (verb, words.first().copied()) {
        ("stash", Some("list" | "show"))
        | ("bisect", Some("log" | "view"))
        | ("submodule", Some("status" | "summary"))
        | ("notes", Some("list" | "show"))
        | ("sparse-checkout", Some("list")) => true,
        ("worktree", Some("list")) => words.len() == 1 || only(&["list", "--porcelain", "-v"]),
        (
            "config",
            Some("--get" | "--get-all" | "--get-regexp" | "--list" | "-l" | "get" | "list"),
        ) => !words
            .iter()
            .any(|word| matches!(*word, "--add" | "--unset" | "--edit" | "-e")),
        ("branch", _) => only(&[
            "-a",
            "-r",
            "-v",
            "-vv",
            "--list",
            "--show-current",
            "--all",
            "--remotes",
            "--no-color",
        ]),
        ("tag", _) => only(&["-l", "--list", "-n"]),
        ("apply", _) => {
            words
                .iter()
                .any(|word| matches!(*word, "--check" | "--stat" | "--numstat" | "--summary"))
                && !words.contains(&"--apply")
        }
        _ => false,
    }
}

/// Options of several programs whose next word is no file.
const WITH_VALUE: &[&str] = &[
    "-n",
    "-c",
    "-e",
    "-f",
    "-d",
    "-m",
    "-s",
    "-k",
    "-t",
    "-A",
    "-B",
    "-C",
    "--lines",
    "--bytes",
    "--regexp",
    "--file",
    "--max-count",
    "--delimiter",
    "--fields",
    "--key",
];

struct Effects<'e, 'c, 'a> {
    from: &'e Directory,
    certain: bool,
    out: &'c mut Collector<'a>,
}

/// Adds the files and hosts of one command line.
pub(super) fn effects(
    name: &str,
    rest: &[Value],
    from: &Directory,
    certain: bool,
    out: &mut Collector<'_>,
) {
    for host in hosts(name, rest) {
        out.network.insert(host);
    }
    let mut effects = Effects { from, certain, out };
    effects.common_options(name, rest);
    match name {
        _ if READERS.contains(&name) => effects.operands(rest, Read),
        _ if SEARCHERS.contains(&name) => effects.search(name, rest),
        _ if WRITERS.contains(&name) => effects.operands(rest, Write),
        _ if CHANGERS.contains(&name) => {
            for word in operands(rest).skip(1) {
                effects.path(word, Write);
            }
        }
        _ if REMOVERS.contains(&name) => effects.operands(rest, Delete),
        _ if COPIERS.contains(&name) => {
            let made = effects.copy(rest, Read);
            if links(name, rest) {
                for name in made {
                    effects.out.alias(from, &name);
                }
            }
        }
        "mv" | "rename" => {
            effects.copy(rest, Delete);
        }
        "split" | "csplit" => {
            for (at, word) in operands(rest).enumerate() {
                effects.path(word, if at == 0 { Read } else { Write });
            }
        }
        "dd" => effects.convert(rest),
        "uniq" | "xxd" => {
            effects.operands(rest, Read);
            for word in operands(rest).skip(1) {
                effects.guess(word, Write);
            }
        }
        // Which files, what they read says.
        "patch" | "unzip" | "7z" => {
            effects.unknown(rest);
            for word in operands(rest) {
                effects.guess(word, Write);
            }
            effects.guess(&Value::plain("."), Write);
        }
        "sed" | "gsed" => effects.sed(rest),
        "perl" if in_place(rest) => effects.operands(rest, Write),
        "find" | "fd" | "fdfind" => effects.find(rest),
        "tar" | "bsdtar" | "cpio" => effects.archive(rest),
        "git" => effects.git(rest),
        "curl" | "wget" => effects.download(rest),
        _ if INTERPRETERS.contains(&name) || name.starts_with("python") => {
            effects.interpreter(rest);
        }
        "cd" | "pushd" | "echo" | "printf" | "export" | "declare" | "set" | "true" | "false" => {}
        _ => effects.unknown(rest),
    }
}

/// Words that are no options; everything behind `--`.
fn operands(rest: &[Value]) -> impl Iterator<Item = &Value> {
    let mut only = false;
    let mut skip = false;
    rest.iter().filter(move |word| {
        if std::mem::take(&mut skip) {
            return false;
        }
        if only {
            return true;
        }
        if word.text == "--" {
            only = true;
            return false;
        }
        if word.text.starts_with('-') && word.text.len() > 1 {
            skip = WITH_VALUE.contains(&word.text.as_str());
            return false;
        }
        true
    })
}

/// Makes names for what is there instead of copies.
fn links(name: &str, rest: &[Value]) -> bool {
    match name {
        "ln" | "link" => true,
        "cp" => rest.iter().any(|word| {
            let text = word.text.as_str();
            let long = |option: &str| text.len() > 3 && option.starts_with(text);
            (text.starts_with('-') && !text.starts_with("--") && text.contains(['l', 's']))
                || long("--link")
                || long("--symbolic-link")
        }),
        _ => false,
    }
}

fn in_place(rest: &[Value]) -> bool {
    rest.iter().any(|word| {
        let text = word.text.as_str();
        text.starts_with("--in-place")
            || (text.starts_with('-') && !text.starts_with("--") && text.contains('i'))
    })
}

impl Effects<'_, '_, '_> {
    fn path(&mut self, word: &Value, mode: AccessMode) {
        let certain = self.certain;
        self.out.path(self.from, word, mode, certain);
    }

    fn guess(&mut self, word: &Value, mode: AccessMode) {
        self.out.path(self.from, word, mode, false);
    }

    /// An option that a value was skipped for may have had none, so every word
    /// that names something there counts, certainly or as a guess.
    fn operands(&mut self, rest: &[Value], mode: AccessMode) {
        let sure: Vec<&Value> = operands(rest).collect();
        for word in rest.iter().filter(|word| !word.text.starts_with('-')) {
            if sure.iter().any(|known| std::ptr::eq(*known, word)) {
                self.path(word, mode);
            } else if self.exists(word) || mode != Read {
                self.guess(word, mode);
            }
        }
        for word in operands(rest).filter(|word| word.text.starts_with('-')) {
            self.path(word, mode);
        }
    }

    fn exists(&self, word: &Value) -> bool {
        !word.text.is_empty()
            && self
                .out
                .scope
                .view
                .resolve(&self.from.path, Path::new(&word.text))
                .exists
    }

    /// `--output=FILE`, `-o FILE` where they mean a file.
    fn common_options(&mut self, name: &str, rest: &[Value]) {
        let short = matches!(
            name,
            "sort"
                | "shuf"
                | "iconv"
                | "curl"
                | "gcc"
                | "cc"
                | "g++"
                | "clang"
                | "ld"
                | "go"
                | "tree"
                | "xmllint"
        );
        for (at, word) in rest.iter().enumerate() {
            for option in [
                "--out=",
                "--outp=",
                "--outpu=",
                "--output=",
                "--outfile=",
                "--output-file=",
                "--junitxml=",
                "--log-file=",
            ] {
                if let Some(file) = word.text.strip_prefix(option) {
                    let file = Value {
                        text: file.to_owned(),
                        ..word.clone()
                    };
                    self.path(&file, Write);
                }
            }
            let long = word.text.len() > 4 && "--output".starts_with(word.text.as_str());
            if (short && word.text == "-o") || long || word.text == "--junitxml" {
                if let Some(file) = rest.get(at + 1) {
                    self.path(file, Write);
                }
            } else if short && word.text.len() > 2 && word.text.starts_with("-o") {
                let file = Value {
                    text: word.text.get(2..).unwrap_or_default().to_owned(),
                    ..word.clone()
                };
                self.guess(&file, Write);
            }
        }
    }

    fn search(&mut self, name: &str, rest: &[Value]) {
        if name.ends_with("awk") && rest.iter().any(|word| awk_acts(&word.text)) {
            self.out.not_understood();
        }
        let given = rest.iter().any(|word| {
            matches!(word.text.as_str(), "-e" | "-f" | "--regexp" | "--file")
                || word.text.starts_with("--regexp=")
        });
        for (at, word) in rest.iter().enumerate() {
            if matches!(word.text.as_str(), "-f" | "--file")
                && let Some(file) = rest.get(at + 1)
            {
                self.path(file, Read);
            }
        }
        for word in operands(rest).skip(usize::from(!given)) {
            self.path(word, Read);
        }
    }

    /// `cp`, `mv`, `ln`, `install`: what happens to the sources is `source`.
    /// Answers what is there afterwards.
    fn copy(&mut self, rest: &[Value], source: AccessMode) -> Vec<Value> {
        let mut target = None;
        for (at, word) in rest.iter().enumerate() {
            if matches!(word.text.as_str(), "-t" | "--target-directory") {
                target = rest.get(at + 1).cloned();
            } else if let Some(place) = word.text.strip_prefix("--target-directory=") {
                target = Some(Value {
                    text: place.to_owned(),
                    ..word.clone()
                });
            }
        }
        let mut words: Vec<Value> = rest
            .iter()
            .filter(|word| !word.text.starts_with('-') || word.text == "-")
            .cloned()
            .collect();
        match &target {
            Some(target) => words.retain(|word| word != target),
            None => target = words.pop(),
        }
        for word in &words {
            self.path(word, source);
        }
        let Some(target) = target else {
            return Vec::new();
        };
        let place = self
            .out
            .scope
            .view
            .resolve(&self.from.path, Path::new(&target.text));
        if !place.directory {
            self.path(&target, Write);
            return vec![target];
        }
        let mut made = Vec::new();
        for word in &words {
            let name = Path::new(&word.text).file_name().unwrap_or_default();
            let inside = Value {
                text: format!("{}/{}", target.text, name.to_string_lossy()),
                certain: target.certain && word.certain,
                known: target.known && word.known,
                laced: target.laced || word.laced,
            };
            self.path(&inside, Write);
            made.push(inside);
        }
        if words.is_empty() {
            self.path(&target, Write);
            made.push(target);
        }
        made
    }

    fn convert(&mut self, rest: &[Value]) {
        for word in rest {
            let Some((option, file)) = word.text.split_once('=') else {
                continue;
            };
            let file = Value {
                text: file.to_owned(),
                ..word.clone()
            };
            match option {
                "if" => self.path(&file, Read),
                "of" => self.path(&file, Write),
                _ => {}
            }
        }
    }

    fn sed(&mut self, rest: &[Value]) {
        let sed = Sed::of(rest);
        let mode = if sed.in_place { Write } else { Read };
        for word in &sed.operands {
            self.path(word, mode);
        }
        for word in &sed.reads {
            self.path(word, Read);
        }
        for word in &sed.writes {
            self.path(word, Write);
        }
        if sed.acts || !sed.writes.is_empty() {
            self.out.not_understood();
        }
    }

    fn find(&mut self, rest: &[Value]) {
        let removes = rest.iter().any(|word| word.text == "-delete");
        let mut any = false;
        for word in rest
            .iter()
            .take_while(|word| !word.text.starts_with(['-', '(', '!']))
        {
            any = true;
            self.path(word, Read);
            if removes {
                self.guess(word, Delete);
            }
        }
        if removes && !any {
            self.guess(&Value::plain("."), Delete);
        }
        for (at, word) in rest.iter().enumerate() {
            if (word.text.starts_with("-fprint") || word.text == "-fls")
                && let Some(file) = rest.get(at + 1)
            {
                self.path(file, Write);
            }
        }
    }

    fn archive(&mut self, rest: &[Value]) {
        let first = rest.first().map_or("", |word| word.text.as_str());
        let extracts = rest.iter().any(|word| {
            matches!(word.text.as_str(), "--extract" | "--get")
                || (word.text.starts_with('-')
                    && !word.text.starts_with("--")
                    && word.text.contains('x'))
        }) || (!first.starts_with('-') && first.contains('x'));
        if rest.iter().any(|word| runs_for_archive(&word.text)) {
            self.out.not_understood();
        }
        for word in operands(rest) {
            self.guess(word, if extracts { Write } else { Read });
        }
        for (at, word) in rest.iter().enumerate() {
            let text = word.text.as_str();
            if (matches!(text, "-C" | "--directory" | "-f" | "--file")
                || (text.ends_with('f') && (at == 0 || text.starts_with('-'))))
                && let Some(file) = rest.get(at + 1)
            {
                self.guess(file, Write);
            }
        }
        if extracts {
            self.guess(&Value::plain("."), Write);
        }
    }

    fn git(&mut self, rest: &[Value]) {
        let mut from = self.from.clone();
        let mut at = 0;
        while let Some(word) = rest.get(at) {
            match word.text.as_str() {
                "-C" => {
                    if let Some(place) = rest.get(at + 1) {
                        let resolved = self
                            .out
                            .scope
                            .view
                            .resolve(&from.path, Path::new(&place.text));
                        from = Directory {
                            certain: from.certain && place.certain && resolved.certain,
                            path: resolved.path,
                        };
                    }
                    at += 2;
                }
                "--git-dir" | "--work-tree" | "-c" => at += 2,
                text if text.starts_with('-') => at += 1,
                _ => break,
            }
        }
        let Some(verb) = rest.get(at) else {
            return;
        };
        let more = rest.get(at + 1..).unwrap_or_default();
        if verb.certain
            && (!GIT_WRITERS.contains(&verb.text.as_str()) || git_looks(&verb.text, more))
        {
            // Some of its options take any file, known to git or not.
            Effects {
                from: &from,
                certain: self.certain,
                out: &mut *self.out,
            }
            .unknown(more);
            return;
        }
        self.out.path(&from, &Value::plain(".git"), Write, false);
        self.out.path(&from, &Value::plain("."), Write, false);
        let made = matches!(verb.text.as_str(), "mv" | "clone" | "init");
        for word in operands(rest.get(at + 1..).unwrap_or_default()) {
            let place = self
                .out
                .scope
                .view
                .resolve(&from.path, Path::new(&word.text));
            if made || place.exists || word.text.contains('/') {
                self.out.path(&from, word, Write, false);
            }
        }
    }

    fn download(&mut self, rest: &[Value]) {
        for (at, word) in rest.iter().enumerate() {
            if matches!(
                word.text.as_str(),
                "-O" | "--output-document" | "-T" | "-K" | "-P"
            ) && let Some(file) = rest.get(at + 1)
            {
                self.guess(file, Write);
            }
            if let Some(file) = word
                .text
                .strip_prefix('@')
                .or(word.text.strip_prefix("file://"))
            {
                self.guess(&Value::guess(file.to_owned()), Read);
            }
        }
    }

    fn interpreter(&mut self, rest: &[Value]) {
        let inline = rest
            .iter()
            .take_while(|word| word.text.starts_with('-'))
            .any(|word| {
                matches!(
                    word.text.as_str(),
                    "-c" | "-e" | "-m" | "-p" | "-r" | "--eval" | "--print"
                )
            });
        let script = rest.iter().find(|word| !word.text.starts_with('-'));
        if let (false, Some(script)) = (inline, script) {
            self.path(script, Read);
        }
        let others: Vec<Value> = rest
            .iter()
            .filter(|word| Some(*word) != script || inline)
            .cloned()
            .collect();
        self.unknown(&others);
        if inline {
            self.quoted(rest);
        }
    }

    /// Texts in the quotes of code on the command line that name something there are
    /// probably read.
    fn quoted(&mut self, rest: &[Value]) {
        let codes = rest.iter().filter(|word| word.known);
        for quote in ['\'', '"'] {
            let texts = codes
                .clone()
                .flat_map(|word| word.text.split(quote).skip(1));
            for text in texts.take(MAX_QUOTED) {
                let value = Value::guess(text.to_owned());
                if text.len() < 4096 && !text.contains('\n') && self.exists(&value) {
                    self.guess(&value, Read);
                }
            }
        }
    }

    /// Nothing is known of the program: words that name something there are
    /// probably read.
    fn unknown(&mut self, rest: &[Value]) {
        for word in rest
            .iter()
            .filter(|word| word.known && word.text.len() < 4096)
        {
            let text = word
                .text
                .split_once('=')
                .map_or(word.text.as_str(), |(name, value)| {
                    if name.starts_with('-') {
                        value
                    } else {
                        &word.text
                    }
                });
            if text.starts_with('-') || text.contains(['\n', ' ']) {
                continue;
            }
            // As in `tests/test_a.py::test_b`.
            let file = text.split("::").next().unwrap_or(text);
            let value = Value::guess(file.to_owned());
            if self.exists(&value) {
                self.guess(&value, Read);
            }
        }
    }
}

/// An option of an archiver, maybe abbreviated, that names a program.
fn runs_for_archive(option: &str) -> bool {
    let name = option.split('=').next().unwrap_or_default();
    [
        "--to-c",
        "--checkpoint-a",
        "--use",
        "--rsh",
        "--rmt",
        "--info",
        "--new-volume",
    ]
    .iter()
    .any(|start| name.starts_with(start))
        || (option.starts_with("-I") || option.starts_with("-F"))
}

/// The program runs commands or writes files.
fn awk_acts(program: &str) -> bool {
    ["system", "getline", "|", ">>", "@load", "@include"]
        .iter()
        .any(|mark| program.contains(mark))
        || program
            .split_whitespace()
            .collect::<String>()
            .contains(">\"")
}
