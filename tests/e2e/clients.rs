//! The client examples of `docs/clients` do what they say, against the real host.

use crate::programs::cart;
use selfheal_tests::{TestHost, eventually, foreign_command};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What an example prints; an admin rejects its report while it follows it.
fn outcome(host: &TestHost, mut example: Command) -> String {
    let before = host.admin("GET", "/issues", None)["items"]
        .as_array()
        .map_or(0, Vec::len);
    let child = example
        .args(["The page is blue", "It should be green."])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let number = eventually("the example reported", Duration::from_secs(120), || {
        let listed = host.admin("GET", "/issues", None);
        let items = listed["items"].as_array().unwrap();
        (items.len() > before).then(|| items[0]["number"].as_u64().unwrap())
    });
    let reason = json!({ "reason": "it is meant to be blue" });
    host.admin("PATCH", &format!("/issues/{number}/reject"), Some(reason));
    let output = child.wait_with_output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let issue = host.admin("GET", &format!("/issues/{number}"), None);
    assert_eq!(issue["source"], "api");
    said.replace(&number.to_string(), "N")
}

fn text(output: &Output) -> String {
    let (said, error) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(said),
        String::from_utf8_lossy(error)
    )
}

/// What every example says, in every language.
fn check(host: &TestHost, example: impl Fn() -> Command) {
    let said = outcome(host, example());
    for part in [
        "reported as issue N, which is OPEN",
        "issue.opened: ",
        "issue.rejected: ",
        "N REJECTED The page is blue",
        "The first of them",
        "The second of them",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let output = example()
        .args(["", "It should be green."])
        .output()
        .unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let refusal = "422 The input is not valid: title must not be empty";
    assert!(said.contains(refusal), "{said}");
}

fn host() -> (selfheal_tests::Project, TestHost, String) {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let ann = host.user(&project, "ann", "user");
    // With the example's own that is more than one page of it.
    for title in ["The first of them", "The second of them"] {
        host.report(&ann, title);
    }
    (project, host, ann)
}

/// A program, with nothing but its path and who asks.
fn program(name: &str, host: &TestHost, token: &str) -> Command {
    let mut command = foreign_command(name);
    command
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("SELFHEAL_URL", host.url())
        .env("SELFHEAL_TOKEN", token);
    command
}

#[test]
fn the_python_client_keeps_to_the_document() {
    let packages = root().join("target/schemathesis");
    let checked = packages.join("jsonschema_rs").is_dir();
    let ci = std::env::var("CI").as_deref() == Ok("true");
    assert!(
        checked || !ci,
        "jsonschema_rs comes with schemathesis, which is missing"
    );
    let (_project, host, ann) = host();
    let client = root().join("docs/clients/python/selfheal_client.py");
    check(&host, || {
        let mut command = program("python3", &host, &ann);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        if checked {
            // The same program, each request and answer held against the document.
            let checker = root().join("tests/schemathesis/client.py");
            command.env("PYTHONPATH", &packages).arg(checker);
        }
        command.arg(&client);
        command
    });
}

#[test]
fn the_typescript_client_compiles_against_the_document_and_runs() {
    let tools = root().join("web/node_modules/.bin");
    if !tools.is_dir() {
        let ci = std::env::var("CI").as_deref() == Ok("true");
        assert!(!ci, "the page's packages are missing: npm ci in web/");
        println!("skipped: the page's packages are not installed");
        return;
    }
    let (_project, host, ann) = host();
    // Inside of web/, where its packages are found.
    let results = root().join("web/test-results");
    std::fs::create_dir_all(&results).unwrap();
    let place = tempfile::tempdir_in(results).unwrap();
    for name in ["report.ts", "package.json", "tsconfig.json"] {
        let from = root().join("docs/clients/typescript").join(name);
        std::fs::copy(from, place.path().join(name)).unwrap();
    }
    let document = format!("{}/api/v1/openapi.json", host.url());
    let generate: &[&str] = &[
        &document,
        "--default-non-nullable=false",
        "-o",
        "schema.d.ts",
    ];
    for (tool, arguments) in [("openapi-typescript", generate), ("tsc", &[])] {
        let mut command = program("node", &host, "");
        let output = command
            .current_dir(&place)
            .arg(tools.join(tool))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{tool}: {}", text(&output));
    }
    check(&host, || {
        let mut command = program("node", &host, &ann);
        command.arg(place.path().join("dist/report.js"));
        command
    });
}
