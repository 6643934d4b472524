//! Programs that start other programs: what they start.

use super::word::Value;

/// What a command line leads to, besides its own program.
pub(super) enum Kind {
    /// Nothing else that is known.
    Program,
    /// Another command line.
    Wrapper {
        /// The other one.
        inner: Vec<Value>,
        /// It is exactly that one.
        sure: bool,
        /// The wrapper is a fact of its own, because it changes who or where.
        shown: bool,
        /// Where the other one starts.
        directory: Option<Value>,
        /// Names may mean something else there.
        steers: bool,
        /// Files the wrapper itself reads.
        reads: Vec<Value>,
    },
    /// A text that is run as shell commands.
    Script {
        /// The text.
        text: Value,
        /// It is run as it stands.
        sure: bool,
    },
    /// A shell that runs what comes in.
    StandardInput,
    /// Something is run that cannot be known; the texts are guesses.
    Unclear {
        /// Texts that may be run.
        guesses: Vec<Value>,
    },
}

/// Shells whose language is read here.
const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "ksh", "mksh", "zsh", "rbash"];

/// Shells with a language of their own, and programs that run texts in ways not
/// followed here.
const OPAQUE: &[&str] = &[
    "fish", "csh", "tcsh", "pwsh", "parallel", "watch", "expect", "at", "batch",
];

struct Spec {
    /// Options that take the next word.
    with_value: &'static [&'static str],
    /// Words between the options and the command.
    operands: usize,
    shown: bool,
    /// A word of the shell, behind which assignments are still assignments.
    keyword: bool,
}

const fn spec(with_value: &'static [&'static str], operands: usize, shown: bool) -> Spec {
    Spec {
        with_value,
        operands,
        shown,
        keyword: false,
    }
}

fn simple(name: &str) -> Option<Spec> {
    Some(match name {
        "coproc" => Spec {
            keyword: true,
            ..spec(&[], 0, false)
        },
        "command" | "builtin" | "nohup" | "setsid" | "catchsegv" | "fakeroot"
        | "dbus-run-session" | "unbuffer" | "caffeinate" => spec(&[], 0, false),
        "exec" => spec(&["-a"], 0, false),
        "time" => Spec {
            keyword: true,
            ..spec(&["-o", "-f", "--output", "--format"], 0, false)
        },
        "nice" => spec(&["-n", "--adjustment"], 0, false),
        "ionice" => spec(&["-c", "-n", "--class", "--classdata"], 0, false),
        "chrt" => spec(&["-T", "-P", "-D"], 1, false),
        "taskset" => spec(&[], 1, false),
        "stdbuf" => spec(
            &["-i", "-o", "-e", "--input", "--output", "--error"],
            0,
            false,
        ),
        "timeout" => spec(&["-k", "-s", "--kill-after", "--signal"], 1, false),
        "faketime" => spec(&["-f"], 1, false),
        "prlimit" | "setpriv" | "setarch" | "linux32" | "linux64" => spec(&[], 0, true),
        "strace" | "ltrace" => spec(&["-o", "-e", "-s", "-u", "-E", "-p", "-P", "-a"], 0, true),
        "valgrind" => spec(&[], 0, true),
        "flock" => spec(&["-w", "-E", "--timeout", "--conflict-exit-code"], 1, true),
        "sudo" => spec(
            &[
                "-u", "-g", "-C", "-D", "-h", "-p", "-r", "-t", "-T", "-U", "--user", "--group",
            ],
            0,
            true,
        ),
        "doas" => spec(&["-u", "-C"], 0, true),
        "pkexec" => spec(&["--user"], 0, true),
        "chroot" => spec(&[], 1, true),
        "unshare" => spec(&["-S", "-G", "-R", "-w"], 0, true),
        "nsenter" => spec(&["-t", "-S", "-G", "--target"], 0, true),
        "systemd-run" => spec(
            &["-p", "-u", "-E", "--unit", "--property", "--setenv"],
            0,
            true,
        ),
        "busybox" | "toybox" => spec(&[], 0, true),
        _ => return None,
    })
}

/// Reads commands from a file that its arguments name.
pub(super) fn runs_file(name: &str) -> bool {
    SHELLS.contains(&name) || matches!(name, "." | "source")
}

/// A shell that is told to read a script and run nothing of it.
pub(super) fn only_checks(name: &str, rest: &[Value]) -> bool {
    let [option, file] = rest else {
        return false;
    };
    // Interactive shells do not listen to it; `-n` alone makes none.
    matches!(name, "sh" | "bash" | "dash")
        && option.certain
        && option.text == "-n"
        && file.certain
        && !file.text.starts_with(['-', '+'])
}

/// What `name`, called with `rest`, leads to.
pub(super) fn kind(name: &str, rest: &[Value]) -> Kind {
    if SHELLS.contains(&name) {
        return shell(rest);
    }
    if OPAQUE.contains(&name) {
        return Kind::Unclear {
            guesses: Vec::new(),
        };
    }
    match name {
        "command"
            if rest
                .first()
                .is_some_and(|word| matches!(word.text.as_str(), "-v" | "-V")) =>
        {
            Kind::Program
        }
        "env" => environment(rest),
        "xargs" => for_each(rest),
        "find" | "fd" | "fdfind" => found(rest),
        "eval" => Kind::Script {
            text: join(rest),
            sure: true,
        },
        "trap" => match rest.iter().find(|word| word.text != "--") {
            Some(text) if rest.len() > 1 && !text.text.starts_with('-') => Kind::Script {
                text: text.clone(),
                sure: true,
            },
            _ => Kind::Program,
        },
        "source" | "." => match rest.first() {
            // A file that is there can be judged by its path; a pipe cannot.
            Some(file) if file.certain && !file.text.starts_with("/dev/") => Kind::Program,
            Some(file) if file.text.starts_with("/dev/stdin") => Kind::StandardInput,
            _ => Kind::Unclear {
                guesses: Vec::new(),
            },
        },
        "script" | "su" | "runuser" => match option_value(rest, 'c') {
            Some(text) => Kind::Script { text, sure: true },
            None if name == "script" => Kind::Program,
            None => Kind::Unclear {
                guesses: Vec::new(),
            },
        },
        "git" => git(rest),
        _ if name.starts_with("ld-linux") || name.starts_with("ld-musl") => wrapper(
            rest,
            &spec(
                &[
                    "--library-path",
                    "--preload",
                    "--argv0",
                    "--inhibit-rpath",
                    "--audit",
                ],
                0,
                true,
            ),
            false,
        ),
        _ => match simple(name) {
            Some(spec) => wrapper(rest, &spec, name == "flock"),
            None => Kind::Program,
        },
    }
}

fn wrapper(rest: &[Value], spec: &Spec, script_option: bool) -> Kind {
    let mut at = 0;
    let mut sure = true;
    let mut steers = false;
    while let Some(word) = rest.get(at) {
        if !word.text.starts_with(['-', '+']) || word.text == "-" {
            break;
        }
        sure &= word.certain;
        at += 1;
        if word.text == "--" {
            break;
        }
        steers |= word.text.starts_with("--preload") || word.text.starts_with("--library-path");
        if spec.with_value.contains(&word.text.as_str()) {
            sure &= rest.get(at).is_none_or(|value| value.certain);
            at += 1;
        }
    }
    for _ in 0..spec.operands {
        sure &= rest.get(at).is_none_or(|value| value.certain);
        at += 1;
    }
    if script_option && let Some(text) = option_value(rest, 'c') {
        return Kind::Script { text, sure };
    }
    // `sudo NAME=value …`, `time NAME=value …`
    while let Some(word) = rest.get(at)
        && let Some((name, value)) = word.text.split_once('=')
        && (spec.shown || spec.keyword)
        && is_name(name)
    {
        let value = Value {
            text: value.to_owned(),
            ..word.clone()
        };
        steers |= spec.shown || super::shell::steers(name, &value);
        at += 1;
    }
    let inner = rest.get(at..).unwrap_or_default().to_vec();
    if inner.is_empty() {
        return Kind::Program;
    }
    Kind::Wrapper {
        inner,
        sure,
        shown: spec.shown,
        directory: None,
        steers,
        reads: Vec::new(),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `env [options] [NAME=value…] [command…]`
fn environment(rest: &[Value]) -> Kind {
    let mut at = 0;
    let (mut sure, mut steers) = (true, false);
    let mut directory = None;
    while let Some(word) = rest.get(at) {
        let text = word.text.as_str();
        if text == "-S" || text.starts_with("-S") || text.starts_with("--split-string") {
            // Its own little language of quotes; read as shell it is close.
            let split = match text.split_once('=') {
                Some((_, value)) => Value::guess(value.to_owned()),
                None if text.len() > 2 => {
                    Value::guess(text.strip_prefix("-S").unwrap_or("").to_owned())
                }
                None => rest.get(at + 1).cloned().unwrap_or(Value::plain("")),
            };
            return Kind::Unclear {
                guesses: vec![split],
            };
        }
        if matches!(text, "-u" | "--unset") {
            at += 2;
        } else if matches!(text, "-C" | "--chdir") {
            directory = rest.get(at + 1).cloned();
            at += 2;
        } else if let Some(place) = text.strip_prefix("--chdir=") {
            directory = Some(Value {
                text: place.to_owned(),
                ..word.clone()
            });
            at += 1;
        } else if text.starts_with('-') {
            at += 1;
        } else if let Some((name, value)) = text.split_once('=')
            && is_name(name)
        {
            let value = Value {
                text: value.to_owned(),
                ..word.clone()
            };
            steers |= super::shell::steers(name, &value);
            at += 1;
        } else {
            break;
        }
        sure &= word.certain || text.contains('=');
    }
    let inner = rest.get(at..).unwrap_or_default().to_vec();
    if inner.is_empty() {
        // Shows the whole environment.
        return Kind::Program;
    }
    Kind::Wrapper {
        inner,
        sure,
        shown: false,
        directory,
        steers,
        reads: Vec::new(),
    }
}

/// `xargs`: a command whose last arguments come in.
fn for_each(rest: &[Value]) -> Kind {
    const WITH_VALUE: &[&str] = &["-a", "-d", "-E", "-I", "-L", "-n", "-P", "-s"];
    let mut at = 0;
    let mut replaced: Option<String> = None;
    let mut reads = Vec::new();
    while let Some(word) = rest.get(at) {
        let text = word.text.as_str();
        if !text.starts_with('-') {
            break;
        }
        at += 1;
        if text == "--" {
            break;
        }
        let value = if WITH_VALUE.contains(&text) {
            at += 1;
            rest.get(at - 1).cloned()
        } else {
            text.get(2..)
                .filter(|value| !value.is_empty() && !text.starts_with("--"))
                .map(Value::plain)
        };
        match (text.get(..2), value) {
            (Some("-I"), Some(value)) => replaced = Some(value.text),
            (Some("-i"), value) => {
                replaced = Some(value.map_or("{}".to_owned(), |value| value.text));
            }
            (Some("-a"), Some(value)) => reads.push(value),
            _ if text.starts_with("--replace") => {
                replaced = Some(
                    text.split_once('=')
                        .map_or("{}", |(_, mark)| mark)
                        .to_owned(),
                );
            }
            _ => {
                if let Some(file) = text.strip_prefix("--arg-file=") {
                    reads.push(Value::plain(file));
                }
            }
        }
    }
    let mut inner: Vec<Value> = rest.get(at..).unwrap_or_default().to_vec();
    if inner.is_empty() {
        inner.push(Value::plain("echo"));
    }
    match &replaced {
        Some(mark) if !mark.is_empty() => {
            for word in &mut inner {
                if word.text.contains(mark.as_str()) {
                    word.certain = false;
                    word.known = false;
                }
            }
        }
        _ => inner.push(Value::unknown("{}")),
    }
    Kind::Wrapper {
        inner,
        sure: true,
        shown: false,
        directory: None,
        steers: false,
        reads,
    }
}

/// `find … -exec command… ;`: the first of them; more than one is unclear.
fn found(rest: &[Value]) -> Kind {
    const STARTS: &[&str] = &[
        "-exec",
        "-execdir",
        "-ok",
        "-okdir",
        "-x",
        "-X",
        "--exec",
        "--exec-batch",
    ];
    let starts: Vec<usize> = rest
        .iter()
        .enumerate()
        .filter(|(_, word)| STARTS.contains(&word.text.as_str()))
        .map(|(at, _)| at)
        .collect();
    let line = |start: usize| -> Vec<Value> {
        rest.iter()
            .skip(start + 1)
            .take_while(|word| word.text != ";" && word.text != "+")
            .map(|word| {
                if word.text.contains("{}") {
                    Value {
                        certain: false,
                        known: word.text == "{}",
                        ..word.clone()
                    }
                } else {
                    word.clone()
                }
            })
            .collect()
    };
    match starts.as_slice() {
        [] => Kind::Program,
        [start] => Kind::Wrapper {
            inner: line(*start),
            sure: true,
            shown: true,
            directory: None,
            steers: false,
            reads: Vec::new(),
        },
        several => Kind::Unclear {
            guesses: several.iter().map(|start| join(&line(*start))).collect(),
        },
    }
}

fn shell(rest: &[Value]) -> Kind {
    let mut at = 0;
    let mut command = false;
    let mut input = false;
    while let Some(word) = rest.get(at) {
        let text = word.text.as_str();
        if !word.certain {
            return Kind::Unclear {
                guesses: rest.get(at..).unwrap_or_default().to_vec(),
            };
        }
        if text == "--" || text == "-" {
            at += 1;
            break;
        }
        if !text.starts_with(['-', '+']) {
            break;
        }
        at += 1;
        if matches!(text, "--rcfile" | "--init-file" | "-o" | "+o" | "-O" | "+O") {
            at += 1;
        } else if !text.starts_with("--") {
            command |= text.starts_with('-') && text.contains('c');
            input |= text.contains('s');
            if text.ends_with(['o', 'O']) {
                at += 1;
            }
        }
    }
    let operand = rest.get(at);
    match operand {
        Some(text) if command => Kind::Script {
            text: text.clone(),
            sure: true,
        },
        None if command => Kind::Program,
        Some(file) if !input => {
            if !file.certain {
                Kind::Unclear {
                    guesses: Vec::new(),
                }
            } else if file.text.starts_with("/dev/") || file.text.starts_with("/proc/") {
                Kind::StandardInput
            } else {
                Kind::Program
            }
        }
        _ => Kind::StandardInput,
    }
}

/// Git runs programs that its configuration names.
/// Settings of git that only change how its output looks.
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

fn git(rest: &[Value]) -> Kind {
    let mut at = 0;
    while let Some(word) = rest.get(at) {
        match word.text.as_str() {
            "-c" if rest
                .get(at + 1)
                .is_some_and(|set| set.certain && only_looks(&set.text)) =>
            {
                at += 2;
            }
            "-c" | "--config-env" | "--exec-path" => {
                return Kind::Unclear {
                    guesses: Vec::new(),
                };
            }
            text if text.starts_with("--exec-path=") || text.starts_with("--config-env=") => {
                return Kind::Unclear {
                    guesses: Vec::new(),
                };
            }
            "-C" | "--git-dir" | "--work-tree" => at += 2,
            text if text.starts_with('-') => at += 1,
            _ => break,
        }
    }
    let words: Vec<&str> = rest
        .iter()
        .skip(at)
        .map(|word| word.text.as_str())
        .collect();
    let inner = match words.as_slice() {
        ["bisect", "run", ..] => rest.get(at + 2..),
        ["submodule", .., "foreach", _] | ["rebase", "-x" | "--exec", ..] => {
            return Kind::Unclear {
                guesses: rest.last().cloned().into_iter().collect(),
            };
        }
        _ => None,
    };
    match inner {
        Some(inner) if !inner.is_empty() => Kind::Wrapper {
            inner: inner.to_vec(),
            sure: true,
            shown: true,
            directory: None,
            steers: false,
            reads: Vec::new(),
        },
        _ => Kind::Program,
    }
}

/// The value of a short option that may stand at the end of a cluster (`-qec`).
fn option_value(rest: &[Value], option: char) -> Option<Value> {
    let long = "--command";
    for (at, word) in rest.iter().enumerate() {
        if let Some(value) = word.text.strip_prefix(long) {
            return match value.strip_prefix('=') {
                Some(value) => Some(Value {
                    text: value.to_owned(),
                    ..word.clone()
                }),
                None => rest.get(at + 1).cloned(),
            };
        }
        if word.text.starts_with('-') && !word.text.starts_with("--") && word.text.ends_with(option)
        {
            return rest.get(at + 1).cloned();
        }
    }
    None
}

fn join(words: &[Value]) -> Value {
    let mut joined = Value::plain("");
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            joined.text.push(' ');
        }
        joined.append(word);
    }
    joined
}

#[cfg(test)]
fn starts(line: &[&str]) -> Option<String> {
    let words: Vec<Value> = line.iter().map(|word| Value::plain(word)).collect();
    let (name, rest) = words.split_first()?;
    match kind(super::shell::base_name(&name.text), rest) {
        Kind::Wrapper { inner, .. } => Some(join(&inner).text),
        Kind::Script { text, .. } => Some(format!("script {}", text.text)),
        Kind::StandardInput => Some("input".to_owned()),
        Kind::Unclear { .. } => Some("unclear".to_owned()),
        Kind::Program => None,
    }
}

#[cfg(test)]
mod tests {
    use super::starts;

    #[test]
    fn wrappers_are_taken_off() {
        for (line, want) in [
            ("env A=1 -u B rm x", Some("rm x")),
            ("env -C sub make", Some("make")),
            ("timeout -k 5 10 rm x", Some("rm x")),
            ("nice -n 5 rm x", Some("rm x")),
            ("time A=1 rm x", Some("rm x")),
            ("coproc A=1 B= rm x", Some("rm x")),
            ("stdbuf -oL rm x", Some("rm x")),
            ("taskset 1 rm x", Some("rm x")),
            ("sudo -u root A=b rm x", Some("rm x")),
            ("command -v rm", None),
            ("command -p rm", Some("rm")),
            ("/lib64/ld-linux-x86-64.so.2 /bin/rm x", Some("/bin/rm x")),
            ("find . -type f -execdir unlink {} ;", Some("unlink {}")),
            ("xargs -n 1 rm", Some("rm {}")),
            ("xargs -I% cp % y", Some("cp % y")),
            ("bash -lc", None),
            ("bash script.sh", None),
            ("bash -s", Some("input")),
            ("sh", Some("input")),
            ("git bisect run make", Some("make")),
            ("git -c alias.x=!y x", Some("unclear")),
            ("busybox rm x", Some("rm x")),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(starts(&words).as_deref(), want, "{line}");
        }
        assert_eq!(
            starts(&["bash", "-xc", "rm y"]).as_deref(),
            Some("script rm y")
        );
        assert_eq!(starts(&["eval", "rm", "y"]).as_deref(), Some("script rm y"));
        assert_eq!(
            starts(&["script", "-qec", "rm y", "/dev/null"]).as_deref(),
            Some("script rm y")
        );
    }
}
