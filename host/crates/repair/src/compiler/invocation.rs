//! Which checks run a Rust compiler, and how it is made to answer in JSON.

use selfheal_domain::agent::CheckCommand;

/// How the compiler is asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Build {
    /// For a shell that stands in the check's directory.
    pub(crate) command: String,
    /// Where the compiler is started, relative to the workspace.
    directory: String,
    workspace: String,
}

/// The check runs cargo or rustc itself.
pub(crate) fn applies(check: &CheckCommand) -> bool {
    Build::of(check, "").is_some()
}

/// A path without `.` and `..`; none when it leads out.
fn normal(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

impl Build {
    /// Understands `cd DIRECTORY && NAME=VALUE cargo test …` and the like.
    pub(crate) fn of(check: &CheckCommand, workspace: &str) -> Option<Self> {
        let command = check.command.trim().trim_end_matches("2>&1").trim();
        if command.contains(['|', ';', '<', '>', '$', '`', '\n', '(', '*', '?']) {
            return None;
        }
        let mut directory = normal(&check.directory)?;
        let mut out = String::new();
        let mut segments = command.split("&&").peekable();
        while let Some(segment) = segments.next() {
            let words = shlex::split(segment)?;
            if segments.peek().is_some() {
                let [cd, to] = words.as_slice() else {
                    return None;
                };
                if cd != "cd" || to.starts_with('/') {
                    return None;
                }
                directory = normal(&format!("{directory}/{to}"))?;
                out.push_str(segment.trim());
                out.push_str(" && ");
                continue;
            }
            let mut words = words;
            if words.first().is_some_and(|word| word == "env") {
                words.remove(0);
            }
            let first = words.iter().position(|word| !is_assignment(word))?;
            let arguments = words.split_off(first);
            let asked = ask(&arguments)?;
            for word in words {
                let (name, value) = word.split_once('=')?;
                out.push_str(&format!("{name}={} ", shlex::try_quote(value).ok()?));
            }
            out.push_str(&shlex::try_join(asked.iter().map(String::as_str)).ok()?);
        }
        Some(Self {
            command: out,
            directory,
            workspace: workspace.trim_end_matches('/').to_owned(),
        })
    }

    /// Where a file that the compiler names may be, relative to the workspace,
    /// likeliest first. Cargo starts the compiler in the package's workspace, so
    /// in the manifest's directory or above it.
    pub(crate) fn places(&self, file: &str, manifest: Option<&str>) -> Vec<String> {
        let inside = |path: &str| {
            path.strip_prefix(&self.workspace)
                .and_then(|rest| rest.strip_prefix('/'))
                .map(ToOwned::to_owned)
        };
        if file.starts_with('/') {
            return inside(file)
                .and_then(|path| normal(&path))
                .into_iter()
                .collect();
        }
        let mut base = match manifest {
            Some(manifest) => match inside(manifest) {
                Some(path) => path
                    .rsplit_once('/')
                    .map_or_else(String::new, |(parent, _)| parent.to_owned()),
                None => return Vec::new(),
            },
            None => {
                return normal(&format!("{}/{file}", self.directory))
                    .into_iter()
                    .collect();
            }
        };
        let mut out = Vec::new();
        loop {
            out.extend(normal(&format!("{base}/{file}")));
            if base.is_empty() {
                return out;
            }
            base = base
                .rsplit_once('/')
                .map_or_else(String::new, |(parent, _)| parent.to_owned());
        }
    }
}

/// The words that make the compiler answer in JSON and start nothing it built.
fn ask(words: &[String]) -> Option<Vec<String>> {
    let program = words.first()?;
    let mut out: Vec<String> = vec![program.clone()];
    let rest = words.get(1..)?;
    match program.as_str() {
        "rustc" => {
            if !rest.iter().any(|word| word.ends_with(".rs")) {
                return None;
            }
            out.push("--error-format=json".to_owned());
            out.extend(
                rest.iter()
                    .filter(|word| !word.starts_with("--error-format"))
                    .cloned(),
            );
        }
        "cargo" => {
            let mut rest = rest.iter().peekable();
            if let Some(toolchain) = rest.next_if(|word| word.starts_with('+')) {
                out.push(toolchain.clone());
            }
            let verb = rest.next()?.as_str();
            match verb {
                "build" | "b" | "run" | "r" => out.push("build".to_owned()),
                "check" | "c" => out.push("check".to_owned()),
                "clippy" => out.push("clippy".to_owned()),
                "test" | "t" => out.extend(["test".to_owned(), "--no-run".to_owned()]),
                _ => return None,
            }
            out.push("--message-format=json".to_owned());
            out.push("--offline".to_owned());
            let mut flags = true;
            let mut named = false;
            for word in rest {
                if word == "--" {
                    if verb != "clippy" {
                        break;
                    }
                    flags = false;
                }
                // What is not an option is the program's argument, or a test's name.
                let option = word.starts_with('-');
                let value = named;
                named = matches!(
                    word.as_str(),
                    "-p" | "--package"
                        | "--bin"
                        | "--example"
                        | "--test"
                        | "--bench"
                        | "--features"
                        | "-F"
                        | "--manifest-path"
                        | "--target"
                        | "--target-dir"
                        | "--profile"
                        | "--exclude"
                        | "-j"
                        | "--jobs"
                );
                if flags
                    && (!option && !value
                        || word.starts_with("--message-format")
                        || matches!(word.as_str(), "--offline" | "--no-run"))
                {
                    continue;
                }
                out.push(word.clone());
            }
        }
        _ => return None,
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;
    use std::time::Duration;

    fn build(command: &str) -> Option<Build> {
        let check = CheckCommand {
            command: command.into(),
            directory: String::new(),
            timeout: Duration::from_secs(1),
        };
        Build::of(&check, "/app")
    }

    #[test]
    fn compilers_are_recognised() {
        let asked = |command| build(command).map(|build| build.command);
        assert_eq!(
            asked("cargo test -q -p core name -- --nocapture").unwrap(),
            "cargo test --no-run '--message-format=json' --offline -q -p core"
        );
        assert_eq!(
            asked("cd core && RUSTFLAGS='-D warnings' cargo run --release 2>&1").unwrap(),
            "cd core && RUSTFLAGS='-D warnings' cargo build '--message-format=json' --offline --release"
        );
        assert_eq!(
            asked("rustc main.rs -o main").unwrap(),
            "rustc '--error-format=json' main.rs -o main"
        );
        for other in [
            "cargo install x",
            "pytest",
            "cargo build; rm x",
            "cd .. && cargo build",
            "python3 -c cargo",
            "rustc --version",
        ] {
            assert_eq!(asked(other), None, "{other}");
        }
    }

    #[test]
    fn files_are_found_from_the_manifest() {
        let build = build("cd core && cargo test").unwrap();
        assert_eq!(
            build.places("src/a.rs", Some("/app/core/Cargo.toml")),
            ["core/src/a.rs", "src/a.rs"]
        );
        assert_eq!(build.places("a.rs", None), ["core/a.rs"]);
        assert!(build.places("/etc/x.rs", None).is_empty());
        assert!(build.places("../../x.rs", None).is_empty());
        assert!(build.places("x.rs", Some("/else/Cargo.toml")).is_empty());
    }
}
