//! Rules about programs by name and arguments.

use crate::settings::ShellGuard;
use crate::table::{self, Class};
use selfheal_policy_sdk::{SimpleCommand, Verdict};

/// Where a machine keeps its programs.
const SYSTEM: [&str; 7] = [
    "/bin/", "/sbin/", "/usr/", "/opt/", "/snap/", "/nix/", "/lib",
];

/// A file in one of the machine's directories of programs.
pub(crate) fn is_system(path: &str) -> bool {
    SYSTEM.iter().any(|directory| path.starts_with(directory))
}

/// Written as a path from here, and it leads to none of the machine's directories:
/// a script of the application.
pub(crate) fn is_own(command: &SimpleCommand) -> bool {
    let text = command.program.text.as_str();
    text.contains('/')
        && !text.starts_with('/')
        && command
            .resolved
            .as_deref()
            .is_some_and(|path| !is_system(path))
}

/// Nothing comes out of it: with a redirection it only empties a file.
pub(crate) fn says_nothing(command: &SimpleCommand) -> bool {
    let mut arguments = command.argument_texts();
    match command.program_name() {
        ":" | "true" | "false" => true,
        "cat" => command
            .arguments
            .iter()
            .all(|argument| argument.text == "/dev/null"),
        "echo" | "printf" => arguments.all(|argument| matches!(argument, "" | "-n" | "-e")),
        _ => false,
    }
}

/// Copies nothing over a file.
pub(crate) fn copies_nothing(command: &SimpleCommand) -> bool {
    matches!(
        command.program_name(),
        "cp" | "install" | "tee" | "ln" | "mv"
    ) && command
        .argument_texts()
        .any(|argument| argument == "/dev/null")
}

/// Does this command only read, whatever stands in its arguments?
pub(crate) fn only_reads(name: &str, command: &SimpleCommand) -> bool {
    match name {
        "find" => !command.argument_texts().any(acts),
        "git" => matches!(
            command.subcommand(),
            Some("log" | "grep" | "show" | "diff" | "blame")
        ),
        "sort" => !command
            .argument_texts()
            .any(|argument| argument.starts_with("-o") || argument.starts_with("--")),
        "rg" => !command
            .argument_texts()
            .any(|argument| argument.starts_with("--pre")),
        _ => table::class(name) == Some(Class::Reader),
    }
}

/// An action of `find` that is more than printing.
fn acts(argument: &str) -> bool {
    matches!(
        argument,
        "-delete" | "-exec" | "-execdir" | "-ok" | "-okdir"
    ) || argument.starts_with("-fprint")
        || argument == "-fls"
}

/// What the rules about programs say; none where none of them is about this one.
pub(crate) fn judge(
    guard: &ShellGuard,
    class: Option<Class>,
    name: &str,
    command: &SimpleCommand,
) -> Option<Verdict> {
    let denied =
        |rule: &str, message: &str| Some(Verdict::deny(rule, message).shows(&command.text()));
    if name.starts_with("mkfs") || name.starts_with("fsck") {
        return denied("shell.disk", "works on disks and file systems");
    }
    if name.starts_with("ld-linux") || name.starts_with("ld.so") || name.starts_with("ld-musl") {
        return denied("shell.loader", "starts a program in disguise");
    }
    if name == "openssl" && command.subcommand() == Some("s_client") {
        return Some(network(guard, name, command));
    }
    match class {
        Some(Class::Disk) => return denied("shell.disk", "works on disks and file systems"),
        Some(Class::Network) => return Some(network(guard, name, command)),
        Some(Class::System) if name == "hostname" && only_tells(command) => {
            return Some(Verdict::Allow);
        }
        Some(Class::System) => {
            return denied(
                "shell.system",
                "works on the machine, not on the application",
            );
        }
        Some(Class::Infrastructure) => {
            return denied("shell.infrastructure", "works on containers or clouds");
        }
        Some(Class::Database) => {
            return denied("shell.database", "works on a database directly")
                .map(|verdict| verdict.instead("grep -rn migrations ."));
        }
        Some(Class::Interactive) => {
            return denied(
                "shell.interactive",
                "needs a person, or controls other programs",
            );
        }
        Some(Class::Machine) => return None,
        Some(Class::Reader | Class::Ordinary) | None => {}
    }
    match name {
        "rm" | "unlink" | "rmdir" | "trash" => remove(command),
        "truncate" => Some(Verdict::deny("shell.truncate", "empties files").shows(&command.text())),
        "find" => find(command),
        "chmod" => chmod(command),
        "chown" | "chgrp" => {
            Some(Verdict::deny("shell.ownership", "changes who owns files").shows(&command.text()))
        }
        "eval" => Some(
            Verdict::ask(
                "shell.eval",
                "runs a text as a command; write the command itself",
            )
            .shows(&command.text()),
        ),
        "printenv"
            if !command.arguments.is_empty()
                && command
                    .argument_texts()
                    .all(|name| PLAIN_VARIABLES.contains(&name)) =>
        {
            None
        }
        "printenv" => Some(environment(command)),
        "ln" | "link" => link(command),
        "sqlite3" if command.argument_texts().any(reaches_out) => Some(
            Verdict::deny(
                "shell.database",
                "reaches files or programs from inside a database",
            )
            .shows(&command.text())
            .instead("sqlite3 app.db .schema"),
        ),
        "cp" if has_short(command, &['l'])
            || command
                .argument_texts()
                .any(|argument| argument.len() > 3 && "--link".starts_with(argument)) =>
        {
            Some(second_name(command))
        }
        "export" if command.argument_texts().any(|argument| argument == "-p") => {
            Some(environment(command))
        }
        "sleep" => sleep(guard, command),
        "env" | "set" | "export" | "declare" | "typeset" if command.arguments.is_empty() => {
            Some(environment(command))
        }
        "declare" | "typeset"
            if command
                .argument_texts()
                .all(|argument| argument.starts_with('-')) =>
        {
            Some(environment(command))
        }
        // `e` without a dash shows what every process was started with.
        "ps" if command
            .argument_texts()
            .any(|argument| !argument.starts_with('-') && argument.contains(['e', 'E'])) =>
        {
            Some(environment(command))
        }
        _ => None,
    }
}

/// `hostname` with options that show a name; any other word would set it.
fn only_tells(command: &SimpleCommand) -> bool {
    command.arguments.iter().all(|argument| {
        argument.certain
            && matches!(
                argument.text.as_str(),
                "-s" | "-f" | "-d" | "-i" | "-I" | "--short" | "--fqdn" | "--domain"
            )
    })
}

fn environment(command: &SimpleCommand) -> Verdict {
    let message = "shows the environment, where secrets live";
    Verdict::ask("shell.environment", message).shows(&command.text())
}

/// A sleep beyond the time limit only keeps a place busy.
fn sleep(guard: &ShellGuard, command: &SimpleCommand) -> Option<Verdict> {
    let seconds = |argument: &str| {
        let (number, unit) = match argument.char_indices().next_back()? {
            (at, 's') => (argument.get(..at)?, 1.0),
            (at, 'm') => (argument.get(..at)?, 60.0),
            (at, 'h') => (argument.get(..at)?, 3_600.0),
            (at, 'd') => (argument.get(..at)?, 86_400.0),
            _ => (argument, 1.0),
        };
        number.parse::<f64>().ok().map(|number| number * unit)
    };
    let total: f64 = command.argument_texts().filter_map(seconds).sum();
    (total.is_nan() || total > guard.max_seconds as f64).then(|| {
        let message = format!("a command may sleep {} seconds at most", guard.max_seconds);
        Verdict::deny("shell.timeout", message)
            .shows(&command.text())
            .instead("sleep 1")
    })
}

/// Letters of short options, as in `-rf`, up to `--`.
fn has_short(command: &SimpleCommand, letters: &[char]) -> bool {
    let options = command
        .argument_texts()
        .take_while(|argument| *argument != "--");
    options
        .filter(|argument| argument.starts_with('-') && !argument.starts_with("--"))
        .any(|argument| argument.contains(letters))
}

fn remove(command: &SimpleCommand) -> Option<Verdict> {
    // Long options may be abbreviated, as in `--recurs`.
    let long = command
        .argument_texts()
        .any(|argument| argument.len() > 3 && "--recursive".starts_with(argument));
    if long || has_short(command, &['r', 'R']) {
        let denied = Verdict::deny("shell.rm-recursive", "removes whole trees");
        return Some(denied.shows(&command.text()).instead("rm -- path/to/file"));
    }
    if command.arguments.iter().any(|argument| !argument.certain) {
        let message = "which files this removes is only known at run time; name them";
        return Some(
            Verdict::ask("shell.rm-uncertain", message)
                .shows(&command.text())
                .instead("rm -- path/to/file"),
        );
    }
    None
}

fn find(command: &SimpleCommand) -> Option<Verdict> {
    let uncertain = command.arguments.iter().any(|argument| {
        !argument.certain && argument.text != "{}" && !argument.text.contains(['*', '?', '['])
    });
    if command.argument_texts().any(acts) && !only_runs_readers(command) {
        let denied = Verdict::deny(
            "shell.find-acts",
            "find may only print here; act on what it printed",
        );
        return Some(
            denied
                .shows(&command.text())
                .instead("find . -name '*.py' -print"),
        );
    }
    uncertain.then(|| {
        Verdict::ask(
            "shell.find-uncertain",
            "what find does is only known at run time",
        )
        .shows(&command.text())
    })
}

/// All that it does is start programs that only read.
fn only_runs_readers(command: &SimpleCommand) -> bool {
    let mut arguments = command.argument_texts();
    while let Some(argument) = arguments.next() {
        if matches!(argument, "-exec" | "-execdir") {
            let name = arguments.next().unwrap_or_default();
            let reads = table::class(name) == Some(Class::Reader)
                && !matches!(name, "find" | "git" | "sort" | "rg" | "yq" | "tree");
            if !reads {
                return false;
            }
        } else if acts(argument) {
            return false;
        }
    }
    true
}

/// Another name for the same file: what is written through it changes the first.
fn link(command: &SimpleCommand) -> Option<Verdict> {
    let symbolic = has_short(command, &['s'])
        || command
            .argument_texts()
            .any(|argument| argument.len() > 3 && "--symbolic".starts_with(argument));
    (!symbolic).then(|| second_name(command))
}

/// What a database's own language does with files and programs.
fn reaches_out(argument: &str) -> bool {
    let text = argument.to_ascii_lowercase();
    [
        "readfile(",
        "writefile(",
        "load_extension(",
        "edit(",
        "attach ",
    ]
    .iter()
    .any(|word| text.contains(word))
        || text.lines().any(|line| {
            let line = line.trim_start();
            let word = line.split_whitespace().next().unwrap_or_default();
            // What only looks inside; commands may be abbreviated.
            word.strip_prefix('.')
                .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
                && ![
                    ".schema",
                    ".tables",
                    ".indexes",
                    ".dbinfo",
                    ".databases",
                    ".headers",
                    ".mode",
                ]
                .contains(&word)
        })
}

fn second_name(command: &SimpleCommand) -> Verdict {
    let message = "makes a second name for a file, which nobody can tell from the first; copy it";
    Verdict::deny("shell.hard-link", message)
        .shows(&command.text())
        .instead("cp path/to/file path/to/copy")
}

/// Variables that say nothing secret.
const PLAIN_VARIABLES: [&str; 20] = [
    "PATH",
    "HOME",
    "PWD",
    "SHELL",
    "USER",
    "LANG",
    "LC_ALL",
    "TERM",
    "TZ",
    "CI",
    "HOSTNAME",
    "VIRTUAL_ENV",
    "PYTHONPATH",
    "NODE_ENV",
    "NODE_PATH",
    "GOPATH",
    "JAVA_HOME",
    "CARGO_HOME",
    "TMPDIR",
    "EDITOR",
];

fn chmod(command: &SimpleCommand) -> Option<Verdict> {
    if has_short(command, &['R'])
        || command
            .argument_texts()
            .any(|argument| argument.len() > 3 && "--recursive".starts_with(argument))
    {
        return Some(
            Verdict::deny("shell.permissions", "changes permissions of whole trees")
                .shows(&command.text())
                .instead("chmod +x path/to/script"),
        );
    }
    let mode = command
        .argument_texts()
        .find(|argument| !argument.starts_with("--"))?;
    let special = mode.contains('s') && mode.contains('+')
        || mode.len() == 4 && mode.starts_with(['2', '4', '6'])
        || mode.ends_with("777")
        || mode.ends_with("666")
        || mode.chars().all(|c| c == '0');
    special.then(|| {
        Verdict::deny("shell.permissions", "opens or locks files for everybody")
            .shows(&command.text())
            .instead("chmod +x path/to/script")
    })
}

/// Names of this machine to itself.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[');
    let name = if host.starts_with("::1") {
        "::1"
    } else {
        host.split(':').next().unwrap_or_default()
    };
    name == "localhost"
        || name == "::1"
        || name.ends_with(".localhost")
        || name.split('.').next() == Some("127")
            && name.split('.').all(|part| part.parse::<u8>().is_ok())
}

/// A plain request to this machine may look whether a service lives.
fn network(guard: &ShellGuard, name: &str, command: &SimpleCommand) -> Verdict {
    let denied = || {
        Verdict::deny(
            "shell.network",
            "agents have no network; only a plain request to this machine is possible",
        )
        .shows(&command.text())
        .instead("curl -sS http://127.0.0.1:8000/healthz")
    };
    if !matches!(name, "curl" | "wget")
        || command.arguments.iter().any(|argument| !argument.certain)
    {
        return denied();
    }
    let mut urls = 0;
    let mut arguments = command.argument_texts();
    while let Some(argument) = arguments.next() {
        match argument {
            "-X" | "--request" | "-H" | "--header" | "-m" | "--max-time" => {
                // Its value; a header from a file would be a read.
                if arguments.next().is_none_or(|value| value.starts_with('@')) {
                    return denied();
                }
            }
            "-d" | "--data" | "--json" => {
                if arguments.next().is_none_or(|value| value.starts_with('@')) {
                    return denied();
                }
            }
            "-s" | "-S" | "-sS" | "-f" | "-fs" | "-fsS" | "-sf" | "-sSf" | "-i" | "-I" | "-v"
            | "-q" | "--spider" | "-qO-" | "--silent" | "--show-error" | "--fail" | "--include"
            | "--head" => {}
            _ if argument.starts_with('-') => return denied(),
            url => {
                let rest = url
                    .strip_prefix("http://")
                    .or_else(|| url.strip_prefix("https://"))
                    .unwrap_or(url);
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                if authority.contains('@') || rest.contains("://") || !guard.may_talk_to(authority)
                {
                    return denied();
                }
                urls += 1;
            }
        }
    }
    if urls > 0 { Verdict::Allow } else { denied() }
}
