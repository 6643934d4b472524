//! Package managers: running what is installed is fine, changing it is not. New
//! dependencies are a person's decision, and their install scripts are code.

use crate::settings::ShellGuard;
use crate::table::Class;
use selfheal_policy_sdk::{SimpleCommand, Verdict};

/// What the rules about package managers say; none where this is none of them.
pub(crate) fn judge(
    guard: &ShellGuard,
    class: Option<Class>,
    name: &str,
    command: &SimpleCommand,
) -> Option<Verdict> {
    if class == Some(Class::Machine) {
        // The machine is no setting's business.
        return Some(machine(command));
    }
    application(name, command).map(|verdict| match guard.packages {
        "allow" => Verdict::Allow,
        "ask" => asked(verdict),
        _ => verdict,
    })
}

/// Is this a package manager at work?
pub(crate) fn manages(command: &SimpleCommand) -> bool {
    application(&command.program_name().to_ascii_lowercase(), command).is_some()
}

/// The same as a question.
fn asked(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Deny(reason) => Verdict::Ask(reason),
        other => other,
    }
}

fn machine(command: &SimpleCommand) -> Verdict {
    Verdict::deny(
        "shell.machine-packages",
        "changes what is installed on the machine",
    )
    .shows(&command.text())
    .instead("python3 -m pytest -q")
}

fn application(name: &str, command: &SimpleCommand) -> Option<Verdict> {
    let mut words: Vec<&str> = command
        .argument_texts()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let versioned = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let (manager, instead) = match versioned {
        "pip" => ("pip", "pip list"),
        "python" if module(command) == Some("pip") => {
            words.retain(|word| *word != "pip");
            ("pip", "pip list")
        }
        "python" if matches!(module(command), Some("ensurepip" | "easy_install")) => {
            return Some(denied(command, "pip list"));
        }
        "npm" | "pnpm" | "yarn" | "bun" | "cnpm" => ("npm", "npm test"),
        "npx" | "bunx" | "pnpx" => return npx(command),
        "corepack" => return Some(denied(command, "npm test")),
        "cargo" => ("cargo", "cargo test"),
        "go" => ("go", "go test ./..."),
        "gem" => ("gem", "gem list"),
        "bundle" | "bundler" => ("bundle", "bundle list"),
        "composer" => ("composer", "composer show"),
        "uv" | "poetry" | "pdm" | "pipenv" | "hatch" | "rye" => {
            ("python-project", "python3 -m pytest -q")
        }
        _ => return None,
    };
    let changes = match (manager, words.first().copied()) {
        // Bare `yarn` and bare `bundle` install.
        ("npm", None) => name == "yarn" && command.arguments.is_empty(),
        ("bundle", None) => command.arguments.is_empty(),
        (_, None) => false,
        ("pip", Some(verb)) => !matches!(
            verb,
            "list" | "show" | "freeze" | "check" | "help" | "inspect" | "debug" | "config"
        ),
        ("npm", Some(verb)) => matches!(
            verb,
            "install"
                | "i"
                | "in"
                | "ins"
                | "inst"
                | "isntall"
                | "add"
                | "ci"
                | "clean-install"
                | "ic"
                | "install-test"
                | "it"
                | "cit"
                | "install-ci-test"
                | "uninstall"
                | "un"
                | "unlink"
                | "remove"
                | "rm"
                | "r"
                | "update"
                | "up"
                | "upgrade"
                | "upgrade-interactive"
                | "link"
                | "ln"
                | "publish"
                | "unpublish"
                | "deprecate"
                | "rebuild"
                | "rb"
                | "prune"
                | "dedupe"
                | "ddp"
                | "init"
                | "create"
                | "innit"
                | "login"
                | "adduser"
                | "logout"
                | "token"
                | "access"
                | "owner"
                | "set"
                | "audit"
                | "pack"
                | "dlx"
                | "x"
                | "fund"
                | "import"
                | "store"
                | "patch"
                | "self-update"
                | "version"
                | "shrinkwrap"
                | "star"
                | "team"
                | "hook"
                | "profile"
        ),
        ("cargo", Some(verb)) => matches!(
            verb,
            "install"
                | "uninstall"
                | "add"
                | "remove"
                | "rm"
                | "update"
                | "publish"
                | "yank"
                | "login"
                | "logout"
                | "owner"
                | "fetch"
                | "vendor"
                | "new"
                | "init"
                | "package"
                | "generate-lockfile"
        ),
        ("go", Some("mod")) => !matches!(words.get(1), Some(&("graph" | "why" | "verify"))),
        ("go", Some(verb)) => matches!(
            verb,
            "get" | "install" | "generate" | "telemetry" | "work" | "clean"
        ),
        ("gem", Some(verb)) => !matches!(
            verb,
            "list" | "info" | "search" | "which" | "environment" | "contents" | "help"
        ),
        ("bundle", Some(verb)) => !matches!(
            verb,
            "exec" | "list" | "show" | "info" | "check" | "outdated" | "doctor"
        ),
        ("composer", Some(verb)) => matches!(
            verb,
            "install"
                | "i"
                | "update"
                | "u"
                | "upgrade"
                | "require"
                | "remove"
                | "create-project"
                | "global"
                | "self-update"
                | "reinstall"
                | "archive"
                | "bump"
        ),
        (_, Some(verb)) => matches!(
            verb,
            "add"
                | "remove"
                | "install"
                | "uninstall"
                | "sync"
                | "lock"
                | "update"
                | "upgrade"
                | "pip"
                | "tool"
                | "publish"
                | "self"
                | "python"
                | "init"
                | "new"
                | "clean"
                | "cache"
                | "source"
                | "config"
                | "env"
        ),
    };
    changes.then(|| denied(command, instead))
}

/// What `-m` names.
fn module(command: &SimpleCommand) -> Option<&str> {
    let mut arguments = command.argument_texts();
    while let Some(argument) = arguments.next() {
        match argument {
            "-X" | "-W" => {
                arguments.next();
            }
            "-m" => return arguments.next(),
            _ if argument.starts_with("-m") => return argument.get(2..),
            _ if argument.starts_with('-')
                && !argument.starts_with("--")
                && argument.ends_with('m') =>
            {
                return arguments.next();
            }
            _ if argument.starts_with('-') => {}
            _ => return None,
        }
    }
    None
}

/// What is installed runs; what would be fetched does not.
fn npx(command: &SimpleCommand) -> Option<Verdict> {
    let fetches = |argument: &str| {
        matches!(
            argument,
            "-y" | "--yes" | "-p" | "--package" | "-c" | "--call"
        ) || argument.starts_with("--package=")
            || argument.starts_with("--call=")
            || argument.contains("://")
    };
    let tool = command.subcommand();
    let pinned = tool.is_some_and(|tool| tool.get(1..).is_some_and(|rest| rest.contains('@')));
    (pinned
        || command
            .argument_texts()
            .take_while(|argument| Some(*argument) != tool)
            .any(fetches))
    .then(|| denied(command, "npm test"))
}

fn denied(command: &SimpleCommand, instead: &str) -> Verdict {
    Verdict::deny(
        "shell.packages",
        "changes what is installed; dependencies are a person's decision",
    )
    .shows(&command.text())
    .instead(instead)
}
