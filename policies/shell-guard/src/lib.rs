//! Guardrail on shell commands: judges what a command would start, as parsed by
//! the host, and the raw text where parsing could not reach.
//!
//! Facts sort, the operating system contains: what no rule knows is allowed (see
//! the setting `unknown_programs`), because the sandbox below holds anyway; what
//! cannot be known for certain is asked.

mod examples;
mod git;
mod inline;
mod packages;
mod programs;
mod raw;

use selfheal_policy_sdk::{
    Context, Description, Guardrail, Kind, Patch, Policy, Settings, SimpleCommand, ToolCall, Trust,
    Verdict,
};

/// Longest command that is judged at all, in bytes.
const LONGEST: usize = 64 * 1024;

/// Schema of the settings.
const SCHEMA: &str = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "allowed_commands": {"type": "array", "items": {"type": "string"}, "description": "Whole commands that are allowed exactly as written"},
    "allowed_programs": {"type": "array", "items": {"type": "string"}, "description": "Programs that no rule about programs applies to"},
    "denied_programs": {"type": "array", "items": {"type": "string"}, "description": "Programs that are denied as well"},
    "inline_code": {"enum": ["ask", "deny", "allow"], "description": "Code on an interpreter's command line; dangerous code is denied in any case, harmless code from an admin allowed"},
    "unknown_programs": {"enum": ["allow", "ask", "deny"], "description": "Programs that no rule knows"}
  }
}"#;

/// The policy with its settings.
pub struct ShellGuard {
    allowed_commands: Vec<String>,
    allowed_programs: Vec<String>,
    denied_programs: Vec<String>,
    inline_code: &'static str,
    unknown_programs: &'static str,
}

impl Policy for ShellGuard {
    fn describe() -> Description {
        Description {
            name: "shell-guard".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kind: Kind::Guardrail,
            settings_schema: SCHEMA.into(),
            examples: examples::all(),
        }
    }

    fn configure(settings: &Settings) -> Result<Self, String> {
        settings.only(&[
            "allowed_commands",
            "allowed_programs",
            "denied_programs",
            "inline_code",
            "unknown_programs",
        ])?;
        Ok(Self {
            allowed_commands: settings.texts("allowed_commands", &[])?,
            allowed_programs: settings.texts("allowed_programs", &[])?,
            denied_programs: settings.texts("denied_programs", &[])?,
            inline_code: settings.choice("inline_code", &["ask", "deny", "allow"])?,
            unknown_programs: settings.choice("unknown_programs", &["allow", "ask", "deny"])?,
        })
    }
}

impl Guardrail for ShellGuard {
    fn judge_tool_call(&self, context: &Context, call: &ToolCall) -> Verdict {
        if call.tool != "Bash" {
            return Verdict::Allow;
        }
        let text = call.command_text();
        if self.allowed_commands.contains(&text) {
            return Verdict::Allow;
        }
        if text.len() > LONGEST {
            return Verdict::deny(
                "shell.too-long",
                "a command has at most 64 KiB; write a script file instead",
            );
        }
        let mut verdict = raw::judge(&text, call);
        for command in &call.commands {
            verdict = verdict.stricter(self.judge_command(context, command));
        }
        if let Some(host) = call
            .network
            .iter()
            .find(|host| !programs::is_loopback(host))
        {
            let denied = Verdict::deny("shell.network", "agents have no network").shows(host);
            verdict = verdict.stricter(denied);
        }
        if !call.parsed {
            let unclear = "this command cannot be understood as a whole; split it into plain commands without \
                           substitutions and computed names";
            verdict = verdict.stricter(Verdict::ask("shell.not-understood", unclear).shows(&text));
        }
        verdict
    }

    fn judge_patch(&self, _context: &Context, _patch: &Patch) -> Verdict {
        Verdict::Allow
    }
}

impl ShellGuard {
    fn judge_command(&self, context: &Context, command: &SimpleCommand) -> Verdict {
        if !command.certain || !command.program.certain {
            let unclear = "which program this starts is only known at run time; write its name";
            return Verdict::ask("shell.uncertain-program", unclear).shows(&command.text());
        }
        // A link or a copy under another name is judged as what it is, too.
        // Proxies are what they are called as, not what they are.
        let real = command
            .resolved_name()
            .filter(|name| !programs::PROXIES.contains(name));
        let names = [Some(command.program_name()), real];
        let mut verdict = Verdict::Allow;
        for name in names.into_iter().flatten() {
            verdict = verdict.stricter(self.judge_as(context, &name.to_ascii_lowercase(), command));
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
        if self.allowed_programs.iter().any(|allowed| allowed == name) {
            return Verdict::Allow;
        }
        let found = programs::judge(name, command)
            .or_else(|| git::judge(name, command))
            .or_else(|| packages::judge(name, command))
            .or_else(|| self.judge_inline(context, name, command));
        match found {
            Some(verdict) => verdict,
            None if programs::is_known(name) => Verdict::Allow,
            None => match self.unknown_programs {
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
        if let Some(danger) = found.code.as_deref().and_then(inline::danger) {
            let message = "code on the command line that runs programs, removes files or talks to the network";
            return Some(Verdict::deny("shell.inline-dangerous", message).shows(danger));
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
}

selfheal_policy_sdk::export_guardrail!(ShellGuard);

#[cfg(test)]
mod tests;
