//! What a call would do, as far as can be known before it does it: the programs
//! a command leads to, the files, the hosts (invariant 4).
//!
//! Facts sort; the sandbox contains. What is not understood is marked as such,
//! never left out silently.

mod arguments;
pub(crate) mod foreign;
mod network;
mod sed;
mod shell;
mod word;
mod wrappers;

use crate::broker::shorten;
use crate::masking::Masker;
use crate::view::View;
use crate::workbench::Bench;
use selfheal_domain::policy::{AccessMode, PathAccess, SimpleCommand, ToolCallFacts, Word};
use selfheal_domain::tools::ToolRequest;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use word::Value;

/// Bytes of shell text that are parsed for one call, nested texts included.
const MAX_SHELL: usize = 64 * 1024;

/// Longest text of an input that is recorded whole, in bytes.
const MAX_INPUT_TEXT: usize = 64 * 1024;

/// Longest sum of an input's texts in the record, in bytes.
const MAX_INPUT: usize = 256 * 1024;

/// Most values of an input in the record, nested ones included.
const MAX_INPUT_VALUES: usize = 10_000;

/// Most commands and paths of one call; what has more is not understood.
const MAX_FACTS: usize = 2_000;

/// Whether a path (absolute, and relative when inside) is out of reach.
pub(crate) type Reach<'a> = Box<dyn Fn(&Path, Option<&str>) -> bool + 'a>;

/// The host that an MCP server's name stands for, when calls go over the network.
pub(crate) type McpHost<'a> = Box<dyn Fn(&str) -> Option<String> + 'a>;

/// What facts are made from.
pub(crate) struct Scope<'a> {
    view: &'a View,
    environment: &'a BTreeMap<String, String>,
    tracked: Box<dyn Fn(&str) -> bool + 'a>,
    protected: Reach<'a>,
    masker: &'a Masker,
    mcp_host: McpHost<'a>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(bench: &'a Bench, view: &'a View) -> Self {
        Self {
            view,
            environment: &bench.config.environment_variables,
            tracked: Box::new(|relative| (bench.config.tracked)(relative)),
            protected: Box::new(|path, relative| {
                bench.is_private(path)
                    || relative.is_some_and(|relative| {
                        bench.rules.is_protected(relative) || bench.is_secret(relative)
                    })
            }),
            masker: &bench.masker,
            mcp_host: Box::new(|server| crate::mcp::host_of(bench.config.mcp.as_ref(), server)),
        }
    }
}

impl<'a> Scope<'a> {
    /// A scope without a bench around it.
    pub(crate) fn with(
        view: &'a View,
        environment: &'a BTreeMap<String, String>,
        masker: &'a Masker,
        tracked: Box<dyn Fn(&str) -> bool + 'a>,
        protected: Reach<'a>,
    ) -> Self {
        Self {
            view,
            environment,
            tracked,
            protected,
            masker,
            mcp_host: Box::new(|_| None),
        }
    }
}

/// Whether a path is one of the files that agents bring along: plainly below their
/// directory, which no command can write.
fn is_asset(path: &str) -> bool {
    Path::new(path)
        .strip_prefix(selfheal_sandbox::ASSETS_PATH)
        .is_ok_and(|rest| {
            rest.components()
                .all(|part| matches!(part, Component::Normal(_)))
        })
}

/// The facts of one call. Never fails: what cannot be understood says so.
pub(crate) fn facts_of(request: &ToolRequest, scope: &Scope<'_>) -> ToolCallFacts {
    let mut facts = Collector::new(scope);
    let root = Directory::at(scope.view.root());
    let mut bytes = 0;
    match request {
        ToolRequest::Bash {
            command, directory, ..
        } => {
            let place = scope.view.resolve(&root.path, Path::new(directory));
            let directory = Directory {
                certain: place.certain && place.directory,
                path: place.path,
            };
            shell::understand(command, directory, &mut facts);
        }
        ToolRequest::Read { path, .. } => {
            facts.path(&root, &Value::plain(path), AccessMode::Read, true)
        }
        ToolRequest::Grep { .. } | ToolRequest::Glob { .. } => {
            facts.path(&root, &Value::plain("."), AccessMode::Read, true);
        }
        ToolRequest::Write { path, content } => {
            bytes = content.len() as u64;
            facts.path(&root, &Value::plain(path), AccessMode::Write, true);
        }
        ToolRequest::Edit { path, new, .. } => {
            bytes = new.len() as u64;
            facts.path(&root, &Value::plain(path), AccessMode::Write, true);
        }
        ToolRequest::MultiEdit { path, edits } => {
            bytes = edits.iter().map(|edit| edit.new.len() as u64).sum();
            facts.path(&root, &Value::plain(path), AccessMode::Write, true);
        }
        // What a sub-agent does are calls of their own.
        ToolRequest::Task { .. } => {}
        ToolRequest::Mcp { server, .. } => {
            facts.network.extend((scope.mcp_host)(server));
        }
    }
    facts.finish(request, bytes)
}

/// A directory that relative paths start from.
#[derive(Clone, Debug)]
struct Directory {
    path: PathBuf,
    certain: bool,
}

impl Directory {
    fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            certain: true,
        }
    }
}

/// Gathers facts; bounded.
struct Collector<'a> {
    scope: &'a Scope<'a>,
    commands: Vec<SimpleCommand>,
    paths: Vec<PathAccess>,
    seen: HashSet<(String, AccessMode, bool)>,
    network: BTreeSet<String>,
    /// Names that the call makes lead elsewhere.
    aliases: Vec<PathBuf>,
    parsed: bool,
    budget: usize,
    programs: HashMap<String, Option<String>>,
}

impl<'a> Collector<'a> {
    fn new(scope: &'a Scope<'a>) -> Self {
        Self {
            scope,
            commands: Vec::new(),
            paths: Vec::new(),
            seen: HashSet::new(),
            network: BTreeSet::new(),
            aliases: Vec::new(),
            parsed: true,
            budget: MAX_SHELL,
            programs: HashMap::new(),
        }
    }

    /// Takes bytes of the parser's budget; false when it is used up.
    fn charge(&mut self, bytes: usize) -> bool {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                true
            }
            None => {
                self.parsed = false;
                false
            }
        }
    }

    fn not_understood(&mut self) {
        self.parsed = false;
    }

    fn command(
        &mut self,
        program: &Value,
        resolved: Option<String>,
        arguments: &[Value],
        certain: bool,
    ) {
        if self.commands.len() >= MAX_FACTS {
            self.parsed = false;
            return;
        }
        self.commands.push(SimpleCommand {
            program: program.to_word(),
            resolved,
            arguments: arguments.iter().map(Value::to_word).collect(),
            // What looks like an assignment may be one, and the program comes later.
            certain: certain && program.certain && !program.text.contains('='),
        });
    }

    /// An access to what `word` names, seen from `from`.
    fn path(&mut self, from: &Directory, word: &Value, mode: AccessMode, certain: bool) {
        if word.text.is_empty()
            || word.text == "-"
            || is_standard_device(&word.text)
            || (!word.known && (word.text.starts_with("<(") || word.text.starts_with(">(")))
        {
            return;
        }
        if let Some(host) = network::device(&word.text) {
            self.network.insert(host);
            return;
        }
        if self.paths.len() >= MAX_FACTS {
            self.parsed = false;
            return;
        }
        let place = self.scope.view.resolve(&from.path, Path::new(&word.text));
        let path = place.path.to_string_lossy().into_owned();
        let certain = certain
            && word.certain
            && place.certain
            && (from.certain || Path::new(&word.text).is_absolute())
            && !self
                .aliases
                .iter()
                .any(|alias| place.path.starts_with(alias));
        let mode = match mode {
            AccessMode::Write if !place.exists => AccessMode::Create,
            mode => mode,
        };
        if !self.seen.insert((path.clone(), mode, certain)) {
            return;
        }
        let relative = place.relative.as_deref();
        self.paths.push(PathAccess {
            tracked: relative.is_some_and(|relative| (self.scope.tracked)(relative)),
            protected: (self.scope.protected)(&place.path, relative),
            link: place.linked.then(|| word.text.clone()),
            relative: place.relative.clone(),
            path,
            mode,
            certain,
        });
    }

    /// From now on `word` is another name for something else.
    fn alias(&mut self, from: &Directory, word: &Value) {
        let place = self.scope.view.resolve(&from.path, Path::new(&word.text));
        if self.aliases.len() < MAX_FACTS {
            self.aliases.push(place.path);
        } else {
            self.parsed = false;
        }
    }

    /// The file that a program's name leads to, links followed.
    fn program(&mut self, from: &Directory, name: &str) -> Option<String> {
        if name.contains('/') {
            let place = self.scope.view.resolve(&from.path, Path::new(name));
            let known = from.certain || Path::new(name).is_absolute();
            return (known && place.certain && place.exists)
                .then(|| place.path.to_string_lossy().into_owned());
        }
        if let Some(known) = self.programs.get(name) {
            return known.clone();
        }
        let found = self.search(name);
        self.programs.insert(name.to_owned(), found.clone());
        found
    }

    /// The program is one that the call itself may have written.
    fn is_made(&self, name: &str, resolved: Option<&str>) -> bool {
        let written = |path: &str| {
            self.paths
                .iter()
                .any(|access| access.mode != AccessMode::Read && access.path == path)
        };
        match resolved {
            Some(path) => written(path),
            // The agents' own read-only files are there in every sandbox, and only there.
            None => name.contains('/') && !is_asset(name),
        }
    }

    fn search(&self, name: &str) -> Option<String> {
        for directory in self.scope.environment.get("PATH")?.split(':') {
            if !directory.starts_with('/') {
                // Depends on where the command happens to be.
                return None;
            }
            let place = self
                .scope
                .view
                .resolve(Path::new(directory), Path::new(name));
            let executable = || {
                place
                    .path
                    .metadata()
                    .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
            };
            if place.exists && place.certain && !place.directory && executable() {
                return Some(place.path.to_string_lossy().into_owned());
            }
        }
        None
    }

    fn finish(self, request: &ToolRequest, bytes: u64) -> ToolCallFacts {
        let masker = self.scope.masker;
        let mut commands = self.commands;
        for command in &mut commands {
            mask_words(masker, command);
        }
        ToolCallFacts {
            tool: request.tool().into_owned(),
            input: input(request, masker),
            commands,
            parsed: self.parsed,
            paths: self.paths,
            network: self.network.into_iter().collect(),
            bytes,
        }
    }
}

/// Everybody's devices, which hold nothing.
fn is_standard_device(path: &str) -> bool {
    matches!(
        path,
        "/dev/null"
            | "/dev/zero"
            | "/dev/full"
            | "/dev/stdin"
            | "/dev/stdout"
            | "/dev/stderr"
            | "/dev/tty"
            | "/dev/random"
            | "/dev/urandom"
    )
}

fn mask_words(masker: &Masker, command: &mut SimpleCommand) {
    let mut secret_follows = false;
    for word in &mut command.arguments {
        word.text = masker.for_agent(&word.text);
        let flag = word.text.starts_with('-');
        if std::mem::take(&mut secret_follows) && !flag {
            "[masked]".clone_into(&mut word.text);
        } else if flag {
            match word.text.split_once('=') {
                Some((name, _)) if selfheal_sandbox::looks_secret(name) => {
                    word.text = format!("{name}=[masked]");
                }
                None => {
                    secret_follows = word.text.len() > 2 && names_secret(&word.text);
                }
                Some(_) => {}
            }
        }
    }
}

fn names_secret(flag: &str) -> bool {
    let flag = flag.to_ascii_lowercase();
    ["password", "passwd", "secret", "token", "api-key", "apikey"]
        .iter()
        .any(|name| flag.ends_with(name))
}

/// The call's input as JSON, secrets masked, long texts cut.
fn input(request: &ToolRequest, masker: &Masker) -> String {
    let mut value = match serde_json::to_value(request) {
        Ok(mut value) => value
            .get_mut("input")
            .map_or(serde_json::Value::Null, serde_json::Value::take),
        Err(_) => serde_json::Value::Null,
    };
    let mut room = Room {
        bytes: MAX_INPUT,
        values: MAX_INPUT_VALUES,
    };
    room.fit(&mut value, masker);
    value.to_string()
}

/// What an input may still take in the record.
struct Room {
    bytes: usize,
    values: usize,
}

impl Room {
    /// Masks every text, names of fields included; cuts what is too long and leaves
    /// out what is too much.
    fn fit(&mut self, value: &mut serde_json::Value, masker: &Masker) {
        use serde_json::Value;
        let Some(values) = self.values.checked_sub(1) else {
            *value = Value::String("…".to_owned());
            return;
        };
        self.values = values;
        match value {
            Value::String(text) => *text = self.text(text, masker),
            Value::Array(items) => {
                items.truncate(self.values + 1);
                for item in items {
                    self.fit(item, masker);
                }
            }
            Value::Object(fields) => {
                for (name, mut field) in std::mem::take(fields) {
                    if self.values == 0 {
                        break;
                    }
                    self.fit(&mut field, masker);
                    fields.insert(self.text(&name, masker), field);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn text(&mut self, text: &str, masker: &Masker) -> String {
        let limit = self.bytes.min(MAX_INPUT_TEXT);
        let text = shorten(&masker.for_record(text), limit);
        self.bytes = self.bytes.saturating_sub(text.len());
        text
    }
}

impl Value {
    fn to_word(&self) -> Word {
        Word {
            text: self.text.clone(),
            certain: self.certain,
        }
    }
}

#[cfg(test)]
mod tests;
