//! One-liners in JavaScript and Perl that plainly do nothing but compute, look at lines
//! and print. Only what a list knows; everything else is code that nobody has judged.

use crate::harmless::reads_plainly;
use selfheal_policy_sdk::SimpleCommand;

/// Longest one-liner that is looked at, in bytes.
const LONGEST: usize = 500;

/// What JavaScript may name by itself.
const GLOBALS: [&str; 14] = [
    "console",
    "JSON",
    "Math",
    "Number",
    "String",
    "parseInt",
    "parseFloat",
    "isNaN",
    "true",
    "false",
    "null",
    "undefined",
    "typeof",
    "require",
];

/// Ways from any value to code, the process or the module.
const LEADS_AWAY: [&str; 14] = [
    "constructor",
    "prototype",
    "call",
    "apply",
    "bind",
    "caller",
    "callee",
    "arguments",
    "mainModule",
    "binding",
    "Console",
    "context",
    "paths",
    "cache",
];

/// Does this command only compute and print?
pub(crate) fn is_harmless(name: &str, command: &SimpleCommand) -> bool {
    let certain = command.arguments.iter().all(|argument| argument.certain);
    let arguments: Vec<&str> = command.argument_texts().collect();
    certain
        && match (name, arguments.as_slice()) {
            ("node" | "nodejs", ["-e" | "-p" | "-pe" | "--eval" | "--print", code]) => {
                is_javascript(code)
            }
            (
                "perl",
                [
                    "-ne" | "-pe" | "-lne" | "-lpe" | "-nle" | "-ple",
                    code,
                    files @ ..,
                ],
            ) => is_perl(code) && files.iter().all(|file| is_plain_file(file)),
            _ => false,
        }
}

/// Expressions of literals, pure functions and `console.log`.
fn is_javascript(code: &str) -> bool {
    // No brackets, braces, assignments or templates: no name is made at run time, and no
    // function. No slashes: comments and patterns hide quotes. No `...`: what follows is
    // no attribute.
    let shaped = |byte: u8| byte.is_ascii_alphanumeric() || b" \n.,;:?()+-*%!&|".contains(&byte);
    if code.len() > LONGEST || code.contains("__") || code.contains("..") {
        return false;
    }
    let mut rest = code;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        if matches!(first, '\'' | '"') {
            let inside = rest.get(1..).unwrap_or_default();
            let Some((text, after)) = inside.split_once(first) else {
                return false;
            };
            if text.contains(['\\', '\n']) {
                return false;
            }
            before = first;
            rest = after;
            continue;
        }
        if first.is_ascii_alphabetic() || first == '_' || first == '$' {
            let length = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '$')
                .unwrap_or(rest.len());
            let (word, after) = rest.split_at(length);
            let known = if before == '.' {
                !LEADS_AWAY.contains(&word)
            } else {
                GLOBALS.contains(&word)
                    && match word {
                        "console" => after.starts_with(".log(") || after.starts_with(".error("),
                        // Data, which is parsed and not run.
                        "require" => literal(after).is_some_and(|path| {
                            path.starts_with("./") && path.ends_with(".json") && reads_plainly(path)
                        }),
                        _ => true,
                    }
            };
            if !known {
                return false;
            }
            before = 'a';
            rest = after;
            continue;
        }
        if !first.is_ascii() || !u8::try_from(first).is_ok_and(shaped) {
            return false;
        }
        if !first.is_ascii_whitespace() {
            before = first;
        }
        rest = rest.get(1..).unwrap_or_default();
    }
    true
}

/// The text in `('text')`, with which `rest` begins.
fn literal(rest: &str) -> Option<&str> {
    let inside = rest.strip_prefix('(')?;
    let quote = inside.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let (text, after) = inside.get(1..)?.split_once(quote)?;
    after.starts_with(')').then_some(text)
}

/// Prints lines, or lines that match, or lines with something replaced.
fn is_perl(code: &str) -> bool {
    let code = code.trim().trim_end_matches(';');
    if code.len() > LONGEST {
        return false;
    }
    if code == "print" {
        return true;
    }
    let pattern = ["print if /", "print unless /", "print if m/"]
        .iter()
        .find_map(|start| code.strip_prefix(start));
    if let Some((pattern, flags)) = pattern.and_then(|rest| rest.split_once('/')) {
        return is_pattern(pattern) && matches!(flags, "" | "i");
    }
    let Some(rest) = code.strip_prefix("s/") else {
        return false;
    };
    let parts: Vec<&str> = rest.split('/').collect();
    let [pattern, replacement, flags] = parts.as_slice() else {
        return false;
    };
    is_pattern(pattern)
        && replacement
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b" _-.,:;=#".contains(&byte))
        && flags.bytes().all(|flag| b"gi".contains(&flag))
}

/// Letters and simple wildcards: nothing that is a variable or holds code.
fn is_pattern(text: &str) -> bool {
    let text = text.strip_suffix('$').unwrap_or(text);
    !text.is_empty()
        && !text.ends_with('\\')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b" _-.^,:;=#*+|\\".contains(&byte))
}

/// A name of a file that Perl opens as such and does not run.
fn is_plain_file(text: &str) -> bool {
    !text.starts_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_is_harmless() {
        for code in [
            "console.log(1)",
            "console.log(1 + 2, 'a'.repeat(3))",
            "console.log(JSON.stringify(Math.max(1, 2)))",
            "require('./package.json').name",
            "console.log(require(\"./package.json\").version);",
        ] {
            assert!(is_javascript(code), "{code}");
        }
        for code in [
            "print if /x/",
            "print unless /^#/",
            "s/ok/x/",
            "s/total/sum/g",
            "print if /def .*\\s+total$/i",
        ] {
            assert!(is_perl(code), "{code}");
        }
    }

    #[test]
    fn everything_else_is_not_known_to_be() {
        for code in [
            "process.env",
            "require('fs').rmSync('a')",
            "require('./p.js')",
            "require('./a/../../b.json')",
            "require('/etc/x.json')",
            "require",
            "require.cache",
            "require('./a.json'+x)",
            "console.log.constructor('return process')()",
            "console.log['constructor']",
            "console . log.constructor",
            "console\n.log.constructor",
            "console._stdout",
            "'a'.constructor.constructor('x')()",
            "'a'. constructor",
            "x=1",
            "(()=>1)()",
            "`${1}`",
            "import('fs')",
            "eval('1')",
            "globalThis",
            "this",
            "String.prototype",
            "'\\u0063'",
            "\u{ff52}equire",
            "'unclosed",
            "/*'*/process/*'*/",
            "console.log(/'/, process.env, /'/)",
            "console.log(...process.argv)",
            "<!-- '",
        ] {
            assert!(!is_javascript(code), "{code}");
        }
        for code in [
            "",
            "system('ls')",
            "print if /$ENV{A}/",
            "print if /@{[`ls`]}/",
            "print if /(?{system 1})/",
            "print if /a/; unlink b",
            "print if /a/ && unlink 'b'",
            "s/a/`ls`/e",
            "s/a/b/ee",
            "s/a/$x/",
            "s/a/b/; print",
            "print if /a\\/",
            "s{a}{b}",
        ] {
            assert!(!is_perl(code), "{code}");
        }
        for file in ["ls |", "|ls", ">a", "-i", "a b", "$x"] {
            assert!(!is_plain_file(file), "{file}");
        }
    }
}
