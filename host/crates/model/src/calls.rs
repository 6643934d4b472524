//! Carrying out what a model asks for, through [`Tools`] and nothing else, and saying
//! what came of it in the words that models know.

use crate::catalog::{
    BashInput, Call, EditInput, GlobInput, GrepInput, GrepMode, MultiEditInput, ReadInput,
};
use crate::text::clip;
use selfheal_domain::tools::{
    CommandOutput, Ended, Replacement, ToolError, ToolOutput, ToolRequest, Tools, WorkspaceAccess,
    literal_glob,
};
use selfheal_domain::verdict::Reason;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a command may take when the model does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// How long it may take at most.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);
/// Lines of a file that are shown when the model does not say.
const LINES: u64 = 2000;
/// Bytes of one line that are shown.
const LINE: usize = 2000;

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    /// It was carried out.
    Done,
    /// It makes no sense, or the tool could not do it.
    Wrong,
    /// A policy said no.
    Denied,
    /// The host could not carry it out.
    Broken,
    /// The run was cancelled.
    Cancelled,
}

/// What came of a call, for the model.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) how: How,
}

impl Outcome {
    pub(crate) fn done(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            how: How::Done,
        }
    }

    pub(crate) fn wrong(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            how: How::Wrong,
        }
    }
}

impl From<ToolError> for Outcome {
    fn from(error: ToolError) -> Self {
        let (how, text) = match error {
            ToolError::Denied(reason) => (How::Denied, denial(&reason)),
            ToolError::Invalid(text) => (How::Wrong, text),
            ToolError::Cancelled => (How::Cancelled, "the run was cancelled".to_owned()),
            ToolError::Unavailable(text) => (
                How::Broken,
                format!("the host could not carry out the call: {text}"),
            ),
        };
        Self { text, how }
    }
}

/// What a model needs to know to adapt.
fn denial(reason: &Reason) -> String {
    let mut text = format!("Denied by rule {}: {}", reason.rule, reason.message);
    if let Some(evidence) = &reason.evidence {
        text.push_str(&format!("\nThe part that decided: {}", evidence.text));
    }
    match &reason.alternative {
        Some(alternative) => text.push_str(&format!("\nInstead: {alternative}")),
        None => text.push_str("\nNothing happened. Find another way; do not work around the rule."),
    }
    text
}

/// Carries out one call; a task's sub-agent is started by the conversation.
pub(crate) fn carry_out(call: &Call, tools: &dyn Tools, keep: bool, left: Duration) -> Outcome {
    let done = match call {
        Call::Bash(input) => bash(input, tools, keep, left),
        Call::Read(input) => read(input, tools),
        Call::Grep(input) => grep(input, tools),
        Call::Glob(input) => glob(input, tools),
        Call::Write(input) => match inside(&input.file_path, tools) {
            Ok(path) => tools
                .call(ToolRequest::Write {
                    path,
                    content: input.content.clone(),
                })
                .map(|_| Outcome::done(format!("{} is written.", input.file_path))),
            Err(wrong) => Ok(wrong),
        },
        Call::Edit(input) => edit(input, tools),
        Call::MultiEdit(input) => multi_edit(input, tools),
        Call::Task(input) => tools
            .call(ToolRequest::Task {
                description: input.description.clone(),
                prompt: input.prompt.clone(),
            })
            .map(|_| Outcome::done("")),
        Call::Mcp {
            server,
            tool,
            arguments,
        } => tools
            .call(ToolRequest::Mcp {
                server: server.clone(),
                tool: tool.clone(),
                arguments: arguments.clone(),
            })
            .map(|output| Outcome::done(said(output))),
    };
    done.unwrap_or_else(Outcome::from)
}

/// Text of an output; for tools that answer with text.
fn said(output: ToolOutput) -> String {
    match output {
        ToolOutput::Text(text) => text,
        ToolOutput::Command(output) => command_text(&output),
        ToolOutput::Written => "done".to_owned(),
    }
}

/// `path` relative to the workspace, as the broker takes it.
fn inside(path: &str, tools: &dyn Tools) -> Result<String, Outcome> {
    let root = tools.workspace();
    let root = root.trim_end_matches('/');
    let path = path.trim();
    if path.is_empty() {
        return Err(Outcome::wrong("a path is empty"));
    }
    let relative = if path.starts_with('/') {
        match path.strip_prefix(root) {
            Some("") => "",
            Some(rest) if rest.starts_with('/') => rest.trim_start_matches('/'),
            Some(_) | None => {
                return Err(Outcome::wrong(format!(
                    "{path} is outside the workspace {root}; nothing else can be reached"
                )));
            }
        }
    } else {
        path
    };
    let mut relative = relative;
    while let Some(rest) = relative.strip_prefix("./") {
        relative = rest;
    }
    Ok(if relative == "." { "" } else { relative }
        .trim_end_matches('/')
        .to_owned())
}

fn bash(
    input: &BashInput,
    tools: &dyn Tools,
    keep: bool,
    left: Duration,
) -> Result<Outcome, ToolError> {
    let asked = match input.timeout {
        None => DEFAULT_TIMEOUT,
        Some(millis) => match Duration::try_from_secs_f64(millis / 1000.0) {
            Ok(asked) if !asked.is_zero() => asked,
            _ => {
                return Ok(Outcome::wrong(
                    "timeout must be a positive number of milliseconds",
                ));
            }
        },
    };
    let output = tools.call(ToolRequest::Bash {
        command: input.command.clone(),
        directory: String::new(),
        timeout: asked.min(LONGEST_TIMEOUT).min(left),
        access: if keep {
            WorkspaceAccess::Keep
        } else {
            WorkspaceAccess::ReadOnly
        },
    })?;
    Ok(Outcome::done(said(output)))
}

/// A command's output as text.
pub(crate) fn command_text(output: &CommandOutput) -> String {
    let mut text = match output.ended {
        Ended::Exit(code) => format!("Exit code {code}"),
        Ended::Signal(signal) => format!("Killed by signal {signal}"),
        Ended::TimedOut => format!("Killed at its time limit after {:.1} s", output.seconds),
        Ended::Cancelled => "Killed because the run was cancelled".to_owned(),
    };
    for (name, stream) in [("", &output.stdout), ("[stderr]\n", &output.stderr)] {
        let stream = stream.trim_end();
        if !stream.is_empty() {
            text.push('\n');
            text.push_str(name);
            text.push_str(stream);
        }
    }
    if output.truncated {
        text.push_str("\n[the output was cut]");
    }
    text
}

fn read(input: &ReadInput, tools: &dyn Tools) -> Result<Outcome, ToolError> {
    let path = match inside(&input.file_path, tools) {
        Ok(path) => path,
        Err(wrong) => return Ok(wrong),
    };
    let first = input.offset.unwrap_or(1).max(1);
    let count = input.limit.unwrap_or(LINES).max(1);
    let text = said(tools.call(ToolRequest::Read {
        path,
        offset: Some(first),
        // One more, to know whether there is more.
        limit: Some(count.saturating_add(1)),
    })?);
    let mut shown = String::new();
    for (index, line) in (0_u64..).zip(text.lines()) {
        let number = first.saturating_add(index);
        if index == count {
            shown.push_str(&format!("[there is more; read on with offset {number}]"));
            break;
        }
        shown.push_str(&format!("{number:>6}\t{}\n", clip(line, LINE)));
    }
    if shown.is_empty() {
        shown = if first > 1 {
            format!("[the file ends before line {first}]")
        } else {
            "[the file is empty]".to_owned()
        };
    }
    Ok(Outcome::done(shown))
}

fn grep(input: &GrepInput, tools: &dyn Tools) -> Result<Outcome, ToolError> {
    let path = match input
        .path
        .as_deref()
        .map(|path| inside(path, tools))
        .transpose()
    {
        Ok(path) => path.filter(|path| !path.is_empty()),
        Err(wrong) => return Ok(wrong),
    };
    let wanted = input.glob.as_deref().filter(|glob| !glob.is_empty());
    let glob = match (path, wanted) {
        (None, None) => None,
        (None, Some(glob)) => Some(glob.to_owned()),
        (Some(path), None) => {
            let path = literal_glob(&path);
            Some(format!("{{{path},{path}/**}}"))
        }
        (Some(path), Some(glob)) => {
            let path = literal_glob(&path);
            Some(if glob.contains('/') {
                format!("{path}/{glob}")
            } else {
                format!("{{{path},{path}/**/{glob}}}")
            })
        }
    };
    let pattern = if input.ignore_case {
        format!("(?i){}", input.pattern)
    } else {
        input.pattern.clone()
    };
    let found = said(tools.call(ToolRequest::Grep { pattern, glob })?);
    Ok(Outcome::done(listing(
        &found,
        input.output_mode.unwrap_or(GrepMode::FilesWithMatches),
        input.head_limit,
    )))
}

/// `path:line:text` lines in the form that was asked for.
fn listing(found: &str, mode: GrepMode, most: Option<u64>) -> String {
    let most = most
        .and_then(|most| usize::try_from(most).ok())
        .filter(|most| *most > 0);
    let mut lines: Vec<String> = match mode {
        GrepMode::Content => found.lines().map(str::to_owned).collect(),
        GrepMode::FilesWithMatches | GrepMode::Count => {
            let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
            let mut notes = Vec::new();
            for line in found.lines() {
                match matched_file(line) {
                    Some(path) => *counts.entry(path).or_default() += 1,
                    None => notes.push(line.to_owned()),
                }
            }
            let shown = counts.into_iter().map(|(path, count)| {
                if mode == GrepMode::Count {
                    format!("{path}:{count}")
                } else {
                    path.to_owned()
                }
            });
            shown.chain(notes).collect()
        }
    };
    let all = lines.len();
    if let Some(most) = most
        && most < all
    {
        lines.truncate(most);
        lines.push(format!("[the first {most} of {all} lines]"));
    }
    if lines.is_empty() {
        return "No matches found".to_owned();
    }
    lines.join("\n")
}

/// The path of a `path:line:text` line; paths may hold colons themselves.
fn matched_file(line: &str) -> Option<&str> {
    let mut from = 0;
    while let Some(colon) = line.get(from..)?.find(':').map(|at| from + at) {
        let rest = line.get(colon + 1..)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && rest.get(digits..)?.starts_with(':') {
            return line.get(..colon);
        }
        from = colon + 1;
    }
    None
}

fn glob(input: &GlobInput, tools: &dyn Tools) -> Result<Outcome, ToolError> {
    let directory = match input
        .path
        .as_deref()
        .map(|path| inside(path, tools))
        .transpose()
    {
        Ok(path) => path.unwrap_or_default(),
        Err(wrong) => return Ok(wrong),
    };
    let pattern = match inside(&input.pattern, tools) {
        Ok(pattern) => pattern,
        Err(wrong) => return Ok(wrong),
    };
    let pattern = if directory.is_empty() || input.pattern.starts_with('/') {
        pattern
    } else {
        format!("{}/{pattern}", literal_glob(&directory))
    };
    let found = said(tools.call(ToolRequest::Glob { pattern })?);
    Ok(Outcome::done(if found.trim().is_empty() {
        "No files found".to_owned()
    } else {
        found
    }))
}

fn edit(input: &EditInput, tools: &dyn Tools) -> Result<Outcome, ToolError> {
    let path = match inside(&input.file_path, tools) {
        Ok(path) => path,
        Err(wrong) => return Ok(wrong),
    };
    if input.old_string == input.new_string {
        return Ok(Outcome::wrong(
            "old_string and new_string are the same; nothing was changed",
        ));
    }
    tools.call(ToolRequest::Edit {
        path,
        old: input.old_string.clone(),
        new: input.new_string.clone(),
        replace_all: input.replace_all,
    })?;
    Ok(Outcome::done(format!("{} is changed.", input.file_path)))
}

fn multi_edit(input: &MultiEditInput, tools: &dyn Tools) -> Result<Outcome, ToolError> {
    let path = match inside(&input.file_path, tools) {
        Ok(path) => path,
        Err(wrong) => return Ok(wrong),
    };
    if input.edits.is_empty() {
        return Ok(Outcome::wrong("edits is empty; nothing was changed"));
    }
    tools.call(ToolRequest::MultiEdit {
        path,
        edits: input
            .edits
            .iter()
            .map(|edit| Replacement {
                old: edit.old_string.clone(),
                new: edit.new_string.clone(),
                replace_all: edit.replace_all,
            })
            .collect(),
    })?;
    Ok(Outcome::done(format!(
        "{}: {} passages are changed.",
        input.file_path,
        input.edits.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use selfheal_domain::policy::AgentPhase;
    use selfheal_domain::tools::ToolSession;
    use serde_json::{Value, json};
    use std::sync::Mutex;

    /// Answers every call with the same text and remembers it.
    #[derive(Default)]
    struct Echo {
        text: String,
        seen: Mutex<Vec<ToolRequest>>,
    }

    impl Tools for Echo {
        fn call(&self, request: ToolRequest) -> Result<ToolOutput, ToolError> {
            self.seen.lock().unwrap().push(request);
            Ok(ToolOutput::Text(self.text.clone()))
        }
        fn session(&self, _: ToolRequest) -> Result<Box<dyn ToolSession>, ToolError> {
            Err(ToolError::Invalid("no sessions".to_owned()))
        }
        fn workspace(&self) -> String {
            "/srv/shop".to_owned()
        }
        fn assets(&self) -> String {
            String::new()
        }
        fn progress(&self, _: &str) {}
        fn cancelled(&self) -> bool {
            false
        }
    }

    fn ask(name: &str, input: Value, text: &str) -> (Outcome, Vec<ToolRequest>) {
        let tools = Echo {
            text: text.to_owned(),
            ..Echo::default()
        };
        let catalog = Catalog::new(AgentPhase::Drafting, true, Vec::new());
        let call = catalog.parse(name, &input).unwrap();
        let outcome = carry_out(&call, &tools, false, Duration::from_secs(60));
        let seen = tools.seen.lock().unwrap().clone();
        (outcome, seen)
    }

    #[test]
    fn paths_may_be_absolute_or_relative() {
        for (given, expected) in [
            ("/srv/shop/app.py", Ok("app.py")),
            ("/srv/shop", Ok("")),
            ("./lib/./x", Ok("lib/./x")),
            ("lib/", Ok("lib")),
            ("/srv/shopping/app.py", Err(())),
            ("/etc/passwd", Err(())),
            (" ", Err(())),
        ] {
            let found = inside(given, &Echo::default());
            assert_eq!(found.as_deref().map_err(|_| ()), expected, "{given}");
        }
    }

    #[test]
    fn a_file_is_read_in_pages() {
        let (outcome, seen) = ask(
            "Read",
            json!({"file_path": "/srv/shop/a.txt", "offset": 2, "limit": 2}),
            "line 2\nline 3\nline 4\n",
        );
        assert_eq!(
            outcome.text,
            "     2\tline 2\n     3\tline 3\n[there is more; read on with offset 4]"
        );
        assert_eq!(
            seen,
            [ToolRequest::Read {
                path: "a.txt".to_owned(),
                offset: Some(2),
                limit: Some(3)
            }]
        );
        let (outcome, _) = ask(
            "Read",
            json!({"file_path": "a", "offset": u64::MAX, "limit": u64::MAX}),
            "",
        );
        assert!(outcome.text.starts_with("[the file ends before line"));
        let (outcome, _) = ask("Read", json!({"file_path": "a"}), "");
        assert_eq!(outcome.text, "[the file is empty]");
    }

    #[test]
    fn grep_answers_in_the_form_asked_for() {
        let found = "a:b.py:1:x = 1:2\na:b.py:7:y\nc.py:3:z\n[more was found than is shown]\n";
        for (mode, expected) in [
            (
                "files_with_matches",
                "a:b.py\nc.py\n[more was found than is shown]",
            ),
            ("count", "a:b.py:2\nc.py:1\n[more was found than is shown]"),
            ("content", found.trim_end()),
        ] {
            let (outcome, _) = ask("Grep", json!({"pattern": "x", "output_mode": mode}), found);
            assert_eq!(outcome.text, expected);
        }
        let (_, seen) = ask(
            "Grep",
            json!({"pattern": "x", "path": "/srv/shop/s[r]c", "glob": "*.py", "-i": true}),
            "",
        );
        assert_eq!(
            seen,
            [ToolRequest::Grep {
                pattern: "(?i)x".to_owned(),
                glob: Some("{s\\[r\\]c,s\\[r\\]c/**/*.py}".to_owned()),
            }]
        );
    }

    #[test]
    fn edits_reach_the_broker_as_they_were_meant() {
        let input =
            json!({"file_path": "a", "old_string": "x", "new_string": "y", "replace_all": true});
        let (_, seen) = ask("Edit", input, "");
        assert_eq!(
            seen,
            [ToolRequest::Edit {
                path: "a".to_owned(),
                old: "x".to_owned(),
                new: "y".to_owned(),
                replace_all: true,
            }]
        );
        let same = json!({"file_path": "a", "old_string": "x", "new_string": "x"});
        let (outcome, seen) = ask("Edit", same, "");
        assert_eq!(
            (outcome.how, seen.len()),
            (How::Wrong, 0),
            "nothing was called"
        );
    }

    #[test]
    fn a_timeout_is_a_positive_number_within_bounds() {
        for millis in [json!(0), json!(-5), json!(-1e300)] {
            let (outcome, seen) = ask("Bash", json!({"command": "ls", "timeout": millis}), "");
            assert_eq!((outcome.how, seen.len()), (How::Wrong, 0), "{millis}");
        }
        let (_, seen) = ask("Bash", json!({"command": "ls", "timeout": 9e6}), "");
        assert!(
            matches!(seen.first(), Some(ToolRequest::Bash { timeout, .. }) if *timeout == Duration::from_secs(60)),
            "never longer than what is left: {seen:?}"
        );
    }

    #[test]
    fn a_denial_names_rule_and_alternative() {
        let mut reason = Reason::new("shell.network", "no network");
        reason.alternative = Some("read the file".to_owned());
        let outcome = Outcome::from(ToolError::Denied(reason));
        assert_eq!(
            (outcome.how, outcome.text.as_str()),
            (
                How::Denied,
                "Denied by rule shell.network: no network\nInstead: read the file"
            )
        );
    }
}
