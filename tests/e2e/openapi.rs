//! What the OpenAPI document says is what the host does: schemathesis asks the running host,
//! as everybody who may ask, with what the document allows and with what it does not.

use crate::programs::cart;
use selfheal_tests::{TestHost, foreign_command};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A service that stays up.
const SERVICE: &str = "\n[[service]]\nname = \"web\"\ncommand = \"sleep 100000\"\n";
/// Seconds for an admin, who may do everything; the others are mostly refused.
const ADMIN_SECONDS: u32 = 26;
const OTHER_SECONDS: u32 = 6;

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis")
}

fn packages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/schemathesis")
}

/// A Python with schemathesis; none where it is not installed:
/// `pip install --target target/schemathesis -r tests/schemathesis/requirements.txt`.
fn python(home: &Path) -> Option<Command> {
    let found = packages().join("schemathesis").is_dir();
    let ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(found || !ci, "schemathesis is missing");
    if !found {
        println!("skipped: schemathesis is not installed");
        return None;
    }
    let path = std::env::join_paths([packages(), tools()]).unwrap();
    let mut command = foreign_command("python3");
    command
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("PYTHONPATH", path)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HOME", home)
        .current_dir(home);
    Some(command)
}

fn ask(host: &TestHost, who: &str, token: &str, seconds: u32, more: &[&str]) -> bool {
    let home = tempfile::tempdir().unwrap();
    let Some(mut command) = python(home.path()) else {
        return false;
    };
    command
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(tools().join("schemathesis.toml"))
        .arg("run")
        .arg(format!("{}/api/v1/openapi.json", host.url()))
        .args(["--max-time", &seconds.to_string(), "--no-color"])
        .args(more);
    if !token.is_empty() {
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).replace(token, "TOKEN");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "as {who}: {said}\n{error}");
    let told = said.lines().filter(|line| line.contains(" generated"));
    println!("{who}: {}", told.collect::<String>().trim());
    true
}

fn host_and_people() -> (
    selfheal_tests::Project,
    TestHost,
    [(&'static str, String); 4],
) {
    let project = cart();
    let host = TestHost::start(&project, |config, _| config.push_str(SERVICE));
    host.report(&host.admin, "The discount starts too late");
    let people = [
        ("admin", host.admin.clone()),
        ("user", host.user(&project, "ann", "user")),
        ("auditor", host.user(&project, "sue", "auditor")),
        ("nobody", String::new()),
    ];
    (project, host, people)
}

#[test]
fn the_host_does_what_its_document_says() {
    let (_project, host, people) = host_and_people();
    let [(admin, token), others @ ..] = &people;
    let phases = ["--phases", "examples,coverage"];
    std::thread::scope(|scope| {
        scope.spawn(|| ask(&host, admin, token, ADMIN_SECONDS, &phases));
        for (who, token) in others {
            ask(&host, who, token, OTHER_SECONDS, &phases);
        }
    });
    assert_eq!(host.send(&host.admin, "GET", "/issues", None).status, 200);
}

#[test]
#[ignore = "minutes; for a thorough look"]
fn the_host_does_what_its_document_says_for_long() {
    let (_project, host, people) = host_and_people();
    for (who, token) in &people {
        let phases = "examples,coverage,fuzzing,stateful";
        let most = ["--phases", phases, "--max-examples", "40"];
        ask(&host, who, token, 600, &most);
    }
}

#[test]
fn examples_are_what_their_schemas_accept() {
    let (_project, host, _) = host_and_people();
    let home = tempfile::tempdir().unwrap();
    let Some(mut command) = python(home.path()) else {
        return;
    };
    let (status, document) = host.fetch(&host.admin, "/openapi.json");
    assert_eq!(status, 200);
    let mut child = command
        .arg(tools().join("examples.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = child.stdin.take().unwrap();
    { input }.write_all(&document).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}
