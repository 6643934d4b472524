//! The right to be forgotten, through the binary: what somebody wrote is gone, the log
//! holds.

use crate::programs::cart;
use selfheal_tests::{TestHost, signal};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const TITLE: &str = "Zelda Quux cannot pay";
const DESCRIPTION: &str = "Call me at 555-0199.";
const STEPS: &str = "Look at the order of zquux.";
const COMMENT: &str = "My address is Quux Lane 7.";
const ERASED: &str = "[erased]";

/// Files below `directory` that hold `text`, in any case.
fn holding(directory: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, text));
        } else if path.is_file() {
            let bytes = std::fs::read(&path).unwrap().to_ascii_lowercase();
            let text = text.to_ascii_lowercase();
            if bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
            {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn somebody_who_is_erased_is_gone_from_everywhere_and_the_log_holds() {
    let project = cart();
    let outside = project.outside();
    let data = outside.join("data");
    let host = TestHost::start(&project, |_, _| {});
    let zelda = host.user(&project, "zquux", "user");
    let report = json!({
        "title": TITLE, "description": DESCRIPTION, "stepsToReproduce": STEPS,
    });
    let answer = host.send(&zelda, "POST", "/issues", Some(report));
    assert_eq!(answer.status, 201, "{answer:?}");
    let path = format!("/issues/{}", answer.body["number"]);
    let comment = json!({ "content": COMMENT });
    let answer = host.send(&zelda, "POST", &format!("{path}/comments"), Some(comment));
    assert_eq!(answer.status, 201, "{answer:?}");
    let kept = json!({ "content": "An admin's own words." });
    host.admin("POST", &format!("{path}/comments"), Some(kept));
    let issue = host.admin("GET", &path, None);
    assert_eq!(
        (&issue["title"], &issue["description"]),
        (&json!(TITLE), &json!(DESCRIPTION))
    );
    // Not in clear on record, not even now.
    for text in ["quux", "555-0199"] {
        let found = holding(&data.join("journal"), text);
        assert!(found.is_empty(), "{text}: {found:?}");
    }
    let erase = ["user", "erase", "zquux", "--json"];
    let refused = project.selfheal_in(&outside, &erase);
    assert_eq!(refused.code, 4, "a host runs: {refused:?}");

    signal("TERM", host.pid());
    let admin = host.ended();
    let erased = project.selfheal_in(&outside, &erase);
    assert_eq!(erased.code, 0, "{erased:?}");
    let subject = erased.json()["subject"].as_str().unwrap().to_owned();
    for text in ["quux", "555-0199"] {
        let found = holding(&data, text);
        assert!(found.is_empty(), "{text}: {found:?}");
    }
    let verified = project.selfheal_in(&outside, &["audit", "verify"]);
    assert_eq!(verified.code, 0, "{verified:?}");
    for words in [&["audit", "log", "--json"][..], &["audit", "export"]] {
        let told = project.selfheal_in(&outside, words);
        assert_eq!(told.code, 0, "{told:?}");
        let told = told.stdout.to_ascii_lowercase();
        assert!(
            !told.contains("quux") && !told.contains("555-0199"),
            "{told}"
        );
        assert!(
            told.contains("user.erased") && told.contains(&subject),
            "{told}"
        );
    }

    let host = TestHost::restart(&project, admin);
    let issue = host.admin("GET", &path, None);
    for field in ["title", "description", "stepsToReproduce", "reportedBy"] {
        assert_eq!(issue[field], ERASED, "{field} in {issue}");
    }
    let said: Vec<&Value> = issue["comments"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&said[0]["author"], &said[0]["content"]),
        (&json!(ERASED), &json!(ERASED))
    );
    assert_eq!(said[1]["content"], "An admin's own words.");
    for path in ["/issues?q=quux", "/issues?q=555-0199"] {
        let found = host.admin("GET", path, None);
        assert_eq!(found["items"], json!([]), "{path}");
    }
    let everything = [&path, "/users", "/audit", &format!("{path}/events")]
        .map(|path| {
            host.admin("GET", path, None)
                .to_string()
                .to_ascii_lowercase()
        })
        .concat();
    assert!(!everything.contains("quux"), "{everything}");
    assert_eq!(host.send(&zelda, "GET", "/issues", None).status, 401);
    // The heal of what was reported goes on.
    host.admin("PATCH", &format!("{path}/approve"), None);
}
