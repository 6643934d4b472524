//! The question as a Rego document: `input.context` with `input.call` or
//! `input.patch`, in the words of the contract, beside a few that save rules work.

use regorus::Value;
use selfheal_policy_sdk::{
    AccessMode, AutonomyLevel, ChangeKind, Context, Environment, PastCall, Patch, PatchFile,
    PathAccess, Phase, SimpleCommand, ToolCall, TrackRecord, Trust,
};

/// What a name stands for, so that a misspelt one is found before a rule that can
/// never fire goes into force.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A text, a number or a flag.
    Plain,
    /// A list of these.
    List(&'static Shape),
    /// Names and what they stand for.
    Record(&'static [(&'static str, &'static Shape)]),
}

use Shape::{List, Plain, Record};

static WORD: Shape = Record(&[("text", &Plain), ("certain", &Plain)]);

static COMMAND: Shape = Record(&[
    ("name", &Plain),
    ("line", &Plain),
    ("words", &List(&Plain)),
    ("program", &WORD),
    ("resolved", &Plain),
    ("arguments", &List(&WORD)),
    ("certain", &Plain),
]);

static ACCESS: Shape = Record(&[
    ("path", &Plain),
    ("relative", &Plain),
    ("mode", &Plain),
    ("certain", &Plain),
    ("tracked", &Plain),
    ("protected", &Plain),
    ("link", &Plain),
]);

static CALL: Shape = Record(&[
    ("tool", &Plain),
    ("input", &Plain),
    ("command", &Plain),
    ("commands", &List(&COMMAND)),
    ("parsed", &Plain),
    ("paths", &List(&ACCESS)),
    ("network", &List(&Plain)),
    ("bytes", &Plain),
]);

static FILE: Shape = Record(&[
    ("path", &Plain),
    ("change", &Plain),
    ("added", &List(&Plain)),
    ("removed", &List(&Plain)),
    ("test", &Plain),
    ("protected", &Plain),
    ("dependents", &Plain),
    ("owners", &List(&Plain)),
    ("earlier_heals", &Plain),
    ("earlier_rollbacks", &Plain),
]);

static PATCH: Shape = Record(&[
    ("digest", &Plain),
    ("diff", &Plain),
    ("files", &List(&FILE)),
    ("lines", &Plain),
    ("claimed_confidence", &Plain),
    ("reproduction_proved", &Plain),
    ("rivals", &Plain),
    ("severity", &Plain),
]);

static CONTEXT: Shape = Record(&[
    (
        "run",
        &Record(&[("issue", &Plain), ("run", &Plain), ("id", &Plain)]),
    ),
    ("phase", &Plain),
    ("environment", &Plain),
    ("level", &Plain),
    ("actor", &Plain),
    ("trust", &Plain),
    ("service", &Plain),
    (
        "earned",
        &Record(&[
            ("healed", &Plain),
            ("failed", &Plain),
            ("rolled_back", &Plain),
            ("streak", &Plain),
        ]),
    ),
    (
        "counters",
        &Record(&[
            ("tool_calls", &Plain),
            ("denied", &Plain),
            ("files_written", &Plain),
            ("bytes_written", &Plain),
            ("seconds", &Plain),
        ]),
    ),
]);

/// All that rules can name below `input`.
pub(crate) static INPUT: Shape = Record(&[
    ("context", &CONTEXT),
    ("call", &CALL),
    ("patch", &PATCH),
    (
        "history",
        &List(&Record(&[
            ("tool", &Plain),
            ("verdict", &Plain),
            ("rule", &Plain),
        ])),
    ),
]);

/// A document under construction. What is absent has no name at all, so that it is
/// undefined in a rule, as Rego has it.
struct Document(Value);

impl Document {
    fn new() -> Self {
        Self(Value::new_object())
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Ok(object) = self.0.as_object_mut() {
            object.insert(Value::from(name), value.into());
        }
        self
    }

    fn with_some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

fn list<T>(items: &[T], document: impl Fn(&T) -> Value) -> Value {
    Value::from(items.iter().map(document).collect::<Vec<Value>>())
}

fn texts(items: &[String]) -> Value {
    list(items, |text| Value::from(text.as_str()))
}

/// `input` for a tool call.
pub(crate) fn of_call(context: &Context, call: &ToolCall, history: Option<&[PastCall]>) -> Value {
    let call = Document::new()
        .with("tool", call.tool.as_str())
        .with("input", call.input.as_str())
        .with_some("command", shell_text(call))
        .with("commands", list(&call.commands, of_command))
        .with("parsed", call.parsed)
        .with("paths", list(&call.paths, of_access))
        .with("network", texts(&call.network))
        .with("bytes", call.bytes);
    asked(context, history).with("call", call.0).0
}

/// `input` for a finished patch.
pub(crate) fn of_patch(context: &Context, patch: &Patch, history: Option<&[PastCall]>) -> Value {
    let lines: usize = patch
        .files
        .iter()
        .map(|file| file.added.len() + file.removed.len())
        .sum();
    let patch = Document::new()
        .with("digest", patch.digest.as_str())
        .with("diff", patch.diff.as_str())
        .with("files", list(&patch.files, of_file))
        .with("lines", lines)
        .with("claimed_confidence", patch.claimed_confidence)
        .with("reproduction_proved", patch.reproduction_proved)
        .with("rivals", patch.rivals)
        .with("severity", patch.severity.as_str());
    asked(context, history).with("patch", patch.0).0
}

fn asked(context: &Context, history: Option<&[PastCall]>) -> Document {
    let past = |past: &PastCall| {
        Document::new()
            .with("tool", past.tool.as_str())
            .with("verdict", past.verdict.as_str())
            .with_some("rule", past.rule.as_deref())
            .0
    };
    Document::new()
        .with("context", of_context(context))
        .with_some("history", history.map(|calls| list(calls, past)))
}

fn of_context(context: &Context) -> Value {
    let run = context.run.as_ref().map(|run| {
        Document::new()
            .with("issue", run.issue)
            .with("run", run.run)
            .with("id", run.id.as_str())
            .0
    });
    let counters = &context.counters;
    Document::new()
        .with_some("run", run)
        .with(
            "phase",
            match context.phase {
                Phase::Diagnosis => "diagnosis",
                Phase::Drafting => "drafting",
                Phase::Verification => "verification",
            },
        )
        .with(
            "environment",
            match context.environment {
                Environment::Local => "local",
                Environment::Dev => "dev",
                Environment::Staging => "staging",
                Environment::Production => "production",
            },
        )
        .with(
            "level",
            match context.level {
                AutonomyLevel::Observe => "observe",
                AutonomyLevel::Suggest => "suggest",
                AutonomyLevel::AutoLow => "auto-low",
                AutonomyLevel::AutoAll => "auto-all",
            },
        )
        .with("actor", context.actor.as_str())
        .with(
            "trust",
            match context.trust {
                Trust::Machine => "machine",
                Trust::External => "external",
                Trust::Member => "member",
                Trust::Admin => "admin",
            },
        )
        .with_some("service", context.service.as_deref())
        .with("earned", of_record(&context.earned))
        .with(
            "counters",
            Document::new()
                .with("tool_calls", counters.tool_calls)
                .with("denied", counters.denied)
                .with("files_written", counters.files_written)
                .with("bytes_written", counters.bytes_written)
                .with("seconds", counters.seconds)
                .0,
        )
        .0
}

fn of_record(record: &TrackRecord) -> Value {
    Document::new()
        .with("healed", record.healed)
        .with("failed", record.failed)
        .with("rolled_back", record.rolled_back)
        .with("streak", record.streak)
        .0
}

/// The shell text of a `Bash` call.
fn shell_text(call: &ToolCall) -> Option<String> {
    (call.tool == "Bash").then(|| call.command_text())
}

fn of_command(command: &SimpleCommand) -> Value {
    let word = |text: &Value, certain: bool| {
        Document::new()
            .with("text", text.clone())
            .with("certain", certain)
            .0
    };
    let words: Vec<Value> = command.argument_texts().map(Value::from).collect();
    let arguments: Vec<Value> = words
        .iter()
        .zip(&command.arguments)
        .map(|(text, argument)| word(text, argument.certain))
        .collect();
    let program = Value::from(command.program.text.as_str());
    Document::new()
        .with("name", command.program_name())
        .with("line", command.text())
        .with("words", words)
        .with("program", word(&program, command.program.certain))
        .with_some("resolved", command.resolved.as_deref())
        .with("arguments", arguments)
        .with("certain", command.certain)
        .0
}

fn of_access(access: &PathAccess) -> Value {
    Document::new()
        .with("path", access.path.as_str())
        .with_some("relative", access.relative.as_deref())
        .with(
            "mode",
            match access.mode {
                AccessMode::Read => "read",
                AccessMode::Write => "write",
                AccessMode::Create => "create",
                AccessMode::Delete => "delete",
            },
        )
        .with("certain", access.certain)
        .with("tracked", access.tracked)
        .with("protected", access.protected)
        .with_some("link", access.link.as_deref())
        .0
}

fn of_file(file: &PatchFile) -> Value {
    Document::new()
        .with("path", file.path.as_str())
        .with(
            "change",
            match file.change {
                ChangeKind::Added => "added",
                ChangeKind::Modified => "modified",
                ChangeKind::Deleted => "deleted",
            },
        )
        .with("added", texts(&file.added))
        .with("removed", texts(&file.removed))
        .with("test", file.test)
        .with("protected", file.protected)
        .with("dependents", file.dependents)
        .with("owners", texts(&file.owners))
        .with("earlier_heals", file.earlier_heals)
        .with("earlier_rollbacks", file.earlier_rollbacks)
        .0
}

#[cfg(test)]
mod tests {
    use super::*;
    use selfheal_policy_sdk::facts;

    /// Every name of `value` is known to `shape`, and the other way round where all
    /// optional facts are given.
    fn same(shape: &Shape, value: &Value, at: &str) {
        match (shape, value) {
            (Record(fields), Value::Object(object)) => {
                let known: std::collections::BTreeSet<&str> =
                    fields.iter().map(|(name, _)| *name).collect();
                let made: std::collections::BTreeSet<&str> = object
                    .keys()
                    .map(|key| &**key.as_string().unwrap())
                    .collect();
                assert_eq!(known, made, "{at}");
                for (name, shape) in *fields {
                    same(
                        shape,
                        object.get(&Value::from(*name)).unwrap(),
                        &format!("{at}.{name}"),
                    );
                }
            }
            (List(item), Value::Array(items)) => {
                assert!(!items.is_empty(), "{at} is empty");
                items.iter().for_each(|value| same(item, value, at));
            }
            (Plain, Value::String(_) | Value::Number(_) | Value::Bool(_)) => {}
            _ => panic!("{at}: {value:?} is not {shape:?}"),
        }
    }

    #[test]
    fn the_shape_names_exactly_what_a_document_has() {
        let mut context = facts::context();
        context.service = Some("billing".into());
        context.run = Some(selfheal_policy_sdk::RunRef {
            issue: 1,
            run: 2,
            id: "3".into(),
        });
        let mut call = facts::bash_call("git push origin");
        call.paths = facts::access_call("Write", "a.py", AccessMode::Write).paths;
        if let Some(access) = call.paths.first_mut() {
            access.link = Some("b.py".into());
        }
        if let Some(command) = call.commands.first_mut() {
            command.resolved = Some("/usr/bin/git".into());
        }
        call.network.push("example.org".into());
        let past = [PastCall {
            tool: "Bash".into(),
            verdict: "deny".into(),
            rule: Some("x".into()),
        }];
        let mut file = facts::file("a.py", &["x"], &["y"]);
        file.owners.push("@team".into());
        let patch = facts::patch_of(vec![file]);

        let call = of_call(&context, &call, Some(&past));
        let patch = of_patch(&context, &patch, Some(&past));
        let mut both = call.clone();
        let question = patch
            .as_object()
            .unwrap()
            .get(&Value::from("patch"))
            .unwrap();
        both.as_object_mut()
            .unwrap()
            .insert(Value::from("patch"), question.clone());
        same(&INPUT, &both, "input");
    }
}
