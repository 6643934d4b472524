//! What an agent wants to do, in the words that our policies judge. What does not
//! translate is refused: nothing may happen that nobody judged.

use selfheal_domain::tools::{ToolRequest, WorkspaceAccess, literal_glob};
use serde_json::Value;
use std::time::Duration;

/// How long a command may take when the agent does not say.
const USUAL_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a command may take at most.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);

/// A call as it is judged.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Wish {
    /// All of these at once.
    Calls(Vec<ToolRequest>),
    /// No policy can allow it; the text is for the agent.
    Impossible(String),
}

impl Wish {
    pub(crate) fn one(request: ToolRequest) -> Self {
        Self::Calls(vec![request])
    }

    pub(crate) fn no(why: impl Into<String>) -> Self {
        Self::Impossible(why.into())
    }
}

/// Where an agent works and what may become of its writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ground {
    /// Absolute path of the workspace.
    pub(crate) root: String,
    /// What its sandbox does with writes.
    pub(crate) access: WorkspaceAccess,
}

impl Ground {
    /// Relative to the workspace where it is below it, else as written: policies and
    /// broker see at once that it leads elsewhere.
    pub(crate) fn relative(&self, path: &str) -> String {
        let Some(rest) = path.strip_prefix(&self.root) else {
            return path.to_owned();
        };
        match rest.strip_prefix('/') {
            Some(below) => below.trim_start_matches('/').to_owned(),
            None if rest.is_empty() => String::new(),
            None => path.to_owned(),
        }
    }

    /// Relative and without a way out, or why not.
    fn below(&self, path: &str) -> Result<String, Wish> {
        let relative = self.relative(path);
        let leaves =
            relative.starts_with(['/', '~']) || relative.split('/').any(|part| part == "..");
        if leaves {
            return Err(Wish::no(format!(
                "{path} leads outside the workspace {}; look there with Bash if you must",
                self.root
            )));
        }
        Ok(relative.trim_start_matches("./").to_owned())
    }

    fn writes(&self) -> Result<(), Wish> {
        match self.access {
            WorkspaceAccess::Keep => Ok(()),
            WorkspaceAccess::ReadOnly | WorkspaceAccess::Discard => Err(Wish::no(
                "this is a diagnosis: nothing is written; describe the fix instead",
            )),
        }
    }

    /// A shell command in `directory` (absolute, or empty for the workspace).
    pub(crate) fn shell(&self, command: &str, directory: &str, timeout: Option<Duration>) -> Wish {
        let directory = match self.below(directory) {
            Ok(directory) => directory,
            Err(wish) => return wish,
        };
        Wish::one(ToolRequest::Bash {
            command: command.to_owned(),
            directory,
            timeout: timeout.unwrap_or(USUAL_TIMEOUT).min(LONGEST_TIMEOUT),
            access: self.access,
        })
    }

    pub(crate) fn read(&self, path: &str) -> Wish {
        match self.below(path) {
            Ok(path) => Wish::one(ToolRequest::Read {
                path,
                offset: None,
                limit: None,
            }),
            Err(wish) => wish,
        }
    }

    /// Searches `pattern` below `place` in files that match `only`.
    pub(crate) fn grep(&self, pattern: &str, place: &str, only: Option<&str>) -> Wish {
        let place = match self.below(place) {
            Ok(place) => place,
            Err(wish) => return wish,
        };
        let glob = match (place.trim_end_matches('/'), only) {
            ("", only) => only.map(str::to_owned),
            (place, Some(only)) => Some(format!("{}/**/{only}", literal_glob(place))),
            (place, None) => Some(format!("{}{{,/**}}", literal_glob(place))),
        };
        Wish::one(ToolRequest::Grep {
            pattern: pattern.to_owned(),
            glob,
        })
    }

    pub(crate) fn glob(&self, pattern: &str, place: &str) -> Wish {
        let place = match self.below(place) {
            Ok(place) => literal_glob(place.trim_end_matches('/')),
            Err(wish) => return wish,
        };
        let joined = if place.is_empty() || pattern.starts_with('/') {
            pattern.to_owned()
        } else {
            format!("{place}/{pattern}")
        };
        match self.below(&joined) {
            Ok(pattern) => Wish::one(ToolRequest::Glob { pattern }),
            Err(wish) => wish,
        }
    }

    pub(crate) fn write(&self, path: &str, content: &str) -> Wish {
        match self.writes().and_then(|()| self.below(path)) {
            Ok(path) => Wish::one(ToolRequest::Write {
                path,
                content: content.to_owned(),
            }),
            Err(wish) => wish,
        }
    }

    pub(crate) fn edit(&self, path: &str, old: &str, new: &str, replace_all: bool) -> Wish {
        if old.is_empty() {
            return self.write(path, new);
        }
        match self.writes().and_then(|()| self.below(path)) {
            Ok(path) => Wish::one(ToolRequest::Edit {
                path,
                old: old.to_owned(),
                new: new.to_owned(),
                replace_all,
            }),
            Err(wish) => wish,
        }
    }

    /// Removes a file. Judged as the command that does it.
    pub(crate) fn remove(&self, path: &str) -> Wish {
        match self.writes().and_then(|()| self.below(path)) {
            Ok(path) => match shlex::try_quote(&path) {
                Ok(quoted) => self.shell(&format!("rm -- {quoted}"), "", None),
                Err(_) => Wish::no(format!("{path:?} cannot be removed")),
            },
            Err(wish) => wish,
        }
    }
}

/// A text of an agent's input.
pub(crate) fn text<'v>(input: &'v Value, name: &str) -> Option<&'v str> {
    input.get(name).and_then(Value::as_str)
}

/// A call of a tool under the names that Claude Code gave the field.
pub(crate) fn named(ground: &Ground, tool: &str, input: &Value) -> Wish {
    let needed = |name: &str| {
        text(input, name).ok_or_else(|| Wish::no(format!("{tool} needs a text {name:?}")))
    };
    let or_empty = |name: &str| text(input, name).unwrap_or_default();
    let wish = match tool {
        "Bash" => needed("command").map(|command| {
            if input.get("run_in_background") == Some(&Value::Bool(true)) {
                return Wish::no(
                    "commands run in the foreground here; nothing would tell how they end",
                );
            }
            if input.get("dangerouslyDisableSandbox") == Some(&Value::Bool(true)) {
                return Wish::no("there is no way around the sandbox");
            }
            let timeout = input.get("timeout").and_then(Value::as_u64);
            ground.shell(command, "", timeout.map(Duration::from_millis))
        }),
        "Read" => needed("file_path").map(|path| ground.read(path)),
        "Grep" => needed("pattern")
            .map(|pattern| ground.grep(pattern, or_empty("path"), text(input, "glob"))),
        "Glob" => needed("pattern").map(|pattern| ground.glob(pattern, or_empty("path"))),
        "Write" => needed("file_path").and_then(|path| Ok(ground.write(path, needed("content")?))),
        "Edit" => needed("file_path").and_then(|path| {
            let all = input.get("replace_all") == Some(&Value::Bool(true));
            Ok(ground.edit(path, needed("old_string")?, needed("new_string")?, all))
        }),
        _ => Err(Wish::no(format!(
            "{tool} does not exist here; there are Bash, Read, Grep, Glob, Edit and Write"
        ))),
    };
    wish.unwrap_or_else(|wish| wish)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ground(access: WorkspaceAccess) -> Ground {
        Ground {
            root: "/srv/app".to_owned(),
            access,
        }
    }

    #[test]
    fn paths_are_relative_to_the_workspace_or_refused() {
        let ground = ground(WorkspaceAccess::Keep);
        for (path, relative) in [
            ("/srv/app/src/a.py", Some("src/a.py")),
            ("src/a.py", Some("src/a.py")),
            ("./a.py", Some("a.py")),
            ("/srv/app", Some("")),
            ("/srv/application/x", None),
            ("/srv/app/../other", None),
            ("~/.ssh/id_rsa", None),
            ("/etc/passwd", None),
        ] {
            match (ground.read(path), relative) {
                (Wish::Calls(calls), Some(expected)) => assert_eq!(
                    calls,
                    [ToolRequest::Read {
                        path: expected.to_owned(),
                        offset: None,
                        limit: None,
                    }],
                    "{path}"
                ),
                (Wish::Impossible(why), None) => assert!(why.contains(path), "{why}"),
                (wish, expected) => panic!("{path}: {wish:?}, not {expected:?}"),
            }
        }
    }

    /// What is judged is the directory that the agent looks into, whatever its name.
    #[test]
    fn a_place_is_no_pattern() {
        let ground = ground(WorkspaceAccess::Discard);
        let grep = ground.grep("x", "/srv/app/{docs,src}", None);
        let Wish::Calls(calls) = grep else {
            panic!("{grep:?}");
        };
        let [ToolRequest::Grep { glob, .. }] = calls.as_slice() else {
            panic!("{calls:?}");
        };
        assert_eq!(glob.as_deref(), Some(r"\{docs\,src\}{,/**}"));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let ground = ground(WorkspaceAccess::Keep);
        for (tool, input) in [
            ("WebFetch", json!({"url": "http://example.org"})),
            ("Agent", json!({"prompt": "x"})),
            ("mcp__host__restart", json!({})),
            ("Bash", json!({"cmd": "ls"})),
            ("Bash", json!({"command": ["ls"]})),
            (
                "Bash",
                json!({"command": "sleep 9", "run_in_background": true}),
            ),
            (
                "Bash",
                json!({"command": "ls", "dangerouslyDisableSandbox": true}),
            ),
            ("Glob", json!({"pattern": "/etc/**"})),
            ("Glob", json!({"pattern": "**", "path": "/etc"})),
            ("Grep", json!({"pattern": "x", "path": ".."})),
            ("Write", json!({"file_path": "/srv/app/x"})),
        ] {
            let wish = named(&ground, tool, &input);
            assert!(
                matches!(wish, Wish::Impossible(_)),
                "{tool} {input}: {wish:?}"
            );
        }
    }

    #[test]
    fn a_diagnosis_writes_nothing() {
        let ground = ground(WorkspaceAccess::Discard);
        let write = json!({"file_path": "/srv/app/x", "content": "y"});
        assert!(matches!(
            named(&ground, "Write", &write),
            Wish::Impossible(_)
        ));
        assert!(matches!(ground.remove("x"), Wish::Impossible(_)));
    }
}
