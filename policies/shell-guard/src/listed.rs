//! Allow-list mode: parse or refuse. Of commands made to get past a guard none got
//! past this, at the price of refusing most harmless commands that are unusual;
//! meant for where texts of strangers lead, or for production.

use crate::programs;
use crate::settings::ShellGuard;
use crate::table::{self, Class};
use selfheal_policy_sdk::{SimpleCommand, ToolCall, Verdict};

/// Builtins that run what a file or a variable says.
const RUN_TEXT: [&str; 8] = [
    "eval", ".", "source", "trap", "alias", "exec", "command", "builtin",
];

/// A refusal, unless all of the call is understood and known.
pub(crate) fn judge(guard: &ShellGuard, call: &ToolCall) -> Verdict {
    let refuse = |why: &str, shown: &str| {
        Verdict::deny(
            "shell.not-listed",
            format!("here only commands that are understood and listed may run: {why}"),
        )
        .shows(shown)
        .instead("git status --short")
    };
    if !call.parsed || call.commands.is_empty() {
        return refuse(
            "this one cannot be understood as a whole",
            &call.command_or_input(),
        );
    }
    for command in &call.commands {
        if !command.certain || !command.program.certain {
            return refuse("which program starts is not certain", &command.text());
        }
        if !is_listed(guard, command) {
            return refuse("no list knows this program", &command.text());
        }
        if command.arguments.iter().any(|argument| !argument.certain) && !reads_whatever(command) {
            return refuse("its arguments are not certain", &command.text());
        }
    }
    Verdict::Allow
}

fn is_listed(guard: &ShellGuard, command: &SimpleCommand) -> bool {
    let name = command.program_name();
    if guard.lists(command, name) {
        return true;
    }
    // Another file under a known name is not known.
    let known = |name: &str| {
        !RUN_TEXT.contains(&name)
            && matches!(table::class(name), Some(Class::Reader | Class::Ordinary))
    };
    let real = command
        .resolved_name()
        .filter(|name| !table::PROXIES.contains(name));
    let plain = !command.program.text.contains('/') || programs::is_system(&command.program.text);
    plain && known(name) && real.is_none_or(known)
}

/// Whatever its arguments turn out to be, it only reads.
fn reads_whatever(command: &SimpleCommand) -> bool {
    let name = command.program_name();
    table::class(name) == Some(Class::Reader)
        && !matches!(
            name,
            "find" | "git" | "sort" | "rg" | "test" | "[" | "yq" | "date" | "tree"
        )
}
