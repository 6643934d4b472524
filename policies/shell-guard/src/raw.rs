//! Patterns on the text as written: the last net for what the parser could not
//! reach, such as code inside quotes that ends up in a shell or a database.

use crate::programs;
use selfheal_policy_sdk::text::{phrase, squeeze};
use selfheal_policy_sdk::{ToolCall, Verdict};

/// A pattern on the squeezed, lower-case text, its rule and what it is.
const PATTERNS: [(&str, &str, &str); 28] = [
    ("rm -rf", "shell.rm-recursive", "removes whole trees"),
    ("rm -fr", "shell.rm-recursive", "removes whole trees"),
    ("rm -r -f", "shell.rm-recursive", "removes whole trees"),
    ("rm -f -r", "shell.rm-recursive", "removes whole trees"),
    ("drop table", "shell.sql-drop", "drops a table"),
    ("drop database", "shell.sql-drop", "drops a database"),
    ("drop schema", "shell.sql-drop", "drops a schema"),
    ("truncate table", "shell.sql-drop", "empties a table"),
    ("delete from", "shell.sql-delete", "deletes rows"),
    ("mkfs", "shell.disk", "makes a file system"),
    ("dd if=", "shell.disk", "copies raw devices"),
    ("dd of=", "shell.disk", "copies raw devices"),
    ("format c:", "shell.disk", "formats a disk"),
    ("> /dev/sd", "shell.disk", "writes to a disk"),
    (">/dev/sd", "shell.disk", "writes to a disk"),
    ("/dev/tcp/", "shell.network", "opens a connection"),
    ("/dev/udp/", "shell.network", "opens a connection"),
    (":(){", "shell.fork-bomb", "starts itself without end"),
    ("core.hookspath", "shell.git-hooks", "redirects git's hooks"),
    (
        "core.fsmonitor",
        "shell.git-hooks",
        "makes git start a program",
    ),
    (".git/hooks", "shell.git-hooks", "changes git's hooks"),
    (
        "ld_preload=",
        "shell.loader",
        "loads code into other programs",
    ),
    (
        "ld_audit=",
        "shell.loader",
        "loads code into other programs",
    ),
    ("bash_env=", "shell.loader", "makes shells run a file first"),
    (
        "prompt_command=",
        "shell.loader",
        "makes shells run a command",
    ),
    (
        "git_ssh_command=",
        "shell.loader",
        "makes git start a program",
    ),
    ("lessopen=", "shell.loader", "makes a pager start a program"),
    ("shutil.rmtree", "shell.rm-recursive", "removes whole trees"),
];

/// Programs that raise privileges, as words where a command begins.
const PRIVILEGE: [&str; 8] = [
    "sudo", "su", "doas", "pkexec", "runuser", "gosu", "setpriv", "su-exec",
];

pub(crate) fn judge(text: &str, call: &ToolCall) -> Verdict {
    let squeezed = squeeze(text);
    if let Some(word) = privilege(&squeezed) {
        return Verdict::deny("shell.privilege", "agents run without privileges").shows(word);
    }
    // Looking for such words harms nobody.
    let readers_only = call.parsed
        && !call.commands.is_empty()
        && call.commands.iter().all(|command| {
            command.certain && programs::only_reads(command.program_name(), command)
        });
    let mut verdict = Verdict::Allow;
    for (pattern, rule, what) in PATTERNS {
        let only_words = readers_only
            && matches!(
                rule,
                "shell.rm-recursive" | "shell.sql-drop" | "shell.sql-delete"
            );
        if !only_words && phrase(&squeezed, pattern) {
            let denied = Verdict::deny(rule, format!("the command {what}")).shows(pattern);
            let denied = match rule {
                "shell.rm-recursive" => denied.instead("rm -- path/to/file"),
                "shell.sql-drop" | "shell.sql-delete" => denied.instead("grep -rn migrations ."),
                _ => denied,
            };
            verdict = verdict.stricter(denied);
        }
    }
    verdict
}

/// A privileged start anywhere in the text. The host takes such wrappers off the
/// parsed commands, so only the text shows them.
fn privilege(squeezed: &str) -> Option<&str> {
    let mut begins = true;
    for word in squeezed.split(' ') {
        let bare = word.trim_start_matches(['(', '{', '`', '"', '\'', '$', '!', '\\']);
        let name = bare
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches([';', '"', '\'', ')', '`']);
        if (begins || word.len() != bare.len()) && PRIVILEGE.contains(&name) {
            return Some(word);
        }
        let assignment = bare.split_once('=').is_some_and(|(name, _)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        let wraps = matches!(
            name,
            "env"
                | "nohup"
                | "time"
                | "timeout"
                | "nice"
                | "xargs"
                | "exec"
                | "command"
                | "builtin"
                | "then"
                | "do"
                | "else"
                | "if"
                | "while"
                | "until"
                | "setsid"
                | "stdbuf"
                | "ionice"
                | "chrt"
                | "taskset"
                | "coproc"
        );
        let option_of_wrapper =
            begins && (bare.starts_with('-') || bare.starts_with(|c: char| c.is_ascii_digit()));
        begins = word.ends_with([';', '&', '|', '(', '{', '`'])
            || assignment
            || wraps
            || option_of_wrapper
            || word.is_empty();
    }
    None
}
