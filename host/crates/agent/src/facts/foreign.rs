//! The facts of a call that an agent of another maker describes in its own words.
//! Where its tool is one of ours under another name, the facts are made by the same
//! function; what is not known is said to be unknown.

use super::{Collector, Directory, MAX_INPUT, MAX_INPUT_VALUES, Room, Scope, Value, facts_of};
use crate::broker::shorten;
use selfheal_domain::external::{ExternalAgent, ExternalCall};
use selfheal_domain::policy::{AccessMode, PathAccess, ToolCallFacts};
use selfheal_domain::tools::{Replacement, ToolRequest, WorkspaceAccess};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::time::Duration;

/// Most files that one patch text may name.
const MAX_PATCH_FILES: usize = 500;

/// How well a call is understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Footing {
    /// The facts say what it does.
    Known,
    /// What it does is known, and needs a person's word where nothing contains it.
    Person(&'static str),
    /// Nobody knows what it does.
    Unknown(&'static str),
}

/// A call, as far as it is understood.
#[derive(Debug)]
pub(crate) struct Foreign {
    pub(crate) facts: ToolCallFacts,
    pub(crate) footing: Footing,
}

/// What a foreign tool is to us.
enum Meaning {
    /// One of our own tools, with the name it goes by; further files it reads.
    Own(ToolRequest, Vec<String>),
    /// Files, and bytes written, under a name of ours.
    Files(&'static str, Vec<(String, AccessMode)>, u64),
    /// Nothing outside of the agent.
    Inward,
    /// Something that a person has to want.
    Consent(&'static str),
    /// A host on the network.
    Network(String),
    /// No idea.
    Unknown(&'static str),
}

/// Tools of these agents that touch nothing but the agent itself.
const INWARD: &[&str] = &[
    "AskUserQuestion",
    "BashOutput",
    "CronList",
    "EnterPlanMode",
    "ExitPlanMode",
    "KillBash",
    "KillShell",
    "ListAgents",
    "ListMcpResourcesTool",
    "ReportFindings",
    "SendMessage",
    "StructuredOutput",
    "TaskCreate",
    "TaskGet",
    "TaskList",
    "TaskOutput",
    "TaskStop",
    "TaskUpdate",
    "TodoRead",
    "TodoWrite",
    "ToolSearch",
    "ask_user",
    "complete_task",
    "enter_plan_mode",
    "exit_plan_mode",
    "update_plan",
    "write_todos",
];

/// Tools that run, keep or fetch what no fact describes.
const CONSENT: &[(&str, &str)] = &[
    ("CronCreate", "it starts work later, when nobody watches"),
    ("CronDelete", "it changes what starts later"),
    ("EnterWorktree", "it makes a git worktree"),
    ("ExitWorktree", "it may remove a git worktree with its work"),
    (
        "ReadMcpResourceTool",
        "it asks a server that this host does not know",
    ),
    (
        "ScheduleWakeup",
        "it starts work later, when nobody watches",
    ),
    ("Skill", "a skill may run commands of its own"),
    ("SlashCommand", "a command file may run commands of its own"),
    ("WebSearch", "it sends text to the network"),
    ("Workflow", "it runs a script that was not judged"),
    ("activate_skill", "a skill may run commands of its own"),
    ("google_web_search", "it sends text to the network"),
    ("save_memory", "it writes what later sessions obey"),
    ("web_fetch", "it talks to the network"),
    ("web_search", "it sends text to the network"),
    ("write_stdin", "it types into a program that already runs"),
];

/// The facts of a call made in `directory`, which is absolute and has no links.
pub(crate) fn facts_of_foreign(
    call: &ExternalCall,
    directory: &Path,
    scope: &Scope<'_>,
) -> Foreign {
    let base = directory.to_string_lossy().into_owned();
    let meaning = meaning(call, &base);
    let mut footing = Footing::Known;
    let mut facts = match &meaning {
        Meaning::Own(request, further) => {
            let mut facts = facts_of(request, scope);
            let reads = further.iter().map(|path| (path.clone(), AccessMode::Read));
            facts
                .paths
                .extend(accesses(&reads.collect::<Vec<_>>(), directory, scope));
            facts
        }
        Meaning::Files(tool, files, bytes) => ToolCallFacts {
            tool: (*tool).to_owned(),
            paths: accesses(files, directory, scope),
            bytes: *bytes,
            ..bare(call, scope)
        },
        Meaning::Inward => bare(call, scope),
        Meaning::Consent(why) => {
            footing = Footing::Person(why);
            bare(call, scope)
        }
        Meaning::Network(host) => {
            footing = Footing::Person("it talks to the network");
            ToolCallFacts {
                network: vec![host.clone()],
                ..bare(call, scope)
            }
        }
        Meaning::Unknown(why) => {
            footing = Footing::Unknown(why);
            ToolCallFacts {
                parsed: false,
                ..bare(call, scope)
            }
        }
    };
    // Agents take `~` for somebody's home, and whose is theirs to say.
    if footing == Footing::Known && names_home(&call.input) {
        footing = Footing::Person("a path that begins with ~ may lead anywhere; write it in full");
    }
    if footing == Footing::Known
        && call.input.get("dangerouslyDisableSandbox") == Some(&Json::Bool(true))
    {
        footing = Footing::Person("it leaves the agent's own sandbox");
    }
    facts.tool = shorten(&facts.tool, 256);
    Foreign { facts, footing }
}

fn meaning(call: &ExternalCall, base: &str) -> Meaning {
    if !call.input.is_object() {
        return Meaning::Unknown("its input is no JSON object");
    }
    // Which of them the agent takes is for the agent to say.
    if let Some(why) = says_twice(&call.input) {
        return Meaning::Unknown(why);
    }
    match call.tool.as_str() {
        "Bash" | "Monitor" | "exec_command" | "local_shell" | "run_shell_command" | "shell"
        | "shell_command" | "unified_exec" => shell(call, base),
        "Read" | "read_file" | "view_image" => match path_of(&call.input, base) {
            Some(path) => Meaning::Own(ToolRequest::read(path), Vec::new()),
            None => Meaning::Unknown("which file it reads is not said"),
        },
        "read_many_files" => read_many(call, base),
        "Write" | "write_file" => {
            match (path_of(&call.input, base), text(&call.input, &["content"])) {
                (Some(path), Some(content)) => {
                    let content = content.to_owned();
                    Meaning::Own(ToolRequest::Write { path, content }, Vec::new())
                }
                _ => Meaning::Unknown("which file it writes, or what, is not said"),
            }
        }
        "Edit" | "replace" => match (
            path_of(&call.input, base),
            text(&call.input, &["new_string"]),
        ) {
            (Some(path), Some(new)) => {
                let old = text(&call.input, &["old_string"]).unwrap_or_default();
                Meaning::Own(ToolRequest::edit(path, old, new), Vec::new())
            }
            _ => Meaning::Unknown("which file it changes, or to what, is not said"),
        },
        "MultiEdit" => multi_edit(call, base),
        "NotebookEdit" => match text(&call.input, &["notebook_path"]) {
            Some(path) => {
                let bytes = text(&call.input, &["new_source"]).unwrap_or_default().len();
                let file = (full(path, base), AccessMode::Write);
                Meaning::Files("NotebookEdit", vec![file], bytes as u64)
            }
            None => Meaning::Unknown("which notebook it changes is not said"),
        },
        "apply_patch" => apply_patch(call, base),
        "Grep" | "grep_search" | "search_file_content" => search("Grep", call, base),
        "Glob" | "glob" | "LS" | "list_directory" => search("Glob", call, base),
        "Agent" | "Task" if call.agent == ExternalAgent::ClaudeCode => {
            let said = |name| text(&call.input, &[name]).unwrap_or_default().to_owned();
            // What the sub-agent does are calls of their own.
            let task = ToolRequest::Task {
                description: said("description"),
                prompt: said("prompt"),
            };
            Meaning::Own(task, Vec::new())
        }
        "WebFetch" => match text(&call.input, &["url"]).and_then(host_of) {
            Some(host) => Meaning::Network(host),
            None => Meaning::Unknown("which host it asks is not said"),
        },
        tool if INWARD.contains(&tool) => Meaning::Inward,
        tool => match CONSENT.iter().find(|(name, _)| *name == tool) {
            Some((_, why)) => Meaning::Consent(why),
            None => Meaning::Unknown("no rule of this host knows the tool"),
        },
    }
}

/// Fields of which these agents take one or the other.
const ALIKE: &[(&[&str], &str)] = &[
    (&["command", "cmd"], "it names two commands"),
    (
        &["file_path", "absolute_path", "notebook_path", "path"],
        "it names two files",
    ),
    (
        &[
            "workdir",
            "dir_path",
            "directory",
            "working_directory",
            "cwd",
        ],
        "it names two directories",
    ),
    (&["input", "patch"], "it holds two patches"),
    (
        &["glob", "include", "include_pattern"],
        "it names two patterns",
    ),
];

/// Two fields for the same thing say different things.
fn says_twice(input: &Json) -> Option<&'static str> {
    ALIKE.iter().find_map(|(names, why)| {
        let mut said = names
            .iter()
            .filter_map(|name| input.get(*name))
            .filter(|value| !value.is_null());
        let first = said.next()?;
        said.any(|other| other != first).then_some(*why)
    })
}

/// A command for a shell, in any of the shapes that these agents write it in.
fn shell(call: &ExternalCall, base: &str) -> Meaning {
    if call.tool == "Monitor" && call.input.get("ws").is_some_and(|ws| !ws.is_null()) {
        return Meaning::Consent("it talks to the network");
    }
    let written = call.input.get("command").or_else(|| call.input.get("cmd"));
    let command = match written {
        Some(Json::String(command)) => command.clone(),
        // A list is started as it is, without a shell: quoted, it says the same.
        Some(Json::Array(words)) => {
            let words: Option<Vec<String>> =
                words.iter().map(|word| word.as_str().map(quoted)).collect();
            match words {
                Some(words) if !words.is_empty() => words.join(" "),
                _ => return Meaning::Unknown("its command is no list of words"),
            }
        }
        _ => return Meaning::Unknown("its command is not said"),
    };
    let place = text(
        &call.input,
        &[
            "workdir",
            "dir_path",
            "directory",
            "working_directory",
            "cwd",
        ],
    );
    let milliseconds = call
        .input
        .get("timeout")
        .or_else(|| call.input.get("timeout_ms"))
        .and_then(Json::as_u64);
    Meaning::Own(
        ToolRequest::Bash {
            command,
            directory: place.map_or_else(|| base.to_owned(), |place| full(place, base)),
            timeout: Duration::from_millis(milliseconds.unwrap_or(120_000).min(600_000)),
            access: WorkspaceAccess::Keep,
        },
        Vec::new(),
    )
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn read_many(call: &ExternalCall, base: &str) -> Meaning {
    let lists = ["paths", "include"].iter().filter_map(|name| {
        let list = call.input.get(*name)?.as_array()?;
        Some(list.iter().filter_map(Json::as_str))
    });
    let files: Vec<_> = lists
        .flatten()
        .take(MAX_PATCH_FILES)
        .map(|pattern| (full(fixed_part(pattern), base), AccessMode::Read))
        .collect();
    if files.is_empty() {
        Meaning::Unknown("which files it reads is not said")
    } else {
        Meaning::Files("Read", files, 0)
    }
}

fn multi_edit(call: &ExternalCall, base: &str) -> Meaning {
    let edits = call.input.get("edits").and_then(Json::as_array);
    let (Some(path), Some(edits)) = (path_of(&call.input, base), edits) else {
        return Meaning::Unknown("which file it changes, or to what, is not said");
    };
    let edits = edits.iter().map(|edit| Replacement {
        old: text(edit, &["old_string"]).unwrap_or_default().to_owned(),
        new: text(edit, &["new_string"]).unwrap_or_default().to_owned(),
        replace_all: false,
    });
    let edits = edits.collect();
    Meaning::Own(ToolRequest::MultiEdit { path, edits }, Vec::new())
}

/// The files that a patch in Codex's own format names.
fn apply_patch(call: &ExternalCall, base: &str) -> Meaning {
    let Some(patch) = text(&call.input, &["command", "input", "patch"]) else {
        return Meaning::Unknown("what it changes is not said");
    };
    let mut files = Vec::new();
    for line in patch.lines().map(str::trim) {
        let Some(header) = line.strip_prefix("*** ") else {
            continue;
        };
        let (mode, path) = match header.split_once(": ") {
            Some(("Add File" | "Update File" | "Move to", path)) => (AccessMode::Write, path),
            Some(("Delete File", path)) => (AccessMode::Delete, path),
            _ if matches!(header, "Begin Patch" | "End Patch" | "End of File") => continue,
            _ => return Meaning::Unknown("its patch is not of a form that is known"),
        };
        files.push((full(path.trim(), base), mode));
    }
    if files.is_empty() || files.len() > MAX_PATCH_FILES {
        return Meaning::Unknown("which files its patch changes cannot be said");
    }
    Meaning::Files("MultiEdit", files, patch.len() as u64)
}

/// A search for contents or names.
fn search(tool: &'static str, call: &ExternalCall, base: &str) -> Meaning {
    let start = text(&call.input, &["path", "dir_path"]).unwrap_or(".");
    let start = full(start, base);
    let mut files = vec![(start.clone(), AccessMode::Read)];
    let names = if tool == "Grep" { "glob" } else { "pattern" };
    let names = text(&call.input, &[names, "include", "include_pattern"]);
    if let Some(fixed) = names.map(fixed_part).filter(|fixed| !fixed.is_empty()) {
        files.push((full(fixed, &start), AccessMode::Read));
    }
    Meaning::Files(tool, files, 0)
}

/// The part of a glob before its first wildcard, whole names only; all of it where
/// there is none.
fn fixed_part(pattern: &str) -> &str {
    let Some(wild) = pattern.find(['*', '?', '[', '{']) else {
        return pattern;
    };
    let fixed = pattern.get(..wild).unwrap_or_default();
    fixed
        .rfind('/')
        .and_then(|slash| fixed.get(..=slash))
        .unwrap_or_default()
}

fn host_of(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if !matches!(scheme, "http" | "https") {
        return None;
    }
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

/// The first of these fields that is a text.
fn text<'a>(input: &'a Json, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| input.get(*name)?.as_str())
}

fn path_of(input: &Json, base: &str) -> Option<String> {
    let names = ["file_path", "absolute_path", "notebook_path", "path"];
    let path = text(input, &names).filter(|path| !path.is_empty() && !path.contains('\0'))?;
    Some(full(path, base))
}

/// Seen from `base`, without resolving anything.
fn full(path: &str, base: &str) -> String {
    Path::new(base).join(path).to_string_lossy().into_owned()
}

/// A path of the input begins with `~`. Commands are read by the shell's own rules.
fn names_home(input: &Json) -> bool {
    const PATHS: [&str; 7] = [
        "file_path",
        "absolute_path",
        "notebook_path",
        "path",
        "dir_path",
        "workdir",
        "directory",
    ];
    PATHS
        .iter()
        .any(|name| text(input, &[*name]).is_some_and(|path| path.starts_with('~')))
}

fn accesses(
    files: &[(String, AccessMode)],
    directory: &Path,
    scope: &Scope<'_>,
) -> Vec<PathAccess> {
    let mut collector = Collector::new(scope);
    let from = Directory::at(directory);
    for (path, mode) in files {
        collector.path(&from, &Value::plain(path), *mode, true);
    }
    collector.paths
}

/// Facts that say no more than name and input.
fn bare(call: &ExternalCall, scope: &Scope<'_>) -> ToolCallFacts {
    let mut input = call.input.clone();
    mask(&mut input, 0);
    let mut room = Room {
        bytes: MAX_INPUT,
        values: MAX_INPUT_VALUES,
    };
    room.fit(&mut input, scope.masker);
    let input = input.to_string();
    ToolCallFacts {
        tool: call.tool.clone(),
        input,
        commands: Vec::new(),
        parsed: true,
        paths: Vec::new(),
        network: Vec::new(),
        bytes: 0,
    }
}

/// Takes out what stands in fields that are named like secrets.
fn mask(value: &mut Json, depth: u32) {
    match value {
        // As deep as the JSON reader goes.
        _ if depth > 128 => *value = Json::Null,
        Json::Array(items) => items.iter_mut().for_each(|item| mask(item, depth + 1)),
        Json::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if selfheal_sandbox::looks_secret(name) && field.is_string() {
                    *field = json!("[masked]");
                } else {
                    mask(field, depth + 1);
                }
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}
