//! A question as an author writes it down, and as a module is asked it. Calls become
//! facts by the host's own extraction, in a throw-away workspace.

use crate::failure::{Because, Exit, Failure};
use selfheal_agent::{DEFAULT_PROTECTED_PATHS, DEFAULT_SECRET_PATHS, FactPreview, PreviewConfig};
use selfheal_domain::digest::Digest;
use selfheal_domain::mcp::split_name;
use selfheal_domain::patch::is_test_path;
use selfheal_domain::policy::{
    AgentPhase, ChangeKind, Environment, IssueFacts, PatchFacts, PatchFileFacts, PolicyContext,
    RunCounters, ToolCallFacts, TrackRecord,
};
use selfheal_domain::risk::{Assessment, AutonomyLevel, RiskScore};
use selfheal_domain::tools::{Replacement, ToolRequest, WorkspaceAccess};
use selfheal_domain::user::TrustClass;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};
use std::time::Duration;

/// An `input.json`.
#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    #[serde(default)]
    context: Overrides,
    /// Instead of those of the command line.
    pub(crate) settings: Option<Value>,
    /// Files of the workspace, by path.
    #[serde(default)]
    workspace: BTreeMap<String, String>,
    tool: Option<String>,
    input: Option<Value>,
    patch: Option<WrittenPatch>,
    assessment: Option<WrittenAssessment>,
    issue: Option<WrittenIssue>,
}

/// What a context says other than [`usual_context`].
#[derive(Deserialize, Debug, Default)]
#[serde(deny_unknown_fields)]
struct Overrides {
    phase: Option<AgentPhase>,
    environment: Option<Environment>,
    level: Option<AutonomyLevel>,
    trust: Option<TrustClass>,
    actor: Option<String>,
    service: Option<String>,
    earned: Option<TrackRecord>,
    counters: Option<RunCounters>,
}

#[derive(Deserialize, Debug)]
#[serde(untagged)]
enum WrittenPatch {
    Diff(String),
    Described(DescribedPatch),
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct DescribedPatch {
    diff: String,
    #[serde(default = "usual_severity")]
    severity: String,
    #[serde(default = "usual_confidence")]
    confidence: f64,
    #[serde(default = "yes")]
    proved: bool,
    #[serde(default)]
    rivals: u32,
    #[serde(default)]
    files: BTreeMap<String, FileOverrides>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct FileOverrides {
    dependents: Option<u32>,
    owners: Option<Vec<String>>,
    earlier_heals: Option<u32>,
    earlier_rollbacks: Option<u32>,
    protected: Option<bool>,
    test: Option<bool>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct WrittenAssessment {
    score: u32,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct WrittenIssue {
    #[serde(default = "first")]
    number: u64,
    #[serde(default = "usual_severity")]
    severity: String,
    #[serde(default = "usual_category")]
    category: String,
    #[serde(default = "usual_source")]
    source: String,
    #[serde(default = "usual_trust")]
    trust: TrustClass,
}

fn usual_severity() -> String {
    "MEDIUM".to_owned()
}
fn usual_confidence() -> f64 {
    0.9
}
fn yes() -> bool {
    true
}
fn first() -> u64 {
    1
}
fn usual_category() -> String {
    "bug".to_owned()
}
fn usual_source() -> String {
    "web".to_owned()
}
fn usual_trust() -> TrustClass {
    TrustClass::Member
}

/// A question as a module is asked it.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) context: PolicyContext,
    pub(crate) about: About,
}

/// What a question is about.
#[derive(Debug, Clone)]
pub(crate) enum About {
    Call(ToolCallFacts),
    Patch(PatchFacts),
    Assessed(PatchFacts, Assessment),
    Issue(IssueFacts),
}

/// Drafting in production at level 2, led here by a member's report: what is so where
/// nothing else is said.
pub(crate) fn usual_context() -> PolicyContext {
    PolicyContext {
        run: None,
        phase: AgentPhase::Drafting,
        environment: Environment::Production,
        level: AutonomyLevel::AutoLow,
        actor: "engine:builtin".to_owned(),
        trust: TrustClass::Member,
        service: None,
        earned: TrackRecord::default(),
        counters: RunCounters::default(),
    }
}

impl Written {
    /// The question that it stands for.
    ///
    /// # Errors
    /// It asks nothing, or several things at once, or says something impossible.
    pub(crate) fn question(self) -> Result<Question, Failure> {
        let context = self.context.over(usual_context());
        let wrong = |message: &str| Failure::new(Exit::Usage, message);
        let about = match (self.tool, self.patch, self.issue) {
            (Some(tool), None, None) => {
                let workspace = Workspace::new(&self.workspace, &[], &[])?;
                let request = request(&tool, self.input.unwrap_or_default(), context.phase)?;
                About::Call(workspace.preview.facts(&request))
            }
            (None, Some(patch), None) => {
                let patch = patch.facts()?;
                match self.assessment {
                    Some(assessment) => About::Assessed(patch, assessment.over()?),
                    None => About::Patch(patch),
                }
            }
            (None, None, Some(issue)) => About::Issue(IssueFacts {
                number: issue.number,
                severity: issue.severity,
                category: issue.category,
                source: issue.source,
                trust: issue.trust,
            }),
            (None, None, None) => {
                return Err(wrong("it asks nothing; it has `tool`, `patch` or `issue`"));
            }
            _ => {
                return Err(wrong(
                    "it asks several things at once; it has one of `tool`, `patch`, `issue`",
                ));
            }
        };
        Ok(Question { context, about })
    }
}

impl Overrides {
    fn over(self, usual: PolicyContext) -> PolicyContext {
        PolicyContext {
            run: usual.run,
            phase: self.phase.unwrap_or(usual.phase),
            environment: self.environment.unwrap_or(usual.environment),
            level: self.level.unwrap_or(usual.level),
            actor: self.actor.unwrap_or(usual.actor),
            trust: self.trust.unwrap_or(usual.trust),
            service: self.service.or(usual.service),
            earned: self.earned.unwrap_or(usual.earned),
            counters: self.counters.unwrap_or(usual.counters),
        }
    }
}

impl WrittenAssessment {
    fn over(&self) -> Result<Assessment, Failure> {
        Ok(Assessment {
            score: RiskScore::new(self.score).because(Exit::Usage)?,
            factors: Vec::new(),
            faults: Vec::new(),
            generation: 0,
            asked: None,
        })
    }
}

impl WrittenPatch {
    fn facts(self) -> Result<PatchFacts, Failure> {
        let described = match self {
            Self::Described(described) => described,
            Self::Diff(diff) => DescribedPatch {
                diff,
                severity: usual_severity(),
                confidence: usual_confidence(),
                proved: yes(),
                rivals: 0,
                files: BTreeMap::new(),
            },
        };
        let mut files = files_of(&described.diff)?;
        for (path, said) in described.files {
            let Some(file) = files.iter_mut().find(|file| file.path == path) else {
                let message = format!("`files` speaks of {path}, which the diff does not change");
                return Err(Failure::new(Exit::Usage, message));
            };
            file.dependents = said.dependents.unwrap_or(file.dependents);
            file.owners = said.owners.unwrap_or_default();
            file.earlier_heals = said.earlier_heals.unwrap_or_default();
            file.earlier_rollbacks = said.earlier_rollbacks.unwrap_or_default();
            file.protected = said.protected.unwrap_or(file.protected);
            file.test = said.test.unwrap_or(file.test);
        }
        Ok(PatchFacts {
            digest: Digest::of(described.diff.as_bytes()),
            diff: described.diff,
            files,
            claimed_confidence: described.confidence,
            reproduction_proved: described.proved,
            rivals: described.rivals,
            severity: described.severity,
        })
    }
}

/// The call as an agent would make it; other agents' names of fields are understood.
fn request(tool: &str, input: Value, phase: AgentPhase) -> Result<ToolRequest, Failure> {
    let text = |names: &[&str]| -> Option<String> {
        names
            .iter()
            .find_map(|name| input.get(name)?.as_str().map(str::to_owned))
    };
    let needed = |names: &[&str]| {
        text(names).ok_or_else(|| {
            let name = names.first().copied().unwrap_or_default();
            Failure::new(
                Exit::Usage,
                format!("the input of `{tool}` has no text `{name}`"),
            )
        })
    };
    let number = |name: &str| input.get(name).and_then(Value::as_u64);
    const PATH: [&str; 3] = ["path", "file_path", "filePath"];
    Ok(match tool {
        "Bash" => ToolRequest::Bash {
            command: needed(&["command"])?,
            directory: text(&["directory"]).unwrap_or_default(),
            timeout: Duration::from_secs(60),
            access: match phase {
                AgentPhase::Drafting => WorkspaceAccess::Keep,
                AgentPhase::Diagnosis | AgentPhase::Verification => WorkspaceAccess::Discard,
            },
        },
        "Read" => ToolRequest::Read {
            path: needed(&PATH)?,
            offset: number("offset"),
            limit: number("limit"),
        },
        "Grep" => ToolRequest::Grep {
            pattern: needed(&["pattern"])?,
            glob: text(&["glob"]),
        },
        "Glob" => ToolRequest::Glob {
            pattern: needed(&["pattern"])?,
        },
        "Write" => ToolRequest::Write {
            path: needed(&PATH)?,
            content: text(&["content"]).unwrap_or_default(),
        },
        "Edit" => ToolRequest::Edit {
            path: needed(&PATH)?,
            old: text(&["old", "old_string"]).unwrap_or_default(),
            new: text(&["new", "new_string"]).unwrap_or_default(),
            replace_all: flag(&input, "replace_all"),
        },
        "MultiEdit" => ToolRequest::MultiEdit {
            path: needed(&PATH)?,
            edits: replacements(&input),
        },
        // Other agents call it so.
        "Task" | "Agent" => ToolRequest::Task {
            description: text(&["description"]).unwrap_or_default(),
            prompt: needed(&["prompt"])?,
        },
        other => match split_name(other) {
            Some((server, tool)) => ToolRequest::Mcp {
                server: server.to_owned(),
                tool: tool.to_owned(),
                arguments: input,
            },
            None => {
                let message = format!(
                    "no tool is called `{other}`; there are Bash, Read, Grep, Glob, Write, Edit, \
                     MultiEdit, Task and mcp__SERVER__TOOL"
                );
                return Err(Failure::new(Exit::Usage, message));
            }
        },
    })
}

fn flag(input: &Value, name: &str) -> bool {
    input.get(name).and_then(Value::as_bool).unwrap_or_default()
}

/// The replacements of a `MultiEdit`; texts that are missing are empty.
fn replacements(input: &Value) -> Vec<Replacement> {
    let edits = input.get("edits").and_then(Value::as_array);
    let text = |edit: &Value, names: [&str; 2]| {
        let found = names.iter().find_map(|name| edit.get(name)?.as_str());
        found.unwrap_or_default().to_owned()
    };
    edits
        .into_iter()
        .flatten()
        .map(|edit| Replacement {
            old: text(edit, ["old", "old_string"]),
            new: text(edit, ["new", "new_string"]),
            replace_all: flag(edit, "replace_all"),
        })
        .collect()
}

/// A throw-away workspace in which calls are understood.
pub(crate) struct Workspace {
    preview: FactPreview,
    _directory: tempfile::TempDir,
}

impl Workspace {
    /// A workspace with these files, all known to git. `secret` and `protected` are
    /// globs beside the host's own.
    ///
    /// # Errors
    /// A path leads outside, or the disk refuses.
    pub(crate) fn new(
        files: &BTreeMap<String, String>,
        secret: &[&str],
        protected: &[&str],
    ) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new()
            .prefix("selfheal-policy-")
            .tempdir()
            .because(Exit::Unavailable)?;
        for (name, content) in files {
            let inside = Path::new(name)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
            if !inside || name.is_empty() {
                let message =
                    format!("`workspace` names {name:?}; paths are relative and stay inside");
                return Err(Failure::new(Exit::Usage, message));
            }
            let path = directory.path().join(name);
            path.parent()
                .map_or(Ok(()), std::fs::create_dir_all)
                .and_then(|()| std::fs::write(&path, content))
                .because(Exit::Unavailable)?;
        }
        let globs = |own: &[&str], more: &[&str]| -> Vec<String> {
            own.iter().chain(more).map(ToString::to_string).collect()
        };
        let preview = FactPreview::new(PreviewConfig {
            root: directory.path().to_owned(),
            environment_variables: selfheal_sandbox::allowed_environment(&[]),
            secret_paths: globs(DEFAULT_SECRET_PATHS, secret),
            protected_paths: globs(DEFAULT_PROTECTED_PATHS, protected),
            tracked: files.keys().cloned().collect::<BTreeSet<String>>(),
        })
        .because(Exit::Unavailable)?;
        Ok(Self {
            preview,
            _directory: directory,
        })
    }

    /// A shell command as a question, while drafting.
    pub(crate) fn command(&self, command: &str) -> Question {
        let request = ToolRequest::Bash {
            command: command.to_owned(),
            directory: String::new(),
            timeout: Duration::from_secs(60),
            access: WorkspaceAccess::Keep,
        };
        Question {
            context: usual_context(),
            about: About::Call(self.preview.facts(&request)),
        }
    }

    /// An edit that puts `new` into `path`, while drafting.
    pub(crate) fn edit(&self, path: &str, new: &str) -> Question {
        let request = ToolRequest::edit(path, "", new);
        Question {
            context: usual_context(),
            about: About::Call(self.preview.facts(&request)),
        }
    }
}

/// The files of a unified diff, with what the host would say of them by their path.
pub(crate) fn files_of(diff: &str) -> Result<Vec<PatchFileFacts>, Failure> {
    let mut files: Vec<PatchFileFacts> = Vec::new();
    let mut before = None;
    // Lines that the hunk still holds, of the old and of the new file.
    let (mut old_left, mut new_left) = (0u32, 0u32);
    for (number, line) in diff.lines().enumerate() {
        let wrong = |what: &str| {
            Failure::new(
                Exit::Usage,
                format!("line {} of the diff: {what}", number + 1),
            )
        };
        if old_left > 0 || new_left > 0 {
            let file = files
                .last_mut()
                .ok_or_else(|| wrong("a hunk without a file"))?;
            match line.split_at_checked(1) {
                Some(("+", added)) => {
                    file.added.push(added.to_owned());
                    new_left = new_left.saturating_sub(1);
                }
                Some(("-", removed)) => {
                    file.removed.push(removed.to_owned());
                    old_left = old_left.saturating_sub(1);
                }
                Some(("\\", _)) => {}
                // An empty context line may have lost its blank.
                Some((" ", _)) | None => {
                    old_left = old_left.saturating_sub(1);
                    new_left = new_left.saturating_sub(1);
                }
                Some(_) => return Err(wrong("a line of a hunk begins with ' ', '+' or '-'")),
            }
        } else if let Some(path) = line.strip_prefix("--- ") {
            before = Some(path_in(path, "a/"));
        } else if let Some(path) = line.strip_prefix("+++ ") {
            let before = before
                .take()
                .ok_or_else(|| wrong("`+++` without `---` before it"))?;
            let after = path_in(path, "b/");
            let (path, change) = match (before, after) {
                (None, Some(path)) => (path, ChangeKind::Added),
                (Some(path), None) => (path, ChangeKind::Deleted),
                (Some(_), Some(path)) => (path, ChangeKind::Modified),
                (None, None) => return Err(wrong("it changes /dev/null")),
            };
            files.push(file_facts(path, change));
        } else if let Some(range) = line.strip_prefix("@@ -") {
            (old_left, new_left) =
                lengths(range).ok_or_else(|| wrong("a hunk is `@@ -1,2 +1,2 @@`"))?;
        }
    }
    if files.is_empty() {
        let message = "the diff changes no file; a file begins with `--- a/PATH` and `+++ b/PATH`";
        return Err(Failure::new(Exit::Usage, message));
    }
    if old_left > 0 || new_left > 0 {
        return Err(Failure::new(Exit::Usage, "the diff ends within a hunk"));
    }
    Ok(files)
}

fn path_in(text: &str, prefix: &str) -> Option<String> {
    let path = text.split('\t').next().unwrap_or_default().trim_end();
    (path != "/dev/null").then(|| path.strip_prefix(prefix).unwrap_or(path).to_owned())
}

/// Lengths in `1,2 +3,4 @@`.
fn lengths(range: &str) -> Option<(u32, u32)> {
    let (old, rest) = range.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let length = |part: &str| match part.split_once(',') {
        Some((_, length)) => length.parse().ok(),
        None => Some(1),
    };
    Some((length(old)?, length(new)?))
}

fn file_facts(path: String, change: ChangeKind) -> PatchFileFacts {
    let guarded = path
        .split('/')
        .any(|part| part.eq_ignore_ascii_case(".git"))
        || matches!(path.as_str(), "policy.toml" | "selfheal.toml");
    PatchFileFacts {
        test: is_test_path(&path),
        protected: guarded,
        path,
        change,
        added: Vec::new(),
        removed: Vec::new(),
        dependents: 0,
        owners: Vec::new(),
        earlier_heals: 0,
        earlier_rollbacks: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<Question, Failure> {
        serde_json::from_str::<Written>(text)
            .because(Exit::Usage)?
            .question()
    }

    #[test]
    fn a_plain_call_becomes_facts() {
        let asked = written(
            r#"{"tool": "Bash", "input": {"command": "cd web && env docker ps > log.txt"},
                "workspace": {"web/a.js": ""}, "context": {"environment": "dev", "level": 3}}"#,
        )
        .unwrap();
        assert_eq!(asked.context.environment, Environment::Dev);
        assert_eq!(asked.context.level, AutonomyLevel::AutoAll);
        let About::Call(facts) = asked.about else {
            panic!("no call")
        };
        let programs: Vec<&str> = facts
            .commands
            .iter()
            .map(|command| command.program.text.as_str())
            .collect();
        assert!(programs.contains(&"docker"), "{programs:?}");
        let written: Vec<_> = facts
            .paths
            .iter()
            .filter_map(|path| path.relative.as_deref())
            .collect();
        assert!(written.contains(&"web/log.txt"), "{written:?}");
    }

    #[test]
    fn a_diff_becomes_files() {
        let diff = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,3 @@\n def f():\n-    return 1\n+    return 2\n+--- not a header\n\
                    --- /dev/null\n+++ b/tests/test_a.py\n@@ -0,0 +1 @@\n+x\n\
                    --- a/old.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n\\ No newline at end of file\n";
        let files = files_of(diff).unwrap();
        let changes: Vec<_> = files
            .iter()
            .map(|file| (file.path.as_str(), file.change, file.test))
            .collect();
        assert_eq!(
            changes,
            [
                ("a.py", ChangeKind::Modified, false),
                ("tests/test_a.py", ChangeKind::Added, true),
                ("old.py", ChangeKind::Deleted, false)
            ]
        );
        let first = files.first().unwrap();
        assert_eq!(first.added, ["    return 2", "--- not a header"]);
        assert_eq!(first.removed, ["    return 1"]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_reason() {
        for (text, reason) in [
            ("{}", "asks nothing"),
            (r#"{"tool": "Bash", "input": {}}"#, "no text `command`"),
            (r#"{"tool": "Bosh", "input": {}}"#, "no tool is called"),
            (
                r#"{"tool": "Read", "input": {"path": "a"}, "issue": {}}"#,
                "several things",
            ),
            (r#"{"patch": "nothing"}"#, "changes no file"),
            (
                r#"{"patch": "--- a/a\n+++ b/a\n@@ -1,2 +1 @@\n-a\n"}"#,
                "ends within a hunk",
            ),
            (
                r#"{"patch": {"diff": "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-a\n+b\n", "files": {"b": {}}}}"#,
                "speaks of b",
            ),
            (
                r#"{"tool": "Read", "input": {"path": "a"}, "workspace": {"../x": ""}}"#,
                "stay inside",
            ),
            (
                r#"{"patch": "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-a\n+b\n", "assessment": {"score": 101}}"#,
                "101",
            ),
            (r#"{"tool": "Read", "colour": 1}"#, "colour"),
        ] {
            let failure = written(text).unwrap_err();
            assert!(
                failure.error.to_string().contains(reason),
                "{text}: {}",
                failure.error
            );
        }
    }
}
