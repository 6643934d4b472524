//! Guardrail on shell commands: judges what a command would start, as parsed by
//! the host, and the raw text where parsing could not reach.
//!
//! Facts sort, the operating system contains: what no rule knows is allowed (see
//! the setting `unknown_programs`), because the sandbox below holds anyway; what
//! cannot be known for certain is asked. Where that is not enough, allow-list mode
//! turns it round.
//!
//! Removing whole trees is denied although a command can only reach a throw-away
//! layer (diagnosis) or the run's own layer (drafting): no repair needs it, a
//! patch is made of single files, and whoever asks for it has lost the thread or
//! was led there. Single files may be removed by name; a tracked one shows in the
//! patch, where it raises the risk.

mod examples;
mod git;
mod harmless;
mod inline;
mod listed;
mod oneliner;
mod packages;
mod programs;
mod raw;
mod settings;
mod table;

use selfheal_policy_sdk::text::glob;
use selfheal_policy_sdk::{
    AccessMode, Context, Description, Guardrail, Kind, Patch, Policy, Settings, SimpleCommand,
    ToolCall, Trust, Verdict,
};
pub use settings::ShellGuard;
use table::Class;

impl Policy for ShellGuard {
    fn describe() -> Description {
        Description {
            name: "shell-guard".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kind: Kind::Guardrail,
            settings_schema: settings::SCHEMA.into(),
            examples: examples::all(),
        }
    }

    fn configure(settings: &Settings) -> Result<Self, String> {
        Self::of(settings)
    }
}

impl Guardrail for ShellGuard {
    fn judge_tool_call(&self, context: &Context, call: &ToolCall) -> Verdict {
        if call.tool != "Bash" {
            return Verdict::Allow;
        }
        if !self.allowed_commands.is_empty() {
            let text = call.command_or_input();
            if self.allowed_commands.iter().any(|allowed| *allowed == text) {
                return Verdict::Allow;
            }
        }
        let verdict = self.judge_size(call);
        if verdict.strictness() == 2 {
            return verdict;
        }
        let mut verdict = verdict.stricter(if raw::concerns(&call.input) {
            raw::judge(&call.command_or_input(), call)
        } else {
            Verdict::Allow
        });
        for command in &call.commands {
            verdict = verdict.stricter(self.judge_command(context, command));
        }
        verdict = verdict.stricter(judge_emptying(call));
        if let Some(host) = call.network.iter().find(|host| !self.may_reach(call, host)) {
            let denied = Verdict::deny("shell.network", "agents have no network")
                .shows(host)
                .instead("git log --oneline -20");
            verdict = verdict.stricter(denied);
        }
        if !call.parsed {
            let unclear = "this command cannot be understood as a whole; split it into plain commands without \
                           substitutions and computed names";
            let asked = Verdict::ask("shell.not-understood", unclear);
            verdict = verdict.stricter(asked.shows(&call.command_or_input()));
        }
        if self.lists_only(context) {
            verdict = verdict.stricter(listed::judge(self, call));
        }
        verdict
    }

    fn judge_patch(&self, _context: &Context, _patch: &Patch) -> Verdict {
        Verdict::Allow
    }
}

impl ShellGuard {
    /// Limits on length, programs and time.
    fn judge_size(&self, call: &ToolCall) -> Verdict {
        let longest = usize::try_from(self.max_bytes).unwrap_or(usize::MAX);
        if call.input.len() > longest && call.command_or_input().len() > longest {
            let message =
                format!("a command has at most {longest} bytes; write a script file instead");
            return Verdict::deny("shell.too-long", message).instead("sh path/to/script.sh");
        }
        if call.commands.len() as u64 > self.max_programs {
            let message = format!(
                "one command starts at most {} programs; write a script file instead",
                self.max_programs
            );
            return Verdict::deny("shell.too-many", message).instead("sh path/to/script.sh");
        }
        if call
            .timeout_seconds()
            .is_some_and(|seconds| seconds > self.max_seconds)
        {
            let message = format!("a call may take {} seconds at most", self.max_seconds);
            return Verdict::deny("shell.timeout", message);
        }
        Verdict::Allow
    }

    fn judge_command(&self, context: &Context, command: &SimpleCommand) -> Verdict {
        if !command.certain || !command.program.certain {
            let unclear = "which program this starts is only known at run time; write its name";
            return Verdict::ask("shell.uncertain-program", unclear).shows(&command.text());
        }
        // A link or a copy under another name is judged as what it is, too.
        // Proxies are what they are called as, not what they are.
        let written = command.program_name();
        let real = command
            .resolved_name()
            .filter(|name| *name != written && !table::PROXIES.contains(name));
        let mut verdict = Verdict::Allow;
        for name in [Some(written), real].into_iter().flatten() {
            verdict = verdict.stricter(if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                self.judge_as(context, &name.to_ascii_lowercase(), command)
            } else {
                self.judge_as(context, name, command)
            });
        }
        verdict
    }

    fn judge_as(&self, context: &Context, name: &str, command: &SimpleCommand) -> Verdict {
        if self.denied_programs.iter().any(|denied| denied == name) {
            return Verdict::deny(
                "shell.denied-program",
                "this installation denies the program",
            )
            .shows(&command.text());
        }
        if self.lists(command, name) {
            return Verdict::Allow;
        }
        // A script of the application may be called like a program of the machine.
        let class = if programs::is_own(command) {
            None
        } else {
            table::class(name)
        };
        let found = programs::judge(self, class, name, command)
            .or_else(|| git::judge(self, name, command))
            .or_else(|| packages::judge(self, class, name, command))
            .or_else(|| self.judge_inline(context, name, command));
        match (found, class) {
            (Some(verdict), _) => verdict,
            (None, Some(Class::Reader | Class::Ordinary)) => Verdict::Allow,
            (None, _) => match self.unknown_programs {
                "deny" => Verdict::deny("shell.unknown-program", "no rule knows this program")
                    .shows(&command.text()),
                "ask" => Verdict::ask("shell.unknown-program", "no rule knows this program")
                    .shows(&command.text()),
                _ => Verdict::Allow,
            },
        }
    }

    fn judge_inline(
        &self,
        context: &Context,
        name: &str,
        command: &SimpleCommand,
    ) -> Option<Verdict> {
        let found = inline::find(name, command)?;
        let judged = self.inline_code != "deny";
        if judged && oneliner::is_harmless(name, command) {
            return Some(Verdict::Allow);
        }
        let python = inline::python(name, command).filter(|code| harmless::is_python(code));
        let rest = python.map(harmless::without_plain_parts);
        let code = rest.as_deref().or(found.code.as_deref());
        if let Some(danger) = code.and_then(inline::danger) {
            let message = "code on the command line that runs programs, removes files or talks to the network";
            return Some(
                Verdict::deny("shell.inline-dangerous", message)
                    .shows(danger)
                    .instead(found.instead),
            );
        }
        if judged && python.is_some() {
            return Some(Verdict::Allow);
        }
        let message = "code on a command line cannot be judged; put it into a file of the workspace and run that";
        Some(match self.inline_code {
            // Whoever wrote the command is an admin, and the code shows no danger.
            _ if found.whole && context.trust == Trust::Admin => Verdict::Allow,
            "allow" if found.whole => Verdict::Allow,
            "deny" => Verdict::deny("shell.inline-code", message)
                .shows(&command.text())
                .instead(found.instead),
            _ => Verdict::ask("shell.inline-code", message)
                .shows(&command.text())
                .instead(found.instead),
        })
    }

    /// Does the installation list the program, by name or as it is written?
    pub(crate) fn lists(&self, command: &SimpleCommand, name: &str) -> bool {
        self.allowed_programs
            .iter()
            .any(|allowed| allowed == name || *allowed == command.program.text)
    }

    /// May commands talk to this host, written as `host` or `host:port`?
    pub(crate) fn may_talk_to(&self, host: &str) -> bool {
        if programs::is_loopback(host) {
            return self.loopback;
        }
        among(&self.allowed_hosts, host)
    }

    /// The same, with the registries where the call is about packages.
    fn may_reach(&self, call: &ToolCall, host: &str) -> bool {
        if self.may_talk_to(host) {
            return true;
        }
        self.packages != "deny"
            && among(&self.registries, host)
            && call.commands.iter().all(packages::manages)
    }
}

/// A redirection or a copy that leaves nothing of a file that git tracks.
fn judge_emptying(call: &ToolCall) -> Verdict {
    let nothing = call.commands.iter().any(programs::copies_nothing)
        || call.commands.iter().all(programs::says_nothing);
    let emptied = call
        .paths
        .iter()
        .find(|access| access.mode == AccessMode::Write && access.tracked);
    match emptied {
        Some(access) if nothing => Verdict::deny("shell.truncate", "empties a tracked file")
            .shows(access.relative.as_deref().unwrap_or(&access.path)),
        _ => Verdict::Allow,
    }
}

fn among(globs: &[String], host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    !name.contains('/')
        && globs
            .iter()
            .any(|pattern| glob(pattern, name) || glob(pattern, host))
}

selfheal_policy_sdk::export_guardrail!(ShellGuard);

#[cfg(test)]
mod tests;
