//! `selfheal init`: writes `selfheal.toml` and `policy.toml`, makes the data
//! directory and the first admin.

use super::output::{self, Colour};
use crate::compose;
use crate::failure::{Because, Exit, Failure};
use clap::Args;
use selfheal_domain::user::{Role, UserName};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Sets Selfheal up beside an application.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  selfheal init                                  the application is in this directory
  selfheal init --app ../shop --data /var/lib/selfheal

Writes selfheal.toml and policy.toml into the current directory and prints the first
admin's token, once.")]
pub(crate) struct Init {
    /// The application's git repository
    #[arg(long, value_name = "DIR", default_value = ".")]
    app: PathBuf,
    /// Where journal, projection and worktrees go
    #[arg(long, value_name = "DIR", default_value = ".selfheal")]
    data: PathBuf,
    /// Name of the first admin
    #[arg(long, value_name = "NAME", default_value = "admin")]
    admin: String,
    /// Read the admin's password from standard input, for logging in on the web page
    #[arg(long)]
    password_stdin: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

impl Init {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let here = std::env::current_dir().because(Exit::Unavailable)?;
        let config_file = here.join("selfheal.toml");
        let policy_file = here.join("policy.toml");
        for file in [&config_file, &policy_file] {
            if file.exists() {
                let message = format!(
                    "{} is already there; edit it, or remove it to start over",
                    file.display()
                );
                return Err(Failure::new(Exit::Usage, message));
            }
        }
        let admin = UserName::new(self.admin.as_str()).because(Exit::Usage)?;
        let repository = compose::repository_root(&self.app)?;
        let password = if self.password_stdin {
            Some(super::user::read_password()?)
        } else {
            None
        };
        let data = compose::make_data_directory(&here.join(&self.data))?;
        let tests = detect_tests(&repository);

        let config = config_text(&here, &repository, &data, &tests);
        write_new(&config_file, &config)?;
        write_new(&policy_file, selfheal_policy_host::DEFAULT_POLICY_TOML)?;
        let token = compose::accounts::save_user(&data, &admin, Role::Admin, password.as_deref())?;

        let log_key = compose::accounts::log_key(&data)?;

        if self.json {
            output::json(&serde_json::json!({
                "config": config_file, "policy": policy_file, "data": data,
                "repository": repository, "admin": admin, "token": token, "tests": tests,
                "logKey": log_key,
            }));
            return Ok(Exit::Done);
        }
        output::line(format!(
            "{} {}",
            output::coloured(Colour::Green, "wrote"),
            config_file.display()
        ));
        output::line(format!(
            "{} {}",
            output::coloured(Colour::Green, "wrote"),
            policy_file.display()
        ));
        match tests.first() {
            Some(test) => {
                output::line(format!("tests: {test} (found in {})", repository.display()))
            }
            None => {
                output::line("tests: none found; name them under [verification] in selfheal.toml")
            }
        }
        output::line(format!("admin: {admin}\ntoken: {token}"));
        output::line(format!(
            "log key: {log_key}\n  (public; auditors keep it elsewhere: selfheal audit verify --key)"
        ));
        output::line("The token is shown only now. Next: selfheal serve");
        Ok(Exit::Done)
    }
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = std::fs::File::create_new(path).because(Exit::Unavailable)?;
    file.write_all(text.as_bytes()).because(Exit::Unavailable)?;
    file.sync_all().because(Exit::Unavailable)
}

fn config_text(here: &Path, repository: &Path, data: &Path, tests: &[String]) -> String {
    let relative = |path: &Path| match path.strip_prefix(here) {
        Ok(inner) if inner.as_os_str().is_empty() => ".".to_owned(),
        Ok(inner) => inner.display().to_string(),
        Err(_) => path.display().to_string(),
    };
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let tests: Vec<String> = tests.iter().map(|test| quoted(test)).collect();
    TEMPLATE
        .replace("{repository}", &quoted(&relative(repository)))
        .replace("{data}", &quoted(&relative(data)))
        .replace("{tests}", &tests.join(", "))
}

const TEMPLATE: &str = include_str!("selfheal.toml.template");

/// The commands that most likely run the repository's tests.
fn detect_tests(root: &Path) -> Vec<String> {
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap_or_default();
    let mut commands = Vec::new();
    commands.extend(python_tests(root));
    if let Ok(package) = serde_json::from_str::<serde_json::Value>(&read("package.json"))
        && let Some(script) = package
            .pointer("/scripts/test")
            .and_then(|script| script.as_str())
        && !script.contains("no test specified")
    {
        commands.push("npm test".to_owned());
    } else if root.join("test.js").exists() {
        commands.push("node test.js".to_owned());
    } else if test_files(root, "js", |name| {
        name.contains(".test.") || name.starts_with("test")
    })
    .next()
    .is_some()
    {
        commands.push("node --test".to_owned());
    }
    if commands.is_empty() && root.join("Cargo.toml").exists() {
        commands.push("cargo test --quiet --offline".to_owned());
    }
    if commands.is_empty()
        && read("Makefile")
            .lines()
            .any(|line| line.starts_with("test:"))
    {
        commands.push("make test".to_owned());
    }
    commands
}

fn python_tests(root: &Path) -> Option<String> {
    let is_test =
        |name: &str| name.starts_with("test_") || name.ends_with("_test.py") || name == "tests.py";
    let mut files = test_files(root, "py", is_test).peekable();
    let first = files.peek()?.clone();
    let texts: Vec<String> = files
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .collect();
    let configured = ["pytest.ini", "conftest.py", "tests/conftest.py"]
        .iter()
        .any(|name| root.join(name).exists());
    let uses = |word: &str| texts.iter().any(|text| text.contains(word));
    if configured || uses("import pytest") || (!uses("unittest") && !uses("__main__")) {
        return Some("python3 -m pytest -q".to_owned());
    }
    if uses("unittest") {
        let directory = first
            .parent()
            .and_then(|parent| parent.strip_prefix(root).ok())?;
        if directory.as_os_str().is_empty() {
            return Some("python3 -m unittest -q".to_owned());
        }
        // Tests in a package may import each other only from the top.
        let top = if root.join(directory).join("__init__.py").exists() {
            " -t ."
        } else {
            ""
        };
        return Some(format!(
            "python3 -m unittest discover -q -s {}{top}",
            directory.display()
        ));
    }
    let script = first.strip_prefix(root).ok()?;
    Some(format!("python3 {}", script.display()))
}

/// Test files in the root and in its `test` and `tests` directories, in order.
fn test_files<'a>(
    root: &'a Path,
    extension: &'a str,
    is_test: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = PathBuf> + 'a {
    let mut found: Vec<PathBuf> = ["", "tests", "test"]
        .iter()
        .filter_map(|directory| std::fs::read_dir(root.join(directory)).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(&is_test)
        })
        .collect();
    found.sort();
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(files: &[(&str, &str)]) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        detect_tests(root.path())
    }

    #[test]
    fn tests_are_detected_as_the_project_runs_them() {
        let check = |files: &[(&str, &str)], expected: &[&str]| {
            assert_eq!(detected(files), expected, "{files:?}")
        };
        check(
            &[("test_a.py", "import unittest")],
            &["python3 -m unittest -q"],
        );
        check(
            &[("tests/test_a.py", "import unittest")],
            &["python3 -m unittest discover -q -s tests"],
        );
        check(
            &[
                ("tests/test_a.py", "import unittest"),
                ("tests/__init__.py", ""),
            ],
            &["python3 -m unittest discover -q -s tests -t ."],
        );
        check(
            &[("tests/test_a.py", "def test_a(): pass")],
            &["python3 -m pytest -q"],
        );
        check(
            &[("test_a.py", "assert 1\nif __name__ == '__main__': pass")],
            &["python3 test_a.py"],
        );
        check(
            &[("package.json", r#"{"scripts":{"test":"node --test"}}"#)],
            &["npm test"],
        );
        check(&[("test/a.test.js", "")], &["node --test"]);
        check(&[("test.js", "")], &["node test.js"]);
        check(&[("Makefile", "all:\n\ntest:\n\ttrue\n")], &["make test"]);
        check(&[("README.md", "")], &[]);
    }

    #[test]
    fn what_the_template_says_of_models_is_true() {
        let start = TEMPLATE.find("# diagnosis_turns").unwrap();
        let end = TEMPLATE.find("[verification]").unwrap();
        let agent: String = TEMPLATE[start..end]
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.contains(" = ") || line.starts_with('['))
            .filter(|line| !line.contains("provider ="))
            .map(|line| format!("{line}\n"))
            .collect();
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("selfheal.toml");
        let text = format!("[application]\nrepository = \".\"\n[agent]\n{agent}");
        std::fs::write(&file, &text).unwrap();
        let agent = crate::config::Config::read(&file).unwrap().agent;
        assert_eq!((agent.models.len(), agent.mcp.len()), (2, 2), "{text}");
        let (limits, usual) = (agent.limits, selfheal_model::ModelLimits::default());
        assert_eq!(limits.diagnosis_turns, usual.diagnosis_turns);
        assert_eq!(limits.drafting_turns, usual.drafting_turns);
        assert_eq!(limits.tokens, usual.tokens);
        assert_eq!(limits.cost, Some(2.0));
    }

    #[test]
    fn the_written_configuration_can_be_read() {
        let root = tempfile::tempdir().unwrap();
        let here = root.path().canonicalize().unwrap();
        let text = config_text(
            &here,
            &here,
            &here.join(".selfheal"),
            &["say \"hi\"".to_owned()],
        );
        std::fs::write(here.join("selfheal.toml"), text).unwrap();
        let config = crate::config::Config::read(&here.join("selfheal.toml")).unwrap();
        assert_eq!(config.repository, here);
        assert_eq!(config.checks[0].command, "say \"hi\"");
    }
}
