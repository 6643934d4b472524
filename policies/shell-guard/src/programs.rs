//! Rules about programs by name and arguments.

use selfheal_policy_sdk::{SimpleCommand, Verdict};

/// Programs whose only effect is output (given arguments that [`only_reads`] checks).
const READERS: [&str; 42] = [
    "grep", "egrep", "fgrep", "rg", "ag", "cat", "tac", "head", "tail", "ls", "dir", "wc", "sort",
    "uniq", "cut", "tr", "nl", "od", "hexdump", "strings", "stat", "file", "du", "df", "pwd",
    "echo", "printf", "true", "false", "diff", "cmp", "comm", "basename", "dirname", "realpath",
    "readlink", "which", "type", "test", "[", "find", "git",
];

/// Programs that tests, builds and diagnosis use, with nothing to say against them.
const ORDINARY: [&str; 62] = [
    "python", "python2", "python3", "pytest", "py.test", "unittest", "tox", "nox", "coverage",
    "mypy", "ruff", "flake8", "black", "node", "nodejs", "jest", "mocha", "vitest", "tsc",
    "eslint", "deno", "bun", "npm", "npx", "yarn", "pnpm", "make", "cmake", "ninja", "cargo",
    "rustc", "go", "gcc", "g++", "cc", "clang", "java", "javac", "mvn", "gradle", "gradlew",
    "mvnw", "dotnet", "ruby", "rake", "rspec", "bundle", "php", "phpunit", "perl", "sh", "bash",
    "dash", "cd", "mkdir", "touch", "cp", "mv", "rm", "sleep", "sed", "awk",
];

/// Files that many names lead to, and that act by the name they were called with:
/// `cargo` is a link to `rustup` on most machines.
pub(crate) const PROXIES: [&str; 14] = [
    "rustup",
    "snap",
    "volta",
    "volta-shim",
    "mise",
    "asdf",
    "pyenv",
    "rbenv",
    "nodenv",
    "proto",
    "busybox",
    "toybox",
    "coreutils",
    "corepack",
];

const NETWORK: [&str; 34] = [
    "curl",
    "wget",
    "nc",
    "ncat",
    "netcat",
    "socat",
    "ssh",
    "scp",
    "sftp",
    "rsync",
    "ftp",
    "lftp",
    "telnet",
    "tftp",
    "nmap",
    "dig",
    "nslookup",
    "host",
    "ping",
    "ping6",
    "traceroute",
    "tracepath",
    "mtr",
    "aria2c",
    "lynx",
    "links",
    "w3m",
    "http",
    "https",
    "xh",
    "whois",
    "tcpdump",
    "ssh-keygen",
    "ssh-add",
];

const DISK: [&str; 24] = [
    "fdisk",
    "sfdisk",
    "gdisk",
    "parted",
    "wipefs",
    "mkswap",
    "swapon",
    "swapoff",
    "blkdiscard",
    "shred",
    "format",
    "losetup",
    "mount",
    "umount",
    "dd",
    "hdparm",
    "badblocks",
    "tune2fs",
    "resize2fs",
    "debugfs",
    "cryptsetup",
    "lvremove",
    "vgremove",
    "pvremove",
];

const SYSTEM: [&str; 40] = [
    "shutdown",
    "reboot",
    "halt",
    "poweroff",
    "init",
    "telinit",
    "systemctl",
    "service",
    "rc-service",
    "crontab",
    "at",
    "batch",
    "anacron",
    "useradd",
    "userdel",
    "usermod",
    "groupadd",
    "passwd",
    "chpasswd",
    "visudo",
    "iptables",
    "nft",
    "ufw",
    "sysctl",
    "insmod",
    "modprobe",
    "rmmod",
    "kexec",
    "setcap",
    "setfacl",
    "chattr",
    "chroot",
    "nsenter",
    "unshare",
    "ip",
    "ifconfig",
    "hostname",
    "pkill",
    "killall",
    "update-alternatives",
];

const INFRASTRUCTURE: [&str; 26] = [
    "docker",
    "docker-compose",
    "podman",
    "buildah",
    "nerdctl",
    "ctr",
    "kubectl",
    "helm",
    "oc",
    "terraform",
    "tofu",
    "pulumi",
    "ansible",
    "ansible-playbook",
    "vagrant",
    "virsh",
    "aws",
    "gcloud",
    "gsutil",
    "az",
    "doctl",
    "flyctl",
    "heroku",
    "gh",
    "glab",
    "vault",
];

const DATABASES: [&str; 12] = [
    "psql",
    "mysql",
    "mariadb",
    "mongo",
    "mongosh",
    "redis-cli",
    "cqlsh",
    "sqlplus",
    "sqlcmd",
    "dropdb",
    "dropuser",
    "mysqladmin",
];

const INTERACTIVE: [&str; 14] = [
    "ed", "ex", "vi", "vim", "nvim", "nano", "emacs", "script", "screen", "tmux", "expect", "gdb",
    "strace", "ltrace",
];

pub(crate) fn is_known(name: &str) -> bool {
    READERS.contains(&name) || ORDINARY.contains(&name)
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
        _ => READERS.contains(&name),
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

pub(crate) fn judge(name: &str, command: &SimpleCommand) -> Option<Verdict> {
    let text = command.text();
    if name.starts_with("mkfs") || name.starts_with("fsck") || DISK.contains(&name) {
        return Some(Verdict::deny("shell.disk", "works on disks and file systems").shows(&text));
    }
    if name.starts_with("ld-linux") || name.starts_with("ld.so") || name.starts_with("ld-musl") {
        return Some(Verdict::deny("shell.loader", "starts a program in disguise").shows(&text));
    }
    if NETWORK.contains(&name) || name == "openssl" && command.subcommand() == Some("s_client") {
        return Some(network(name, command));
    }
    if SYSTEM.contains(&name) {
        return Some(
            Verdict::deny(
                "shell.system",
                "works on the machine, not on the application",
            )
            .shows(&text),
        );
    }
    if INFRASTRUCTURE.contains(&name) {
        return Some(
            Verdict::deny("shell.infrastructure", "works on containers or clouds").shows(&text),
        );
    }
    if DATABASES.contains(&name) {
        return Some(
            Verdict::deny("shell.database", "works on a database directly")
                .shows(&text)
                .instead("grep -rn migrations ."),
        );
    }
    if INTERACTIVE.contains(&name) {
        return Some(
            Verdict::deny(
                "shell.interactive",
                "needs a person, or controls other programs",
            )
            .shows(&text),
        );
    }
    match name {
        "rm" | "unlink" | "rmdir" | "trash" => remove(command),
        "truncate" => Some(Verdict::deny("shell.truncate", "empties files").shows(&text)),
        "find" => find(command),
        "chmod" => chmod(command),
        "chown" | "chgrp" => {
            Some(Verdict::deny("shell.ownership", "changes who owns files").shows(&text))
        }
        "eval" => Some(
            Verdict::ask(
                "shell.eval",
                "runs a text as a command; write the command itself",
            )
            .shows(&text),
        ),
        "printenv" => Some(
            Verdict::ask(
                "shell.environment",
                "shows the environment, where secrets live",
            )
            .shows(&text),
        ),
        "export" if command.argument_texts().any(|argument| argument == "-p") => Some(
            Verdict::ask(
                "shell.environment",
                "shows the environment, where secrets live",
            )
            .shows(&text),
        ),
        "env" if command.arguments.is_empty() => Some(
            Verdict::ask(
                "shell.environment",
                "shows the environment, where secrets live",
            )
            .shows(&text),
        ),
        _ => None,
    }
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
    let uncertain = command
        .arguments
        .iter()
        .any(|argument| !argument.certain && !argument.text.contains(['*', '?', '[']));
    let text = command.text();
    if command.argument_texts().any(acts) {
        let denied = Verdict::deny(
            "shell.find-acts",
            "find may only print here; act on what it printed",
        );
        return Some(denied.shows(&text).instead("find . -name '*.py' -print"));
    }
    uncertain.then(|| {
        Verdict::ask(
            "shell.find-uncertain",
            "what find does is only known at run time",
        )
        .shows(&text)
    })
}

fn chmod(command: &SimpleCommand) -> Option<Verdict> {
    let text = command.text();
    if has_short(command, &['R'])
        || command
            .argument_texts()
            .any(|argument| argument.len() > 3 && "--recursive".starts_with(argument))
    {
        return Some(
            Verdict::deny("shell.permissions", "changes permissions of whole trees")
                .shows(&text)
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
            .shows(&text)
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
fn network(name: &str, command: &SimpleCommand) -> Verdict {
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
                if authority.contains('@') || rest.contains("://") || !is_loopback(authority) {
                    return denied();
                }
                urls += 1;
            }
        }
    }
    if urls > 0 { Verdict::Allow } else { denied() }
}
