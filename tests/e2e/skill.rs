//! The skill's golden runs: the commands of its example conversation, and the calls of the
//! same one over MCP, against a real host, come to what the conversation says.

mod tools;

use crate::programs::cart;
use selfheal_tests::{TestHost, foreign_command};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn skill() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../skills/self-healing")
}

/// What stands in a fence of the conversation.
enum Fence {
    /// The assistant writes this file.
    File(String, String),
    /// Commands and what they print.
    Console(String),
}

fn fences(text: &str) -> Vec<Fence> {
    let mut parts = text.split("\n```");
    let mut found = Vec::new();
    parts.next();
    while let Some(part) = parts.next() {
        let (kind, body) = part.split_once('\n').unwrap();
        match kind.split_once(' ').map_or((kind, ""), |both| both) {
            ("console", "") => found.push(Fence::Console(body.to_owned())),
            ("json", name) => found.push(Fence::File(name.to_owned(), body.to_owned())),
            other => panic!("{other:?}"),
        }
        // What follows the closing fence is conversation.
        parts.next();
    }
    found
}

/// The commands of a console with what each prints.
fn commands(console: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    for line in console.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command.to_owned(), String::new())),
            (None, Some((_, printed))) => printed.push_str(&format!("{line}\n")),
            (None, None) => panic!("{line}: no command before it"),
        }
    }
    commands
}

#[test]
fn the_golden_run_is_true() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let token = host.user(&project, "ada", "user");
    let home = tempfile::tempdir().unwrap();
    let run = |command: &str| {
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("python3"), "{command}");
        let script = skill().join(words.next().unwrap());
        let output = foreign_command("python3")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SELFHEAL_URL", host.url())
            .env("SELFHEAL_TOKEN", &token)
            .current_dir(home.path())
            .arg("-B")
            .arg(script)
            .args(words)
            .output()
            .unwrap();
        let mut printed = String::from_utf8(output.stdout).unwrap();
        printed.push_str(&String::from_utf8(output.stderr).unwrap());
        match output.status.code() {
            Some(0) => {}
            code => printed.push_str(&format!("[{}]\n", code.unwrap_or(-1))),
        }
        printed
    };

    let text = std::fs::read_to_string(skill().join("references/golden-run.md")).unwrap();
    let (mut code, mut ran) = (String::new(), 0);
    for fence in fences(&text) {
        match fence {
            Fence::File(name, body) => std::fs::write(home.path().join(name), body).unwrap(),
            Fence::Console(console) => {
                for (command, expected) in commands(&console) {
                    let printed = run(&command.replace("CODE", &code));
                    if let Some((_, new)) = printed.split_once("Code of this report: ") {
                        code = new.trim().to_owned();
                    }
                    let expected = expected
                        .replace("CODE", &code)
                        .replace("http://HOST", host.url());
                    assert_eq!(printed, expected, "{command}");
                    ran += 1;
                }
            }
        }
    }
    assert_eq!(ran, 8, "commands of the golden run");

    let issue = host.admin("GET", "/issues/1", None);
    assert_eq!(
        (
            &issue["source"],
            &issue["reportedBy"],
            &issue["actualBehavior"]
        ),
        (
            &json!("skill"),
            &json!("ada"),
            &json!("The total is 100.00.")
        )
    );
    // Sending the same report again makes no second issue.
    let again = run(&format!(
        "python3 scripts/report.py send report.json --shown {code}"
    ));
    assert!(again.starts_with("Sent as issue 1:"), "{again}");
    let all = host.admin("GET", "/issues", None);
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1));

    std::fs::write(home.path().join("more.txt"), "Order 1004, too.").unwrap();
    let commented = run("python3 scripts/report.py comment 1 more.txt");
    assert!(
        commented.starts_with("Commented on issue 1:"),
        "{commented}"
    );
    let issue = host.admin("GET", "/issues/1", None);
    assert_eq!(issue["comments"][0]["content"], "Order 1004, too.");

    // The example is a whole report, and looks like what was sent.
    let example = std::fs::read_to_string(skill().join("references/example.json")).unwrap();
    serde_json::from_str::<Value>(&example).unwrap();
    std::fs::write(home.path().join("example.json"), example).unwrap();
    let shown = run("python3 scripts/report.py show example.json");
    assert!(
        shown.contains("Issues that look alike:\n1  OPEN"),
        "{shown}"
    );
}

/// The reference validator of the format, where it is installed: `pip install --target
/// target/skills-ref -r tests/skills-ref.txt`.
#[test]
fn the_skill_has_the_format_of_agent_skills() {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/skills-ref");
    let output = foreign_command("python3")
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["-c", "import sys; from skills_ref.cli import main; main()"])
        .args(["validate", "self-healing"])
        .current_dir(skill().join(".."))
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    if error.contains("No module named 'skills_ref'") {
        let ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(!ci, "the validator is missing: {error}");
        println!("skipped: skills-ref is not installed");
        return;
    }
    assert!(output.status.success(), "{error}");
}

#[test]
fn nobody_gets_the_token_but_the_host() {
    for url in [
        "http://selfheal.example",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "x",
    ] {
        let output = foreign_command("python3")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("SELFHEAL_URL", url)
            .env("SELFHEAL_TOKEN", "sfh_secret")
            .args(["-B", "scripts/report.py", "mine"])
            .current_dir(skill())
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{url}: {error}");
        assert!(
            error.contains("must be https") && !error.contains("sfh_secret"),
            "{error}"
        );
    }
}
