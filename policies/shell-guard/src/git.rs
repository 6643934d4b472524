//! Git: looking is free, changing is not the agent's business. The host makes all
//! commits, so that every one of them has its record.

use crate::settings::ShellGuard;
use selfheal_policy_sdk::{SimpleCommand, Verdict};

/// Subcommands that only look.
const LOOKS: [&str; 25] = [
    "status",
    "diff",
    "log",
    "show",
    "blame",
    "annotate",
    "grep",
    "ls-files",
    "ls-tree",
    "rev-parse",
    "rev-list",
    "cat-file",
    "describe",
    "shortlog",
    "name-rev",
    "merge-base",
    "check-ignore",
    "whatchanged",
    "version",
    "help",
    "for-each-ref",
    "show-ref",
    "diff-tree",
    "diff-index",
    "diff-files",
];

/// Subcommands that talk to other machines.
const TALKS: [&str; 8] = [
    "push",
    "fetch",
    "pull",
    "clone",
    "ls-remote",
    "request-pull",
    "send-email",
    "lfs",
];

pub(crate) fn judge(guard: &ShellGuard, name: &str, command: &SimpleCommand) -> Option<Verdict> {
    if name != "git" {
        return name
            .starts_with("git-")
            .then(|| denied("git.changes", "changes the repository", command));
    }
    let mut arguments = command.argument_texts().peekable();
    let subcommand = loop {
        match arguments.next() {
            None => return None,
            Some("-C") => {
                arguments.next();
            }
            Some("-c") if arguments.peek().is_some_and(|set| only_looks(set)) => {
                arguments.next();
            }
            Some(
                "--no-pager"
                | "-P"
                | "--version"
                | "--help"
                | "--no-optional-locks"
                | "--literal-pathspecs",
            ) => {}
            // `-c`, `--git-dir`, `--exec-path` and the like make git run or read other things.
            Some(option) if option.starts_with('-') => {
                return Some(denied(
                    "git.options",
                    "makes git work with other settings or directories",
                    command,
                ));
            }
            Some(subcommand) => break subcommand,
        }
    };
    let rest: Vec<&str> = arguments.collect();
    let among = |names: &[String]| names.iter().any(|name| name == subcommand);
    if among(&guard.denied_git) {
        return Some(denied(
            "git.denied",
            "this installation denies the subcommand",
            command,
        ));
    }
    if among(&guard.allowed_git) && !rest.iter().any(|argument| starts_program(argument)) {
        return Some(Verdict::Allow);
    }
    if TALKS.contains(&subcommand) {
        return Some(denied(
            "git.network",
            "talks to other repositories",
            command,
        ));
    }
    let looks = match subcommand {
        _ if LOOKS.contains(&subcommand) => !rest.iter().any(|argument| starts_program(argument)),
        "branch" => rest.iter().all(|argument| {
            matches!(
                *argument,
                "-a" | "-r" | "-v" | "-vv" | "--list" | "--show-current" | "--all"
            )
        }),
        "tag" => rest
            .iter()
            .all(|argument| matches!(*argument, "-l" | "--list" | "-n")),
        "remote" => rest.iter().all(|argument| {
            matches!(
                *argument,
                "-v" | "--verbose" | "get-url" | "origin" | "show"
            )
        }),
        "stash" => {
            matches!(rest.first(), Some(&("list" | "show")))
                && !rest.iter().any(|argument| starts_program(argument))
        }
        "bisect" => matches!(rest.as_slice(), ["log" | "view"]),
        "submodule" => matches!(rest.as_slice(), ["status"]),
        "apply" => {
            rest.iter().any(|argument| {
                matches!(*argument, "--check" | "--stat" | "--numstat" | "--summary")
            }) && !rest.contains(&"--apply")
                && !rest.contains(&"--unsafe-paths")
        }
        "reflog" => rest.first().is_none_or(|argument| *argument == "show"),
        "worktree" => rest == ["list"],
        "config" => matches!(
            rest.first(),
            Some(&("--get" | "--get-all" | "--list" | "-l" | "get" | "list"))
        ),
        _ => false,
    };
    if looks {
        return Some(Verdict::Allow);
    }
    let (rule, message) = match subcommand {
        "reset" | "checkout" | "restore" | "switch" | "clean" | "stash" | "rm"
        | "checkout-index" | "read-tree" => {
            ("git.discards", "throws away work that is not committed")
        }
        "config" | "hook" => ("git.hooks", "changes what git runs"),
        _ => (
            "git.changes",
            "changes the repository; the host makes all commits",
        ),
    };
    Some(denied(rule, message, command))
}

/// Settings that only change how the output looks.
fn only_looks(setting: &str) -> bool {
    let name = setting
        .split('=')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    name.starts_with("color.")
        || name.starts_with("advice.")
        || name.starts_with("column.")
        || matches!(
            name.as_str(),
            "core.quotepath" | "core.abbrev" | "diff.renames" | "diff.context" | "log.date"
        )
}

/// Options of looking subcommands that start programs or write files. Git takes long
/// options abbreviated, as in `--open=`.
fn starts_program(argument: &str) -> bool {
    let name = argument.split('=').next().unwrap_or_default();
    let long = name.len() > 3
        && name != "--text"
        && [
            "--ext-diff",
            "--textconv",
            "--output",
            "--open-files-in-pager",
            "--paginate",
            "--exec",
            "--upload-pack",
            "--filters",
        ]
        .iter()
        .any(|option| option.starts_with(name));
    // `--output-indicator-new` and the like only change how it looks.
    let written = argument.starts_with("--output") && !argument.starts_with("--output-indicator");
    long || written || argument.starts_with("-O")
}

fn denied(rule: &str, message: &str, command: &SimpleCommand) -> Verdict {
    let instead = if rule == "git.network" {
        "git log --oneline -20"
    } else {
        "git diff"
    };
    Verdict::deny(rule, message)
        .shows(&command.text())
        .instead(instead)
}
