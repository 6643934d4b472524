//! Understanding a check command: which interpreter runs which tests.

use selfheal_domain::agent::CheckCommand;

/// How a command runs its tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// `pytest …`, `python -m pytest …`.
    Pytest,
    /// `python -m unittest …`.
    Unittest,
    /// `python file.py …`.
    Script,
    /// `python -m anything …`.
    Module,
    /// `python -c text`.
    Inline,
    /// `node file.js …` and `node --test …`.
    Node,
    /// `npx mocha`, `mocha`, `jest`: runs in a fresh process each time.
    Other,
}

/// A command, taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Invocation {
    pub(crate) kind: Kind,
    /// What starts the language, as words for a shell; empty for the one on the path.
    pub(crate) interpreter: Vec<String>,
    /// Arguments after the interpreter's own.
    pub(crate) argv: Vec<String>,
    /// Relative to the workspace; empty for its root.
    pub(crate) directory: String,
    /// Assignments in front of the command.
    pub(crate) env: Vec<(String, String)>,
    /// Started with `-m`: the current directory is importable.
    pub(crate) module: bool,
}

/// Takes a check command apart; `scripts` gives the text of a named script of
/// the package manifest (`npm test`).
pub(crate) fn understand(
    check: &CheckCommand,
    scripts: &dyn Fn(&str, &str) -> Option<String>,
) -> Invocation {
    let mut directory = check.directory.clone();
    let mut text = check.command.trim().to_owned();
    for _ in 0..4 {
        match step(&text, &mut directory, scripts) {
            Step::Again(next) => text = next,
            Step::Done(invocation) => return invocation,
            Step::Unknown => break,
        }
    }
    Invocation {
        kind: Kind::Other,
        interpreter: Vec::new(),
        argv: vec![check.command.clone()],
        directory: check.directory.clone(),
        env: Vec::new(),
        module: false,
    }
}

enum Step {
    Again(String),
    Done(Invocation),
    Unknown,
}

fn step(
    text: &str,
    directory: &mut String,
    scripts: &dyn Fn(&str, &str) -> Option<String>,
) -> Step {
    if let Some((first, rest)) = text.split_once("&&")
        && let Some(words) = shlex::split(first.trim())
        && let [cd, target] = words.as_slice()
        && cd == "cd"
        && !target.starts_with(['/', '~', '-', '$'])
    {
        *directory = join(directory, target);
        return Step::Again(rest.trim().to_owned());
    }
    let text = text.strip_suffix("2>&1").unwrap_or(text).trim();
    let quoted = text.contains('\'') || text.contains('"');
    if !quoted
        && text.contains([
            '|', ';', '&', '<', '>', '`', '$', '(', '\n', '*', '?', '#', '~',
        ])
    {
        return Step::Unknown;
    }
    let Some(mut words) = shlex::split(text) else {
        return Step::Unknown;
    };
    if quoted
        && words.iter().any(|word| {
            matches!(
                word.as_str(),
                "|" | "||" | "&&" | "&" | ";" | ">" | "<" | ">>" | "2>&1"
            )
        })
    {
        return Step::Unknown;
    }
    let mut env = Vec::new();
    loop {
        let Some(first) = words.first().cloned() else {
            return Step::Unknown;
        };
        if let Some((name, value)) = first.split_once('=')
            && !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            env.push((name.to_owned(), value.to_owned()));
            words.remove(0);
        } else if matches!(first.as_str(), "env" | "exec" | "command" | "nice") {
            words.remove(0);
            if words.first().is_some_and(|word| word.starts_with('-')) {
                return Step::Unknown;
            }
        } else if first == "timeout" && words.len() > 2 {
            words.drain(..2);
        } else if matches!(first.as_str(), "npx")
            && words.get(1).is_some_and(|word| !word.starts_with('-'))
        {
            words.remove(0);
        } else {
            break;
        }
    }
    let Some(program) = words.first().cloned() else {
        return Step::Unknown;
    };
    let rest: Vec<String> = words.iter().skip(1).cloned().collect();
    let base = program.rsplit('/').next().unwrap_or(&program).to_owned();
    if matches!(base.as_str(), "npm" | "yarn" | "pnpm") {
        return package_script(&base, &rest, directory, scripts);
    }
    let done = |kind, interpreter: Vec<String>, argv, module| {
        Step::Done(Invocation {
            kind,
            interpreter,
            argv,
            directory: directory.clone(),
            env: env.clone(),
            module,
        })
    };
    if matches!(base.as_str(), "pytest" | "py.test") {
        let interpreter = if program.contains('/') {
            vec![format!("{}python", program.trim_end_matches(base.as_str()))]
        } else {
            vec![]
        };
        return done(Kind::Pytest, interpreter, rest, false);
    }
    if base.starts_with("python") && base.chars().skip(6).all(|c| c.is_ascii_digit() || c == '.') {
        return python(program, rest, done);
    }
    if matches!(base.as_str(), "node" | "nodejs") {
        return done(Kind::Node, vec![program], rest, false);
    }
    if matches!(base.as_str(), "mocha" | "_mocha" | "jest") {
        let flag = if base == "jest" { "--jest" } else { "--mocha" };
        let mut argv = vec![flag.to_owned()];
        argv.extend(rest);
        return done(Kind::Node, vec!["node".to_owned()], argv, false);
    }
    Step::Unknown
}

fn python(
    program: String,
    rest: Vec<String>,
    done: impl Fn(Kind, Vec<String>, Vec<String>, bool) -> Step,
) -> Step {
    let mut interpreter = vec![program];
    let mut words = rest.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-m" => {
                let Some(module) = words.next() else {
                    return Step::Unknown;
                };
                let argv: Vec<String> = words.collect();
                return match module.as_str() {
                    "pytest" | "py.test" => done(Kind::Pytest, interpreter, argv, true),
                    "unittest" => done(Kind::Unittest, interpreter, argv, true),
                    _ => {
                        let mut all = vec![module];
                        all.extend(argv);
                        done(Kind::Module, interpreter, all, true)
                    }
                };
            }
            "-c" => return done(Kind::Inline, interpreter, words.collect(), false),
            "-B" | "-u" | "-O" | "-OO" | "-s" | "-v" | "-b" | "-bb" | "-d" | "-q" => {
                interpreter.push(word)
            }
            "-W" | "-X" => {
                interpreter.push(word);
                let Some(value) = words.next() else {
                    return Step::Unknown;
                };
                interpreter.push(value);
            }
            _ if word.starts_with('-') => return Step::Unknown,
            _ => {
                let mut argv = vec![word];
                argv.extend(words);
                return done(Kind::Script, interpreter, argv, false);
            }
        }
    }
    Step::Unknown
}

fn package_script(
    tool: &str,
    rest: &[String],
    directory: &mut String,
    scripts: &dyn Fn(&str, &str) -> Option<String>,
) -> Step {
    let mut words = rest
        .iter()
        .map(String::as_str)
        .filter(|word| !matches!(*word, "--silent" | "-s" | "-q"));
    let mut name = words.next().unwrap_or_default();
    if name == "--prefix" || name == "-C" {
        let Some(target) = words.next() else {
            return Step::Unknown;
        };
        *directory = join(directory, target);
        name = words.next().unwrap_or_default();
    }
    if name == "run" || name == "run-script" {
        name = words.next().unwrap_or_default();
    }
    if name == "t" {
        name = "test";
    }
    if name.is_empty() || (tool == "npm" && matches!(name, "install" | "ci" | "exec")) {
        return Step::Unknown;
    }
    let mut extra: Vec<&str> = words.collect();
    extra.retain(|word| *word != "--");
    match scripts(directory, name) {
        Some(script) if extra.is_empty() => Step::Again(script),
        Some(script) => match shlex::try_join(extra) {
            Ok(extra) => Step::Again(format!("{script} {extra}")),
            Err(_) => Step::Unknown,
        },
        None => Step::Unknown,
    }
}

fn join(directory: &str, target: &str) -> String {
    let mut parts: Vec<&str> = directory
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// Is this file a witness by its name, never to be edited?
pub(crate) fn is_witness(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').collect();
    let name = parts.pop().unwrap_or_default().to_ascii_lowercase();
    let stem = name
        .rsplit_once('.')
        .map_or(name.as_str(), |(stem, _)| stem);
    selfheal_domain::patch::is_test_path(path)
        || name.starts_with("tests_")
        || stem == "spec"
        || stem.ends_with("_tests")
        || stem.ends_with("_spec")
        || parts.contains(&"fixtures")
}

/// Is this file outside what a repair may touch: installed packages, generated trees?
pub(crate) fn is_foreign(path: &str) -> bool {
    path.split('/').any(|part| {
        matches!(
            part,
            "node_modules"
                | "site-packages"
                | "venv"
                | "env"
                | "__pycache__"
                | "dist"
                | "build"
                | "target"
                | "vendor"
        ) || (part.starts_with('.') && part.len() > 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn check(command: &str) -> Invocation {
        let check = CheckCommand {
            command: command.into(),
            directory: String::new(),
            timeout: Duration::from_secs(5),
        };
        understand(&check, &|_, name| {
            (name == "test").then(|| "node --test test/".to_owned())
        })
    }

    #[test]
    fn common_commands_are_understood() {
        let cases = [
            ("pytest -q", Kind::Pytest, "", vec!["-q"]),
            (
                "python3 -m pytest tests/test_a.py -x",
                Kind::Pytest,
                "",
                vec!["tests/test_a.py", "-x"],
            ),
            (
                "cd app && python -m unittest discover -s tests",
                Kind::Unittest,
                "app",
                vec!["discover", "-s", "tests"],
            ),
            (
                "PYTHONPATH=src python3 run.py --fast",
                Kind::Script,
                "",
                vec!["run.py", "--fast"],
            ),
            ("node test.js", Kind::Node, "", vec!["test.js"]),
            ("npm test", Kind::Node, "", vec!["--test", "test/"]),
            (
                "npm run test -- --test-name-pattern=a",
                Kind::Node,
                "",
                vec!["--test", "test/", "--test-name-pattern=a"],
            ),
            (
                "python3 -c 'import a; a.f()'",
                Kind::Inline,
                "",
                vec!["import a; a.f()"],
            ),
        ];
        for (command, kind, directory, argv) in cases {
            let got = check(command);
            assert_eq!(
                (
                    got.kind,
                    got.directory.as_str(),
                    got.argv.iter().map(String::as_str).collect::<Vec<_>>()
                ),
                (kind, directory, argv),
                "{command}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_runs_as_it_is() {
        for command in [
            "make test",
            "pytest | tee log",
            "a=$(x) pytest",
            "sh run.sh",
            "pytest; true",
            "tox -e py",
        ] {
            assert_eq!(check(command).kind, Kind::Other, "{command}");
        }
    }

    #[test]
    fn tests_are_witnesses() {
        for path in [
            "tests/a.py",
            "test_x.py",
            "pkg/x_test.py",
            "a.test.js",
            "src/__tests__/b.js",
            "conftest.py",
            "test.js",
        ] {
            assert!(is_witness(path), "{path}");
        }
        for path in ["src/a.py", "contest.py", "latest.js", "testing_room.py"] {
            assert!(!is_witness(path), "{path}");
        }
    }
}
