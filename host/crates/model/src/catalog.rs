//! The tools a model is offered, under the names and with the inputs that the field
//! already uses, and what it asks for with them.

use crate::conversation::ToolSpec;
use crate::text::clip;
use selfheal_domain::mcp::McpTool;
use selfheal_domain::policy::AgentPhase;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Longest input of a call that is looked at, in bytes.
const MAX_INPUT: usize = 1024 * 1024;

/// A call that makes sense, not yet judged.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Call {
    Bash(BashInput),
    Read(ReadInput),
    Grep(GrepInput),
    Glob(GlobInput),
    Write(WriteInput),
    Edit(EditInput),
    MultiEdit(MultiEditInput),
    Task(TaskInput),
    Mcp {
        server: String,
        tool: String,
        arguments: Value,
    },
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BashInput {
    pub(crate) command: String,
    /// In milliseconds.
    pub(crate) timeout: Option<f64>,
    #[serde(default)]
    pub(crate) description: String,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReadInput {
    pub(crate) file_path: String,
    /// First line, from 1.
    pub(crate) offset: Option<u64>,
    pub(crate) limit: Option<u64>,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrepInput {
    pub(crate) pattern: String,
    pub(crate) path: Option<String>,
    pub(crate) glob: Option<String>,
    pub(crate) output_mode: Option<GrepMode>,
    #[serde(default, rename = "-i")]
    pub(crate) ignore_case: bool,
    /// Lines are always numbered.
    #[serde(default, rename = "-n")]
    pub(crate) _numbered: bool,
    pub(crate) head_limit: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GrepMode {
    Content,
    FilesWithMatches,
    Count,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GlobInput {
    pub(crate) pattern: String,
    pub(crate) path: Option<String>,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WriteInput {
    pub(crate) file_path: String,
    pub(crate) content: String,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EditInput {
    pub(crate) file_path: String,
    pub(crate) old_string: String,
    pub(crate) new_string: String,
    #[serde(default)]
    pub(crate) replace_all: bool,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MultiEditInput {
    pub(crate) file_path: String,
    pub(crate) edits: Vec<OneEdit>,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OneEdit {
    pub(crate) old_string: String,
    pub(crate) new_string: String,
    #[serde(default)]
    pub(crate) replace_all: bool,
}

#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskInput {
    pub(crate) description: String,
    pub(crate) prompt: String,
}

/// What is offered in one conversation.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    phase: AgentPhase,
    tasks: bool,
    external: Vec<McpTool>,
}

impl Catalog {
    pub(crate) fn new(phase: AgentPhase, tasks: bool, external: Vec<McpTool>) -> Self {
        Self {
            phase,
            tasks,
            external,
        }
    }

    /// The same tools, with or without sub-agents.
    pub(crate) fn with_tasks(&self, tasks: bool) -> Self {
        Self {
            tasks,
            ..self.clone()
        }
    }

    pub(crate) fn writes(&self) -> bool {
        self.phase == AgentPhase::Drafting
    }

    pub(crate) fn specs(&self) -> Vec<ToolSpec> {
        let mut specs = vec![bash(self.writes()), read(), grep(), glob()];
        if self.writes() {
            specs.extend([edit(), multi_edit(), write()]);
        }
        if self.tasks {
            specs.push(task());
        }
        specs.extend(self.external.iter().map(|tool| ToolSpec {
            name: tool.name(),
            description: format!(
                "Tool of the external server {:?}. It says of itself: {}",
                tool.server,
                clip(&tool.description, 1000)
            ),
            input_schema: tool.input_schema.clone(),
        }));
        specs
    }

    /// What the model asks for, or what is wrong with it, for the model.
    pub(crate) fn parse(&self, name: &str, input: &Value) -> Result<Call, String> {
        if input.to_string().len() > MAX_INPUT {
            return Err(format!("the input of {name} is longer than 1 MiB"));
        }
        let call = match name {
            "Bash" => Call::Bash(typed(name, input)?),
            "Read" => Call::Read(typed(name, input)?),
            "Grep" => Call::Grep(typed(name, input)?),
            "Glob" => Call::Glob(typed(name, input)?),
            "Write" if self.writes() => Call::Write(typed(name, input)?),
            "Edit" if self.writes() => Call::Edit(typed(name, input)?),
            "MultiEdit" if self.writes() => Call::MultiEdit(typed(name, input)?),
            "Write" | "Edit" | "MultiEdit" => {
                return Err(format!(
                    "{name} is not offered: this is the diagnosis, nothing is written now. Put the change \
                     into the suggested fix."
                ));
            }
            "Task" | "Agent" if self.tasks => Call::Task(typed(name, input)?),
            _ => match self.external.iter().find(|tool| tool.name() == name) {
                Some(tool) if input.is_object() => Call::Mcp {
                    server: tool.server.clone(),
                    tool: tool.tool.clone(),
                    arguments: input.clone(),
                },
                Some(_) => return Err(format!("the input of {name} must be a JSON object")),
                None => {
                    let names: Vec<String> =
                        self.specs().into_iter().map(|spec| spec.name).collect();
                    return Err(format!(
                        "there is no tool {:?} here; there are: {}",
                        clip(name, 100),
                        names.join(", ")
                    ));
                }
            },
        };
        Ok(call)
    }
}

/// The input as `T`; what is wrong with it names the field and what is valid.
pub(crate) fn typed<T: DeserializeOwned>(name: &str, input: &Value) -> Result<T, String> {
    if !input.is_object() {
        return Err(format!("the input of {name} must be a JSON object"));
    }
    T::deserialize(input).map_err(|error| format!("wrong input of {name}: {error}"))
}

fn spec(name: &str, description: &str, properties: Value, required: &[&str]) -> ToolSpec {
    ToolSpec {
        name: name.to_owned(),
        description: description.to_owned(),
        input_schema: json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        }),
    }
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn whole(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": description })
}

const PATH: &str = "Absolute path, or one relative to the workspace";

fn bash(writes: bool) -> ToolSpec {
    let kept = if writes {
        "What it writes in the workspace is kept and becomes part of the patch."
    } else {
        "The workspace is read-only: writing fails."
    };
    let description = format!(
        "Runs a command with /bin/sh in the workspace, in a sandbox without network and without secrets. \
         Each call is a shell of its own. {kept} Some commands are denied by policy; the denial says what \
         to do instead."
    );
    spec(
        "Bash",
        &description,
        json!({
            "command": text("The command"),
            "timeout": { "type": "number", "description": "Milliseconds until it is killed; 120000 if left out, 600000 at most" },
            "description": text("What it is for, in five to ten words"),
        }),
        &["command"],
    )
}

fn read() -> ToolSpec {
    spec(
        "Read",
        "Reads a text file; lines are numbered. Secrets in it are masked.",
        json!({
            "file_path": text(PATH),
            "offset": whole("First line to read, from 1"),
            "limit": whole("Number of lines to read; 2000 if left out"),
        }),
        &["file_path"],
    )
}

fn grep() -> ToolSpec {
    spec(
        "Grep",
        "Searches file contents for a regular expression (Rust syntax, line by line). Ignored files are left out.",
        json!({
            "pattern": text("The regular expression"),
            "path": text("Only this file or directory"),
            "glob": text("Only files that match, as in *.py or src/**/*.ts"),
            "output_mode": {
                "type": "string",
                "enum": ["content", "files_with_matches", "count"],
                "description": "Matching lines with numbers, names of files (if left out), or matches per file",
            },
            "-i": { "type": "boolean", "description": "Ignore case" },
            "-n": { "type": "boolean", "description": "Lines are always numbered" },
            "head_limit": whole("At most so many lines of output"),
        }),
        &["pattern"],
    )
}

fn glob() -> ToolSpec {
    spec(
        "Glob",
        "Lists files whose path matches a glob, as in src/**/*.py. Ignored files are left out.",
        json!({
            "pattern": text("The glob"),
            "path": text("Directory to look in; the workspace if left out"),
        }),
        &["pattern"],
    )
}

fn edit() -> ToolSpec {
    spec(
        "Edit",
        "Replaces a passage of a file. old_string must occur exactly once, or replace_all must be true.",
        json!({
            "file_path": text(PATH),
            "old_string": text("The passage, to the letter, without line numbers"),
            "new_string": text("What stands there afterwards"),
            "replace_all": { "type": "boolean", "default": false, "description": "Replace every occurrence" },
        }),
        &["file_path", "old_string", "new_string"],
    )
}

fn multi_edit() -> ToolSpec {
    spec(
        "MultiEdit",
        "Replaces several passages of one file, in order, all or none. Each old_string must occur exactly once when its turn comes, or replace_all must be true.",
        json!({
            "file_path": text(PATH),
            "edits": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "old_string": text("The passage, to the letter"),
                        "new_string": text("What stands there afterwards"),
                        "replace_all": { "type": "boolean", "default": false, "description": "Replace every occurrence" },
                    },
                    "required": ["old_string", "new_string"],
                    "additionalProperties": false,
                },
            },
        }),
        &["file_path", "edits"],
    )
}

fn write() -> ToolSpec {
    spec(
        "Write",
        "Writes a whole file; what was in it is gone. Prefer Edit for files that exist.",
        json!({ "file_path": text(PATH), "content": text("The new content") }),
        &["file_path", "content"],
    )
}

fn task() -> ToolSpec {
    spec(
        "Task",
        "Gives a part of the work to a sub-agent that has the same tools and sees nothing of this conversation. Its last message is the result. It spends from your budget.",
        json!({
            "description": text("The task in three to five words"),
            "prompt": text("Everything it has to know and to answer"),
        }),
        &["description", "prompt"],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(phase: AgentPhase) -> Catalog {
        let search = McpTool {
            server: "docs".to_owned(),
            tool: "search".to_owned(),
            description: "Searches".to_owned(),
            input_schema: json!({ "type": "object" }),
        };
        Catalog::new(phase, true, vec![search])
    }

    /// One input per tool that has every field of its schema.
    fn samples() -> Vec<(&'static str, Value)> {
        vec![
            (
                "Bash",
                json!({"command": "ls", "timeout": 1000.5, "description": "List"}),
            ),
            ("Read", json!({"file_path": "a", "offset": 1, "limit": 2})),
            (
                "Grep",
                json!({"pattern": "x", "path": "src", "glob": "*.py", "output_mode": "count",
                    "-i": true, "-n": true, "head_limit": 3}),
            ),
            ("Glob", json!({"pattern": "*", "path": "src"})),
            (
                "Edit",
                json!({"file_path": "a", "old_string": "b", "new_string": "c", "replace_all": true}),
            ),
            (
                "MultiEdit",
                json!({"file_path": "a", "edits": [{"old_string": "b", "new_string": "c"}]}),
            ),
            ("Write", json!({"file_path": "a", "content": "b"})),
            ("Task", json!({"description": "a", "prompt": "b"})),
            ("mcp__docs__search", json!({"anything": 1})),
        ]
    }

    #[test]
    fn schemas_and_what_is_taken_agree() {
        let catalog = catalog(AgentPhase::Drafting);
        let specs = catalog.specs();
        let samples = samples();
        assert_eq!(specs.len(), samples.len());
        for (name, input) in samples {
            let spec = specs.iter().find(|spec| spec.name == name).unwrap();
            let parsed = catalog.parse(name, &input);
            assert!(parsed.is_ok(), "{name}: {parsed:?}");
            if name.starts_with("mcp__") {
                continue;
            }
            let mut in_schema: Vec<&String> = spec.input_schema["properties"]
                .as_object()
                .unwrap()
                .keys()
                .collect();
            let mut in_sample: Vec<&String> = input.as_object().unwrap().keys().collect();
            in_schema.sort();
            in_sample.sort();
            assert_eq!(in_schema, in_sample, "{name}");
            let required = spec.input_schema["required"].as_array().unwrap();
            for key in in_sample {
                let mut without = input.clone();
                without.as_object_mut().unwrap().remove(key);
                let is_required = required.iter().any(|name| name == key);
                assert_eq!(
                    catalog.parse(name, &without).is_err(),
                    is_required,
                    "{name} without {key}"
                );
            }
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let catalog = catalog(AgentPhase::Diagnosis);
        for (name, input, expected) in [
            ("Bash", json!({}), "missing field `command`"),
            ("Bash", json!("ls"), "must be a JSON object"),
            ("Bash", Value::Null, "must be a JSON object"),
            ("Bash", json!({"command": 7}), "invalid type: integer"),
            (
                "Read",
                json!({"file_path": "a", "offset": -1}),
                "invalid value",
            ),
            (
                "Read",
                json!({"file_path": "a", "pages": "1"}),
                "unknown field `pages`, expected one of `file_path`",
            ),
            (
                "Write",
                json!({"file_path": "a", "content": ""}),
                "nothing is written now",
            ),
            ("Delete", json!({}), "there are: Bash, Read, Grep, Glob"),
            ("mcp__docs__search", json!([]), "must be a JSON object"),
            ("mcp__docs__other", json!({}), "there is no tool"),
        ] {
            let error = catalog.parse(name, &input).unwrap_err();
            assert!(error.contains(expected), "{name} {input}: {error}");
        }
        let huge = json!({ "command": "x".repeat(MAX_INPUT) });
        assert!(
            catalog
                .parse("Bash", &huge)
                .unwrap_err()
                .contains("longer than")
        );
    }
}
