//! Code on a command line that plainly does nothing but compute and print. Python
//! only, and only what a list knows: modules of the standard library that touch
//! nothing, and the application's own, which its tests run anyway.

/// Modules of Python's standard library that can do more than compute, in order.
#[rustfmt::skip]
static REACHING: &[&str] = &[
    "aifc", "antigravity", "argparse", "array", "ast", "asynchat", "asyncio", "asyncore", "atexit", "audioop", "bdb", "builtins", "bz2", "cProfile", "cgi", "cgitb", "chunk", "cmd", "code", "codecs", "codeop", "compileall", "concurrent", "configparser", "contextvars", "copyreg", "crypt", "csv", "ctypes", "curses", "dbm", "dis", "distutils", "doctest", "email", "encodings", "ensurepip", "errno", "faulthandler", "fcntl", "filecmp", "fileinput", "fnmatch", "ftplib", "gc", "genericpath", "getopt", "getpass", "gettext", "glob", "graphlib", "grp", "gzip", "hmac", "html", "http", "idlelib", "imaplib", "imghdr", "imp", "importlib", "inspect", "io", "ipaddress", "lib2to3", "linecache", "logging", "lzma", "mailbox", "mailcap", "marshal", "mimetypes", "mmap", "modulefinder", "msilib", "msvcrt", "multiprocessing", "netrc", "nis", "nntplib", "nt", "ntpath", "nturl2path", "opcode", "optparse", "os", "ossaudiodev", "pathlib", "pdb", "pickle", "pickletools", "pipes", "pkgutil", "plistlib", "poplib", "posix", "posixpath", "profile", "pstats", "pty", "pwd", "py_compile", "pyclbr", "pydoc", "pydoc_data", "pyexpat", "queue", "quopri", "readline", "reprlib", "resource", "rlcompleter", "runpy", "sched", "secrets", "select", "selectors", "shelve", "shlex", "shutil", "signal", "site", "smtpd", "smtplib", "sndhdr", "socket", "socketserver", "spwd", "sqlite3", "sre_compile", "sre_constants", "sre_parse", "ssl", "stat", "stringprep", "subprocess", "sunau", "symtable", "sysconfig", "syslog", "tabnanny", "tarfile", "telnetlib", "tempfile", "termios", "threading", "timeit", "tkinter", "token", "tokenize", "tomllib", "trace", "traceback", "tracemalloc", "tty", "turtle", "turtledemo", "unittest", "urllib", "uu", "venv", "warnings", "wave", "weakref", "webbrowser", "winreg", "winsound", "wsgiref", "xdrlib", "xml", "xmlrpc", "zipapp", "zipfile", "zipimport", "zoneinfo"
];

/// Names that reach past what the list of modules says.
const REACHES: [&str; 21] = [
    "input",
    "breakpoint",
    "help",
    "exit",
    "quit",
    "globals",
    "locals",
    "vars",
    "dir",
    "eval",
    "exec",
    "compile",
    "getattr",
    "setattr",
    "delattr",
    "memoryview",
    "classmethod",
    "super",
    "object",
    "lambda",
    "class",
];

/// Modules of which some attributes only compute or tell something.
const IN_PART: [(&str, &[&str]); 4] = [
    ("ast", &["parse", "dump", "literal_eval", "unparse"]),
    ("os", &["getcwd", "cpu_count", "linesep", "name", "sep"]),
    ("shutil", &["which"]),
    (
        "sys",
        &[
            "path",
            "version",
            "version_info",
            "executable",
            "platform",
            "maxsize",
            "byteorder",
        ],
    ),
];

/// Libraries whose purpose is to reach other machines or programs.
const LIBRARIES: [&str; 16] = [
    "requests", "httpx", "aiohttp", "urllib3", "paramiko", "fabric", "invoke", "sh", "plumbum",
    "psutil", "pexpect", "boto3", "docker", "git", "numpy", "pandas",
];

/// Does this code only compute and print?
pub(crate) fn is_python(code: &str) -> bool {
    // Other alphabets have letters that Python takes for these.
    if !code.is_ascii() || code.len() > 500 || code.contains("__") || code.contains('\\') {
        return false;
    }
    let Some(words) = words(code) else {
        return false;
    };
    if words.iter().any(|(word, _)| REACHES.contains(word)) {
        return false;
    }
    code.split([';', '\n'])
        .map(str::trim)
        .all(|statement| imports_plainly(statement) || computes(statement))
        && words
            .iter()
            .enumerate()
            .all(|(at, (word, after))| match of_module(word) {
                Some(known) if *after == '.' => words
                    .get(at + 1)
                    .is_some_and(|(attribute, _)| known.contains(attribute)),
                // Under another name, or handed on, its attributes are not seen.
                Some(_) => {
                    at.checked_sub(1)
                        .and_then(|before| words.get(before))
                        .is_some_and(|(before, _)| *before == "import")
                        && words.get(at + 1).is_none_or(|(next, _)| *next != "as")
                        && *after != ','
                }
                None => true,
            })
        && code.match_indices("open").all(|(at, _)| {
            let part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            let (before, rest) = code.split_at(at);
            !before.ends_with(part) && opens_plainly(rest)
        })
}

fn of_module(name: &str) -> Option<&'static [&'static str]> {
    let found = IN_PART.iter().find(|(module, _)| *module == name);
    found.map(|(_, attributes)| *attributes)
}

/// `rest` begins with `open`: reads a file whose name stands there, which the facts
/// name, too.
fn opens_plainly(rest: &str) -> bool {
    let Some(inside) = rest.strip_prefix("open(") else {
        return false;
    };
    let Some(quote) = inside.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        return false;
    };
    inside
        .get(1..)
        .and_then(|text| text.split_once(quote))
        .is_some_and(|(path, after)| after.starts_with(')') && reads_plainly(path))
}

/// A path within the workspace, without anything hidden on the way.
pub(crate) fn reads_plainly(path: &str) -> bool {
    let path = path.strip_prefix("./").unwrap_or(path);
    path.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte))
        && path
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.'))
}

/// The code without what is in it only to compute: the marks of danger are about what
/// else these modules do.
pub(crate) fn without_plain_parts(code: &str) -> String {
    code.replace("import shutil", "import  ")
        .replace("shutil.which(", "which(")
        .replace("base64", " ")
}

/// The names outside of strings, each with the character that follows. None where a
/// string does not end, or where a string may hold code.
fn words(code: &str) -> Option<Vec<(&str, char)>> {
    let bytes = code.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => {
                let length = bytes
                    .get(at + 1..)?
                    .iter()
                    .position(|other| other == byte)?;
                if bytes.get(at + 1..at + 1 + length)?.contains(&b'{') {
                    return None;
                }
                at += length + 2;
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let rest = code.get(at..)?;
                let length = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                let after = rest.get(length..)?.chars().next().unwrap_or(' ');
                words.push((rest.get(..length)?, after));
                at += length;
            }
            _ => at += 1,
        }
    }
    Some(words)
}

fn imports_plainly(statement: &str) -> bool {
    let harmless = |module: &str| {
        let module = module.split_whitespace().next().unwrap_or_default();
        let root = module.split('.').next().unwrap_or_default();
        if of_module(root).is_some() {
            return module == root;
        }
        !root.is_empty() && REACHING.binary_search(&root).is_err() && !LIBRARIES.contains(&root)
    };
    if let Some(modules) = statement.strip_prefix("import ") {
        return modules.split(',').all(harmless);
    }
    statement
        .strip_prefix("from ")
        .and_then(|rest| rest.split_once(" import "))
        .is_some_and(|(module, names)| {
            harmless(module) && of_module(module.trim()).is_none() && !names.contains('*')
        })
}

/// An expression, or a print of some.
fn computes(statement: &str) -> bool {
    let first = statement
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .next()
        .unwrap_or_default();
    let other = [
        "import", "from", "del", "with", "def", "while", "for", "try", "raise", "global", "async",
        "return", "yield", "if",
    ];
    statement.is_empty() || !other.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computing_and_printing_is_harmless() {
        for code in [
            "print(1)",
            "print(1+1)",
            "from shop.cart import total; print(total(2, 3))",
            "import shop.cart as c; print(c.total(2))",
            "import sys; print(sys.path)",
            "import json;print(json.dumps([1]))",
            "import math; print(math.pi)",
            "import os; print(os.getcwd())",
            "import shutil; print(shutil.which('git'))",
            "import base64; print(base64.b64decode('aGk='))",
            "import ast; ast.parse(open('src/cart.py').read())",
            "import json;print(json.load(open('package.json'))['name'])",
            "print(open('./src/a.py').read())",
        ] {
            assert!(is_python(code), "{code}");
        }
    }

    #[test]
    fn everything_else_is_not_known_to_be() {
        for code in [
            "print(open('/etc/passwd').read())",
            "print(open('../a').read())",
            "print(open('.env').read())",
            "print(open('a/.git/config').read())",
            "print(open('a', 'w'))",
            "print(open(\"a\" + 'b').read())",
            "print(open(file).read())",
            "import shop; shop.reopen('a')",
            "o = open; print(o('a'))",
            "import io; io.open('a')",
            "import os as o; print(o.getcwd())",
            "import sys as s; s.modules",
            "import os, json; print(os.getcwd())",
            "m = os; m.getcwd()",
            "import os; print(os.listdir('.'))",
            "import os.path",
            "import shop; print(shop.os.listdir('.'))",
            "import shutil; shutil.rmtree('a')",
            "import ast; ast.sys.exit()",
            "from ast import sys",
            "from shutil import which",
            "import os; print(os.listdir())",
            "from os import system; print(system('ls'))",
            "import shop; shop.os.system('ls')",
            "import sys; sys.modules['os'].remove('a')",
            "from sys import modules; print(modules)",
            "import subprocess as s; s.run(['ls'])",
            "print(().__class__)",
            "print(getattr(a, 'b'))",
            "print(f'{a}')",
            "import pathlib; print(pathlib.Path('a').read_text())",
            "import requests; print(requests.get('http://x'))",
            "\u{ff45}val('1')",
            "exec('1')",
            "from shop import *",
            "print('unclosed)",
            "import antigravity",
            "if 1: import os",
        ] {
            // Some of these are caught by the marks of danger before.
            assert!(
                !is_python(code) || crate::inline::danger(code).is_some(),
                "{code}"
            );
        }
    }

    #[test]
    fn the_modules_are_in_order() {
        assert!(REACHING.is_sorted());
    }
}
