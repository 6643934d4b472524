//! Builders of facts for examples and tests. The host makes the real ones; these
//! agree with it for plain cases.

use crate::{
    AccessMode, AssessedPatch, Assessment, AutonomyLevel, ChangeKind, Context, Counters,
    Environment, Issue, Patch, PatchFile, PathAccess, Phase, Question, SimpleCommand, ToolCall,
    TrackRecord, Trust, Word,
};

/// Where the workspace of the examples lies.
pub const WORKSPACE: &str = "/app";

/// Drafting in production at level 2, led here by a member's report.
pub fn context() -> Context {
    Context {
        run: None,
        phase: Phase::Drafting,
        environment: Environment::Production,
        level: AutonomyLevel::AutoLow,
        actor: "engine:builtin".into(),
        trust: Trust::Member,
        service: None,
        earned: TrackRecord {
            healed: 0,
            failed: 0,
            rolled_back: 0,
            streak: 0,
        },
        counters: Counters {
            tool_calls: 0,
            denied: 0,
            files_written: 0,
            bytes_written: 0,
            seconds: 0,
        },
    }
}

/// [`context`] in another environment and at another level.
pub fn context_at(environment: Environment, level: AutonomyLevel) -> Context {
    Context {
        environment,
        level,
        ..context()
    }
}

/// A `Bash` call as facts: words split at blanks, quotes honoured, `&&`, `||`,
/// `;`, `|` separate commands, assignments in front are dropped. Words with `$`,
/// a backquote or a glob are uncertain.
pub fn bash_call(command: &str) -> ToolCall {
    let input = serde_json::Value::from_iter([("command", command)]);
    ToolCall {
        tool: "Bash".into(),
        input: input.to_string(),
        commands: split(command),
        parsed: true,
        paths: Vec::new(),
        network: Vec::new(),
        bytes: 0,
    }
}

/// [`bash_call`] as an example's question.
pub fn bash(command: &str) -> Question {
    Question::ToolCall(bash_call(command))
}

/// A call of `tool` that accesses one path; relative paths lie in [`WORKSPACE`].
pub fn access_call(tool: &str, path: &str, mode: AccessMode) -> ToolCall {
    let inside = !path.starts_with('/');
    let absolute = if inside {
        format!("{WORKSPACE}/{path}")
    } else {
        path.to_owned()
    };
    let input = serde_json::Value::from_iter([("path", path)]);
    ToolCall {
        tool: tool.into(),
        input: input.to_string(),
        commands: Vec::new(),
        parsed: true,
        paths: vec![PathAccess {
            path: absolute,
            relative: inside.then(|| path.to_owned()),
            mode,
            certain: true,
            tracked: inside,
            protected: false,
            link: None,
        }],
        network: Vec::new(),
        bytes: 0,
    }
}

/// [`access_call`] as an example's question.
pub fn access(tool: &str, path: &str, mode: AccessMode) -> Question {
    Question::ToolCall(access_call(tool, path, mode))
}

/// A modified file of a patch.
pub fn file(path: &str, removed: &[&str], added: &[&str]) -> PatchFile {
    PatchFile {
        path: path.into(),
        change: ChangeKind::Modified,
        added: added.iter().map(|line| (*line).to_owned()).collect(),
        removed: removed.iter().map(|line| (*line).to_owned()).collect(),
        test: false,
        protected: false,
        dependents: 0,
        owners: Vec::new(),
        earlier_heals: 0,
        earlier_rollbacks: 0,
    }
}

/// A proved patch of `files` with a confident agent and no rivals.
pub fn patch_of(files: Vec<PatchFile>) -> Patch {
    let mut diff = String::new();
    for file in &files {
        diff.push_str(&format!("--- a/{0}\n+++ b/{0}\n@@ -1 +1 @@\n", file.path));
        for line in &file.removed {
            diff.push_str(&format!("-{line}\n"));
        }
        for line in &file.added {
            diff.push_str(&format!("+{line}\n"));
        }
    }
    Patch {
        digest: "0".repeat(64),
        diff,
        files,
        claimed_confidence: 0.9,
        reproduction_proved: true,
        rivals: 0,
        severity: "MEDIUM".into(),
    }
}

/// [`patch_of`] as an example's question.
pub fn patch(files: Vec<PatchFile>) -> Question {
    Question::Patch(patch_of(files))
}

/// A patch that got `score`, as a question to an autonomy module.
pub fn assessed(files: Vec<PatchFile>, score: u32) -> Question {
    Question::Assessed(AssessedPatch {
        patch: patch_of(files),
        assessment: Assessment {
            score,
            factors: Vec::new(),
        },
    })
}

/// An issue that waits for approval.
pub fn issue(severity: &str, category: &str, trust: Trust) -> Question {
    Question::Issue(Issue {
        number: 1,
        severity: severity.into(),
        category: category.into(),
        source: "web".into(),
        trust,
    })
}

fn split(command: &str) -> Vec<SimpleCommand> {
    let mut commands = Vec::new();
    let mut words: Vec<Word> = Vec::new();
    let mut current: Option<Word> = None;
    let mut quote: Option<char> = None;
    let finish_word =
        |current: &mut Option<Word>, words: &mut Vec<Word>| words.extend(current.take());
    for character in command.chars() {
        let word_so_far = &mut current;
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word_so_far.get_or_insert_with(empty_word);
            }
            (None, ' ' | '\n') => finish_word(&mut current, &mut words),
            (None, ';' | '|' | '&') => {
                finish_word(&mut current, &mut words);
                commands.extend(simple(std::mem::take(&mut words)));
            }
            _ => {
                let word = word_so_far.get_or_insert_with(empty_word);
                let open = if quote.is_none() { "$`*?[{" } else { "$`" };
                word.certain &= quote == Some('\'') || !open.contains(character);
                word.text.push(character);
            }
        }
    }
    finish_word(&mut current, &mut words);
    commands.extend(simple(words));
    commands
}

fn empty_word() -> Word {
    Word {
        text: String::new(),
        certain: true,
    }
}

fn simple(words: Vec<Word>) -> Option<SimpleCommand> {
    let assignment = |word: &Word| {
        word.text.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        })
    };
    let mut words = words.into_iter().skip_while(assignment);
    let program = words.next()?;
    let certain = program.certain;
    Some(SimpleCommand {
        program,
        resolved: None,
        arguments: words.collect(),
        certain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_becomes_simple_commands() {
        let call = bash_call("cd web && FOO=1 npm test -- 'a b' \"$X\" | tail -3");
        let lines: Vec<String> = call.commands.iter().map(SimpleCommand::text).collect();
        assert_eq!(lines, ["cd web", "npm test -- a b $X", "tail -3"]);
        let npm = call.commands.get(1).unwrap();
        assert!(npm.arguments.get(2).unwrap().certain);
        assert!(!npm.arguments.get(3).unwrap().certain);
        assert_eq!(
            call.command_text(),
            "cd web && FOO=1 npm test -- 'a b' \"$X\" | tail -3"
        );
    }
}
