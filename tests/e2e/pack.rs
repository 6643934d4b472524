//! The evidence pack: saved by an auditor, read and checked with tools of others.

use crate::programs::cart;
use selfheal_tests::{TestHost, foreign_command};
use std::path::Path;
use std::process::Output;

fn run(directory: &Path, command: &str) -> Output {
    foreign_command("/bin/sh")
        .args(["-c", command])
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir(directory)
        .output()
        .unwrap()
}

/// Runs a command line in `directory`; it must succeed.
fn shell(directory: &Path, command: &str) -> String {
    let output = run(directory, command);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_auditor_saves_reads_and_checks_the_evidence_of_a_heal() {
    let project = cart();
    let host = TestHost::start(&project, |_, _| {});
    let auditor = host.user(&project, "eve", "auditor");
    let user = host.user(&project, "ann", "user");
    host.level(3);
    let hostile = "</title><script>alert(1)</script>\u{202e} The discount starts too late";
    let number = host.report(&user, hostile);
    host.admin("PATCH", &format!("/issues/{number}/approve"), None);
    let issue = host.wait_for(number, &["RESOLVED", "ESCALATED"]);
    assert_eq!(issue["status"], "RESOLVED", "{issue}");

    let number = number.to_string();
    let outside = project.outside();
    let save = |token: &str| {
        let words = ["issue", "pack", number.as_str(), "--output", "evidence.zip"];
        let environment = [("SELFHEAL_URL", host.url()), ("SELFHEAL_TOKEN", token)];
        project.selfheal_with(&outside, &words, &environment)
    };
    assert_eq!(save(&user).code, 3, "not even the reporter");
    let ran = save(&auditor);
    assert_eq!(ran.code, 0, "{ran:?}");

    let pack = outside.join("pack");
    std::fs::create_dir(&pack).unwrap();
    shell(&pack, "python3 -m zipfile --extract ../evidence.zip .");
    let checked = shell(&pack, "sha256sum --check MANIFEST.sha256");
    for file in [
        "index.html",
        "README.md",
        "issue.json",
        "records.jsonl",
        "decisions.json",
        "run-1/patch.diff",
    ] {
        assert!(checked.contains(&format!("{file}: OK")), "{checked}");
    }
    let page = std::fs::read_to_string(pack.join("index.html")).unwrap();
    assert!(!page.contains("<script") && !page.contains('\u{202e}'));
    assert!(page.contains("&lt;script&gt;") && page.contains("default-src 'none'"));
    let readme = std::fs::read_to_string(pack.join("README.md")).unwrap();
    let commit = project.git(&["rev-parse", "main"]);
    assert!(
        readme.contains(&format!("git verify-commit {}", commit.trim())),
        "{readme}"
    );
    // What the README says proves that every record is in the log, and finds a changed one.
    let check: String = readme
        .lines()
        .skip_while(|line| !line.starts_with("    python3 - <<'CHECK'"))
        .map_while(|line| line.strip_prefix("    "))
        .map(|line| format!("{line}\n"))
        .collect();
    let proved = shell(&pack, &check);
    assert!(proved.contains("records are in the log"), "{proved}");
    let proofs = std::fs::read_to_string(pack.join("proof/inclusion.json")).unwrap();
    let forged = outside.join("forged");
    std::fs::create_dir_all(forged.join("proof")).unwrap();
    std::fs::copy(pack.join("records.jsonl"), forged.join("records.jsonl")).unwrap();
    let at = proofs.find("\"hashes\"").unwrap();
    let (before, after) = proofs.split_at(at);
    let changed = after.replacen(['0', '1', '2', '3'], "e", 1);
    std::fs::write(
        forged.join("proof/inclusion.json"),
        format!("{before}{changed}"),
    )
    .unwrap();
    let refused = run(&forged, &check);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && error.contains("not in the log"),
        "{error}"
    );

    let diff = std::fs::read_to_string(pack.join("run-1/patch.diff")).unwrap();
    assert!(diff.contains("cart.py") && page.contains("cart.py"));
    let records = std::fs::read_to_string(pack.join("records.jsonl")).unwrap();
    let decisions = std::fs::read_to_string(pack.join("decisions.json")).unwrap();
    assert!(records.contains("issue.resolved") && decisions.contains("\"facts\""));
}
