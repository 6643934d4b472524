//! Small words that make a policy short: constructors and accessors on the
//! generated types.

use crate::{
    Context, Evidence, Example, Expectation, Factor, PatchFile, Question, Reason, SimpleCommand,
    Span, ToolCall, Verdict,
};
use std::borrow::Cow;

impl Verdict {
    /// A denial by `rule`.
    pub fn deny(rule: &str, message: impl Into<String>) -> Self {
        Self::Deny(Reason {
            rule: rule.into(),
            message: message.into(),
            evidence: None,
            alternative: None,
        })
    }

    /// A question to an admin by `rule`.
    pub fn ask(rule: &str, message: impl Into<String>) -> Self {
        Self::Ask(Reason {
            rule: rule.into(),
            message: message.into(),
            evidence: None,
            alternative: None,
        })
    }

    /// Adds the part of the input that decided, cut to 200 characters.
    #[must_use]
    pub fn shows(mut self, evidence: &str) -> Self {
        if let Self::Ask(reason) | Self::Deny(reason) = &mut self {
            reason.evidence = Some(Evidence {
                text: evidence.chars().take(200).collect(),
                span: None,
            });
        }
        self
    }

    /// Adds the part of `judged` (a call's input, a patch's diff) that decided, by
    /// its bytes. Without a span ([`Verdict::shows`]) the host looks for the text.
    /// A range that is no text of `judged` adds nothing.
    #[must_use]
    pub fn points_at(mut self, judged: &str, range: std::ops::Range<usize>) -> Self {
        let span = u32::try_from(range.start)
            .ok()
            .zip(u32::try_from(range.end).ok())
            .map(|(start, end)| Span { start, end });
        if let (Self::Ask(reason) | Self::Deny(reason), Some(text)) = (&mut self, judged.get(range))
        {
            reason.evidence = Some(Evidence {
                text: text.chars().take(200).collect(),
                span,
            });
        }
        self
    }

    /// Adds what to do instead. It must itself be allowed.
    #[must_use]
    pub fn instead(mut self, alternative: &str) -> Self {
        if let Self::Ask(reason) | Self::Deny(reason) = &mut self {
            reason.alternative = Some(alternative.into());
        }
        self
    }

    /// 0, 1, 2 for allow, ask, deny.
    pub fn strictness(&self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Ask(_) => 1,
            Self::Deny(_) => 2,
        }
    }

    /// The stricter of both; the first where they are equally strict.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        if other.strictness() > self.strictness() {
            other
        } else {
            self
        }
    }

    /// The reason, unless allowed.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Allow => None,
            Self::Ask(reason) | Self::Deny(reason) => Some(reason),
        }
    }
}

impl SimpleCommand {
    /// Last component of the program's path, as in `rm` for `/bin/rm`.
    pub fn program_name(&self) -> &str {
        self.program.text.rsplit('/').next().unwrap_or_default()
    }

    /// Last component of the file that would run, links followed, when known.
    pub fn resolved_name(&self) -> Option<&str> {
        self.resolved
            .as_deref()
            .and_then(|path| path.rsplit('/').next())
    }

    /// The command in one line, for evidence.
    pub fn text(&self) -> String {
        let mut line = self.program.text.clone();
        for argument in &self.arguments {
            line.push(' ');
            line.push_str(&argument.text);
        }
        line
    }

    /// The texts of the arguments.
    pub fn argument_texts(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().map(|argument| argument.text.as_str())
    }

    /// The first argument that is no option: the subcommand of tools like `git`.
    pub fn subcommand(&self) -> Option<&str> {
        self.argument_texts()
            .find(|argument| !argument.starts_with('-'))
    }
}

impl ToolCall {
    /// The shell command as written, for `Bash`; else the whole input.
    pub fn command_text(&self) -> String {
        self.command_or_input().into_owned()
    }

    /// [`ToolCall::command_text`] without a copy where none is needed.
    pub fn command_or_input(&self) -> Cow<'_, str> {
        if let Some(command) = crate::input::text(&self.input, "command") {
            return command;
        }
        // As other agents put it: `{"tool": …, "input": {"command": …}}`.
        let input: Option<serde_json::Value> = serde_json::from_str(&self.input).ok();
        input
            .as_ref()
            .and_then(|value| value.get("input")?.get("command")?.as_str())
            .map_or(Cow::Borrowed(&self.input), |command| {
                Cow::Owned(command.to_owned())
            })
    }

    /// How long the call may take, in seconds, where its input says so.
    pub fn timeout_seconds(&self) -> Option<u64> {
        crate::input::seconds(&self.input, "timeout")
    }
}

impl PatchFile {
    /// Lines that the patch adds and that it does not also remove elsewhere in
    /// the file (indentation aside): what is really new.
    pub fn new_lines(&self) -> impl Iterator<Item = &str> {
        let removed: std::collections::BTreeSet<&str> =
            self.removed.iter().map(|line| line.trim()).collect();
        self.added
            .iter()
            .map(|line| line.trim())
            .filter(move |line| !removed.contains(line))
    }
}

impl Factor {
    /// A factor of a score.
    pub fn new(name: &str, points: u32, evidence: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            points,
            evidence: evidence.into(),
        }
    }
}

/// An example with the module's default settings.
pub fn example(name: &str, context: Context, question: Question, expect: Expectation) -> Example {
    Example {
        name: name.into(),
        settings: None,
        context,
        question,
        expect,
    }
}

/// An example with settings of its own, as JSON.
pub fn example_with(
    settings: &str,
    name: &str,
    context: Context,
    question: Question,
    expect: Expectation,
) -> Example {
    Example {
        name: name.into(),
        settings: Some(settings.into()),
        context,
        question,
        expect,
    }
}
