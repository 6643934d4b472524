//! Patterns on the text as written: the last net for what the parser could not
//! reach, such as code inside quotes that ends up in a shell or a database, and for
//! variables that make other programs load or start something.

use crate::programs;
use selfheal_policy_sdk::text::{Needles, phrase, squeeze};
use selfheal_policy_sdk::{SimpleCommand, ToolCall, Verdict};

/// What every pattern and every privileged program has in it. Found in the input as
/// it is, JSON and all: letters and these marks have no escapes there unless
/// somebody wrote them on purpose, which counts as found.
static MARKS: Needles<49> = Needles::new([
    "rm",
    "drop",
    "truncate",
    "delete",
    "mkfs",
    "dd",
    "format",
    "/dev/",
    "(){",
    "core.",
    ".git/",
    "ld_",
    "bash_",
    "prompt_c",
    "git_",
    "lessopen",
    "shutil.",
    "sudo",
    "su",
    "doas",
    "pkexec",
    "runuser",
    "gosu",
    "setpriv",
    "su-exec",
    "\\u00",
    "perl5",
    "rubyopt",
    "pythonstart",
    "pythoninsp",
    "java_tool",
    "_wrapper=",
    "pager=",
    "editor=",
    "shellopts",
    "glibc_tun",
    "node_options",
    "ps4=",
    "ifs=",
    "makeflags",
    "flushall",
    "flushdb",
    "dropdatabase",
    "browser=",
    "visual=",
    "env=",
    "history -c",
    ".shell",
    "jdk_java",
]);

/// May [`judge`] have something to say? Only that; it is quick.
pub(crate) fn concerns(input: &str) -> bool {
    let bytes = input.as_bytes();
    MARKS.scan(input, |mark, start| {
        // Words that are parts of many others count only by themselves. A letter
        // after a backslash is an escape, as in `\nsu`.
        let (short, length) = match mark {
            0 => (true, 2),
            5 => (true, 2),
            18 => (true, 2),
            _ => (false, 0),
        };
        if !short {
            return true;
        }
        let inner = |at: Option<usize>| {
            at.and_then(|at| bytes.get(at))
                .is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        };
        let escaped = start >= 2 && bytes.get(start - 2) == Some(&b'\\');
        (!inner(start.checked_sub(1)) || escaped) && !inner(Some(start + length))
    })
}

/// A pattern on the squeezed, lower-case text, its rule and what it is.
pub(crate) const PATTERNS: [(&str, &str, &str); 60] = [
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
    ("flushall", "shell.sql-drop", "empties a database"),
    ("flushdb", "shell.sql-drop", "empties a database"),
    ("dropdatabase(", "shell.sql-drop", "drops a database"),
    (
        "ld_library_path=",
        "shell.loader",
        "loads code into other programs",
    ),
    (
        "glibc_tunables=",
        "shell.loader",
        "changes how programs are loaded",
    ),
    ("perl5opt=", "shell.loader", "makes perl load code first"),
    ("perl5db=", "shell.loader", "makes perl load code first"),
    ("rubyopt=", "shell.loader", "makes ruby load code first"),
    (
        "pythonstartup=",
        "shell.loader",
        "makes python run a file first",
    ),
    (
        "pythoninspect=",
        "shell.loader",
        "makes python ask for commands",
    ),
    (
        "java_tool_options=",
        "shell.loader",
        "makes java load code first",
    ),
    (
        "jdk_java_options=",
        "shell.loader",
        "makes java load code first",
    ),
    (
        "rustc_wrapper=",
        "shell.loader",
        "makes cargo start a program",
    ),
    (
        "rustc_workspace_wrapper=",
        "shell.loader",
        "makes cargo start a program",
    ),
    (
        "pager=",
        "shell.loader",
        "makes other programs start a program",
    ),
    ("git_pager=", "shell.loader", "makes git start a program"),
    (
        "manpager=",
        "shell.loader",
        "makes other programs start a program",
    ),
    (
        "editor=",
        "shell.loader",
        "makes other programs start a program",
    ),
    ("git_editor=", "shell.loader", "makes git start a program"),
    (
        "visual=",
        "shell.loader",
        "makes other programs start a program",
    ),
    (
        "browser=",
        "shell.loader",
        "makes other programs start a program",
    ),
    (
        "git_external_diff=",
        "shell.loader",
        "makes git start a program",
    ),
    ("git_config_", "shell.loader", "changes what git runs"),
    ("git_exec_path=", "shell.loader", "changes what git runs"),
    (
        "git_proxy_command=",
        "shell.loader",
        "makes git start a program",
    ),
    ("git_askpass=", "shell.loader", "makes git start a program"),
    ("git_template_dir=", "shell.loader", "changes what git runs"),
    (
        "shellopts=",
        "shell.loader",
        "changes how shells run commands",
    ),
    ("ps4=", "shell.loader", "makes shells run a command"),
    ("ifs=", "shell.loader", "changes how commands are split"),
    ("makeflags=", "shell.loader", "changes what make runs"),
    (
        ".shell",
        "shell.database",
        "starts a program from a database",
    ),
];

/// Programs that raise privileges, as words where a command begins.
pub(crate) const PRIVILEGE: [&str; 8] = [
    "sudo", "su", "doas", "pkexec", "runuser", "gosu", "setpriv", "su-exec",
];

pub(crate) fn judge(text: &str, call: &ToolCall) -> Verdict {
    let squeezed = squeeze(text);
    if let Some(word) = privilege(&squeezed)
        && !only_looked_for(word, &squeezed, call)
    {
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
        if !only_words && stands(&squeezed, pattern) {
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

/// The word stands in arguments of programs that only read, as often as in the text.
fn only_looked_for(word: &str, squeezed: &str, call: &ToolCall) -> bool {
    let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let looked_for: usize = call
        .commands
        .iter()
        .filter(|command| {
            command.certain
                && !matches!(command.program_name(), "find" | "git" | "xargs")
                && programs::only_reads(command.program_name(), command)
        })
        .flat_map(SimpleCommand::argument_texts)
        .map(|argument| squeeze(argument).matches(word).count())
        .sum();
    // Where somebody's output becomes commands, words are no longer words.
    let run_again = call.commands.iter().any(|command| {
        matches!(
            command.program_name(),
            "sh" | "bash" | "dash" | "zsh" | "ksh" | "eval" | "source" | "." | "xargs" | "parallel"
        )
    });
    call.parsed && !run_again && !word.is_empty() && squeezed.matches(word).count() == looked_for
}

/// An assignment only counts where a word begins: `--browser=` is an option.
fn stands(squeezed: &str, pattern: &str) -> bool {
    if !pattern.ends_with('=') || pattern.contains(' ') {
        return phrase(squeezed, pattern);
    }
    squeezed.match_indices(pattern).any(|(start, _)| {
        squeezed
            .get(..start)
            .and_then(|head| head.chars().next_back())
            .is_none_or(|before| " ;&|(\"'`{".contains(before))
            // Output that nobody has to leaf through.
            && !(pattern.ends_with("pager=")
                && squeezed
                    .get(start + pattern.len()..)
                    .is_some_and(|rest| rest.starts_with("cat ")))
    })
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
