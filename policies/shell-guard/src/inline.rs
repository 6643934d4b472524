//! Code on an interpreter's command line or piped into it: finding it, and what in
//! it is plainly dangerous.

use selfheal_policy_sdk::SimpleCommand;
use selfheal_policy_sdk::text::{Needles, phrase, squeeze, stands_alone, tighten};

/// Code that an interpreter would run without a file.
pub(crate) struct Inline {
    /// The code, as far as it is on the command line.
    pub(crate) code: Option<String>,
    /// All of it is known.
    pub(crate) whole: bool,
    /// A command that does it properly.
    pub(crate) instead: &'static str,
}

/// What no one-liner needs.
static DANGERS: Needles<116> = Needles::new([
    "os.system",
    "os.popen",
    "os.exec",
    "os.spawn",
    "os.remove",
    "os.unlink",
    "os.rmdir",
    "os.removedirs",
    "os.rename",
    "os.kill",
    "os.environ",
    "os.fork",
    "os.chmod",
    "os.chown",
    "subprocess",
    "shutil",
    "pty.spawn",
    "ctypes",
    "socket",
    "urllib",
    "requests",
    "http.client",
    "ftplib",
    "smtplib",
    "paramiko",
    "__import__",
    "importlib",
    "eval(",
    "exec(",
    "compile(",
    "getattr(",
    "base64",
    "codecs",
    "marshal",
    "pickle",
    "rmtree",
    "child_process",
    "unlinksync",
    "rmsync",
    "rmdirsync",
    "writefilesync",
    "process.env",
    "fetch(",
    "net.connect",
    "http.get",
    "https.get",
    "require('fs')",
    "require(\"fs\")",
    "fs.rm",
    "fs.unlink",
    "system(",
    "unlink",
    "popen",
    "backtick",
    "fork",
    "fileutils",
    "spawn",
    "tempfile",
    "posix",
    "signal",
    "multiprocessing",
    "asyncio.create_sub",
    "cgi",
    "telnetlib",
    "aiohttp",
    "httpx",
    "boto3",
    "webbrowser",
    "antigravity",
    "sys.modules",
    "builtins",
    "globals(",
    "setattr(",
    "write_text",
    "write_bytes",
    "os.truncate",
    "os.symlink",
    "os.link",
    "os.replace",
    "os.makedirs",
    "os.mkdir",
    "open3",
    "io.popen",
    "file.write",
    "file.delete",
    "file.unlink",
    "dir.rmdir",
    "net::http",
    "tcpsocket",
    "use socket",
    "io::socket",
    "lwp::",
    "file::path",
    "file_put_contents",
    "fwrite",
    "fsockopen",
    "curl_exec",
    "mail(",
    "proc_open",
    "passthru",
    "shell_exec",
    "popen3",
    "loadlibrary",
    "dlopen",
    "appendfile",
    "createwritestream",
    "fs/promises",
    "node:fs",
    "process.kill",
    "process.binding",
    "dgram",
    "node:net",
    "node:http",
    "deno.run",
    "deno.remove",
    "bun.file",
]);

/// Marks of perl and ruby that are too short to look for in the same way.
const SHORT: [&str; 2] = ["qx", "%x"];

/// The first mark of danger in this code.
pub(crate) fn danger(code: &str) -> Option<&'static str> {
    let squeezed = squeeze(code);
    let tight = tighten(&squeezed);
    let first = |text: &str| {
        let mut found = None;
        DANGERS.scan(text, |word, start| {
            let word = DANGERS.word(word);
            if stands_alone(text, start, word) {
                found = Some(word);
            }
            found.is_some()
        });
        found.or_else(|| SHORT.into_iter().find(|mark| phrase(text, mark)))
    };
    first(&squeezed)
        .or_else(|| first(&tight))
        .or_else(|| writes(&tight))
}

/// `open(…, 'w')` in its spellings.
fn writes(tight: &str) -> Option<&'static str> {
    let opens = tight.contains("open(");
    let modes = [
        ",'w", ",\"w", ",'a", ",\"a", ",'x", ",\"x", ",'r+", ",\"r+", "mode='w", "mode=\"w",
        "mode='a", "mode=\"a",
    ];
    (opens && modes.iter().any(|mode| tight.contains(mode))).then_some("open for writing")
}

pub(crate) fn find(name: &str, command: &SimpleCommand) -> Option<Inline> {
    let versioned = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let (flags, takes_value, instead): (&[char], &[&str], &'static str) = match versioned {
        "python" | "pypy" => (&['c'], &["-X", "-W", "-m"], "python3 path/to/script.py"),
        "node" | "nodejs" => (
            &['e', 'p'],
            &["-r", "--require", "--import", "--loader", "-C"],
            "node path/to/script.js",
        ),
        "perl" => (&['e', 'E'], &["-I"], "perl path/to/script.pl"),
        "ruby" => (&['e'], &["-I", "-r"], "ruby path/to/script.rb"),
        "php" => (
            &['r', 'B', 'E', 'R'],
            &["-d", "-c"],
            "php path/to/script.php",
        ),
        "lua" | "luajit" => (&['e'], &["-l"], "lua path/to/script.lua"),
        "sh" | "bash" | "dash" | "zsh" | "ksh" | "ash" | "fish" | "busybox" => {
            return shell(command);
        }
        "awk" | "gawk" | "mawk" | "nawk" => return awk(command),
        "sed" => return sed(command),
        "osascript" | "deno" | "r" | "rscript" => (&['e'], &[], "python3 path/to/script.py"),
        _ => return None,
    };
    if matches!(versioned, "deno") && command.subcommand() == Some("eval") {
        return Some(Inline {
            code: Some(command.text()),
            whole: whole(command),
            instead,
        });
    }
    let mut arguments = command.arguments.iter().peekable();
    while let Some(argument) = arguments.next() {
        let text = argument.text.as_str();
        if takes_value.contains(&text) {
            // After `-m` comes a module and its own arguments.
            if text == "-m" {
                return None;
            }
            arguments.next();
            continue;
        }
        if let Some(long) = text.strip_prefix("--") {
            let (option, value) = long.split_once('=').unwrap_or((long, ""));
            if matches!(option, "eval" | "print" | "run" | "command") {
                let code = if value.is_empty() {
                    arguments.next().map(|word| word.text.clone())
                } else {
                    Some(value.to_owned())
                };
                return Some(Inline {
                    code,
                    whole: whole(command),
                    instead,
                });
            }
            continue;
        }
        match text.strip_prefix('-') {
            // A dash alone reads the code from somebody else.
            Some("") => {
                return Some(Inline {
                    code: None,
                    whole: false,
                    instead,
                });
            }
            Some(bundle) => {
                if versioned == "python" && bundle.contains('m') && !bundle.contains('c') {
                    return None;
                }
                if bundle.contains(flags) {
                    // The rest of the line holds the code, glued or as the next word.
                    return Some(Inline {
                        code: Some(command.text()),
                        whole: whole(command),
                        instead,
                    });
                }
            }
            None => return None,
        }
    }
    let asks_only = command.argument_texts().any(|argument| {
        matches!(
            argument,
            "--version" | "-V" | "-v" | "--help" | "-h" | "--test"
        )
    }) || versioned == "node"
        && command
            .argument_texts()
            .any(|argument| argument.starts_with("--test"));
    // Without a file the code comes from standard input.
    (!asks_only).then_some(Inline {
        code: None,
        whole: false,
        instead,
    })
}

/// The code of `python -c CODE` with nothing after it, and before it at most what becomes
/// of warnings.
pub(crate) fn python<'a>(name: &str, command: &'a SimpleCommand) -> Option<&'a str> {
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let arguments = match command.arguments.as_slice() {
        [flag, what, rest @ ..] if flag.text == "-W" && WARNINGS.contains(&what.text.as_str()) => {
            rest
        }
        all => all,
    };
    match arguments {
        [flag, code] if plain == "python" && flag.text == "-c" && code.certain => {
            Some(code.text.as_str())
        }
        _ => None,
    }
}

/// What Python can be told to do with warnings, where no module is named.
const WARNINGS: [&str; 6] = ["always", "default", "error", "ignore", "module", "once"];

fn whole(command: &SimpleCommand) -> bool {
    command.arguments.iter().all(|argument| argument.certain)
}

/// A shell without a script reads its commands from somebody else. Code after
/// `-c` was parsed by the host and is judged as the commands that it is.
fn shell(command: &SimpleCommand) -> Option<Inline> {
    let instead = "sh path/to/script.sh";
    let mut commands_given = false;
    for argument in &command.arguments {
        match argument.text.as_str() {
            "-s" | "-" | "-i" => {
                return Some(Inline {
                    code: None,
                    whole: false,
                    instead,
                });
            }
            "--version" | "--help" => return None,
            "-o" | "+o" => {}
            text if text.starts_with('-') && !text.starts_with("--") && text.contains('c') => {
                commands_given = true
            }
            text if text.starts_with('-') || text.starts_with('+') => {}
            _ if commands_given => {
                let known = argument.certain;
                return (!known).then(|| Inline {
                    code: Some(command.text()),
                    whole: false,
                    instead,
                });
            }
            _ => return None,
        }
    }
    Some(Inline {
        code: None,
        whole: false,
        instead,
    })
}

/// Programs of awk may start others and write files.
fn awk(command: &SimpleCommand) -> Option<Inline> {
    let text = command.text();
    let tight: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let acts = tight.contains("system(")
        || tight.contains("|\"")
        || tight.contains("\"|")
        || tight.contains("|&")
        || tight.contains(">\"")
        || tight.contains("|getline");
    acts.then_some(Inline {
        code: Some(text),
        whole: false,
        instead: "awk '{print $1}' path/to/file",
    })
}

/// `sed` scripts may start programs with `e` and write files with `w`.
fn sed(command: &SimpleCommand) -> Option<Inline> {
    let script = |text: &str| {
        let tail = text.rsplit('/').next().unwrap_or_default();
        let flag = text.starts_with('s')
            && tail.chars().all(|c| c.is_ascii_alphanumeric())
            && tail.contains(['e', 'w']);
        let verb = text.split([';', '\n', '{']).any(|part| {
            let verb = part
                .trim_start()
                .trim_start_matches(|c: char| c.is_ascii_digit() || "$,!~ ".contains(c));
            verb == "e"
                || verb.starts_with("e ")
                || verb.starts_with("w ")
                || verb.starts_with("W ")
        });
        flag || verb
    };
    let acts = command
        .argument_texts()
        .filter(|argument| !argument.starts_with('-'))
        .take(1)
        .any(script)
        || command.argument_texts().any(|argument| {
            argument.starts_with("-e") && script(argument.get(2..).unwrap_or_default())
        });
    acts.then_some(Inline {
        code: None,
        whole: false,
        instead: "sed -n 1,40p path/to/file",
    })
}
