//! `tidy`: the layering between our crates, who may name which engine, the rules
//! that every source file keeps, and the lines of the contract that never change.

use crate::{powers, wit_freeze};
use anyhow::{Context, Result, bail};
use selfheal_guest_build::process::{cargo, output};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which of our crates may depend on which; dev-dependencies are free. A crate
/// that is not listed may depend on none of ours.
const EDGES: [(&str, &[&str]); 23] = [
    ("selfheal-domain", &[]),
    ("selfheal-audit", &["selfheal-domain"]),
    ("selfheal-store", &["selfheal-domain", "selfheal-audit"]),
    ("selfheal-policy-source", &["selfheal-domain"]),
    (
        "selfheal-policy-host",
        &["selfheal-domain", "selfheal-policy-source"],
    ),
    ("selfheal-sandbox", &["selfheal-domain"]),
    (
        "selfheal-worktree",
        &["selfheal-domain", "selfheal-sandbox"],
    ),
    ("selfheal-agent", &["selfheal-domain", "selfheal-sandbox"]),
    ("selfheal-repair", &["selfheal-domain"]),
    ("selfheal-model", &["selfheal-domain"]),
    ("selfheal-external-agent", &["selfheal-domain"]),
    ("selfheal-mcp", &["selfheal-domain"]),
    (
        "selfheal-services",
        &["selfheal-domain", "selfheal-sandbox"],
    ),
    ("selfheal-pipeline", &["selfheal-domain"]),
    ("selfheal-evidence", &["selfheal-domain"]),
    (
        "selfheal-api",
        &["selfheal-domain", "selfheal-evidence", "selfheal-pipeline"],
    ),
    ("selfheal-oidc", &["selfheal-domain"]),
    ("selfheal-guest-build", &[]),
    ("selfheal-policy-sdk", &[]),
    ("selfheal-faults", &[]),
    ("selfheal-tests", &["selfheal-faults"]),
    ("xtask", &["selfheal-guest-build"]),
    (
        "selfheal",
        &[
            "selfheal-domain",
            "selfheal-audit",
            "selfheal-store",
            "selfheal-policy-host",
            "selfheal-policy-source",
            "selfheal-sandbox",
            "selfheal-worktree",
            "selfheal-agent",
            "selfheal-repair",
            "selfheal-model",
            "selfheal-external-agent",
            "selfheal-mcp",
            "selfheal-oidc",
            "selfheal-services",
            "selfheal-pipeline",
            "selfheal-api",
            "selfheal-guest-build",
        ],
    ),
];

/// Guests may depend on the SDK and on nothing else of ours.
const GUEST_PREFIX: &str = "selfheal-policy-";

/// Engines, and the only crates that name them.
const ENGINES: [(&str, &[&str]); 13] = [
    ("sled", &["selfheal-store"]),
    ("wasmtime", &["selfheal-policy-host"]),
    ("git2", &["selfheal-worktree"]),
    ("libgit2-sys", &["selfheal-worktree"]),
    (
        "ed25519-dalek",
        &["selfheal-policy-source", "selfheal-worktree"],
    ),
    ("ring", &["selfheal-audit"]),
    ("openidconnect", &["selfheal-oidc"]),
    ("oci-client", &["selfheal-policy-source"]),
    ("reqwest", &["selfheal-mcp", "selfheal-model"]),
    (
        "rustls",
        &[
            "selfheal-api",
            "selfheal-mcp",
            "selfheal-model",
            "selfheal-policy-source",
        ],
    ),
    ("tokio-rustls", &["selfheal-api"]),
    ("sse-stream", &["selfheal-model"]),
    ("zip", &["selfheal-evidence"]),
];

/// Longest module, in lines.
const LONGEST: usize = 800;
/// Checks everything and reports all findings at once.
pub(crate) fn run(root: &Path) -> Result<()> {
    let metadata = output(
        Command::new(cargo())
            .args(["metadata", "--no-deps", "--format-version=1", "--locked"])
            .current_dir(root),
    )?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    let mut findings = layering(&metadata);
    let mut files = Vec::new();
    for directory in ["guest-sdk", "host", "policies", "tests"] {
        sources(&root.join(directory), &mut files)?;
    }
    files.sort();
    for file in &files {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let shown = file
            .strip_prefix(root)
            .unwrap_or(file)
            .to_string_lossy()
            .into_owned();
        findings.extend(file_rules(&shown, &text));
        findings.extend(powers::findings(&shown, &text));
        findings.extend(length(&shown, text.lines().count()));
    }
    let map = root.join("host/ARCHITECTURE.md");
    match fs::read_to_string(&map) {
        Ok(text) => findings.extend(dead_links(&text, &map)),
        Err(_) => findings.push("host/ARCHITECTURE.md is missing".to_owned()),
    }
    findings.extend(wit_freeze::findings(root)?);
    if findings.is_empty() {
        println!("tidy: {} files and the layering are in order", files.len());
        return Ok(());
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    bail!("{} findings", findings.len())
}

/// Edges that are not allowed, from `cargo metadata`.
fn layering(metadata: &Value) -> Vec<String> {
    let packages = || {
        metadata
            .get("packages")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let name = |value: &Value| {
        value
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let ours: BTreeSet<String> = packages().map(name).collect();
    let mut findings = Vec::new();
    for package in packages() {
        let from = name(package);
        let dependencies = package
            .get("dependencies")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for dependency in dependencies {
            let to = name(dependency);
            if dependency.get("kind").and_then(Value::as_str) == Some("dev") {
                continue;
            }
            if ours.contains(&to) && !may_depend(&from, &to) {
                findings.push(format!("layering: {from} must not depend on {to}"));
            }
            if let Some((_, owners)) = ENGINES.iter().find(|(engine, _)| *engine == to)
                && !owners.contains(&from.as_str())
            {
                findings.push(format!(
                    "layering: only {} names {to}, but {from} does too",
                    owners.join(" and ")
                ));
            }
        }
    }
    findings
}

fn may_depend(from: &str, to: &str) -> bool {
    match EDGES.iter().find(|(name, _)| *name == from) {
        Some((_, allowed)) => allowed.contains(&to),
        None => from.starts_with(GUEST_PREFIX) && to == "selfheal-policy-sdk",
    }
}

fn sources(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() && !path.is_symlink() {
            // Fixtures are applications of their own, with bugs on purpose.
            if !matches!(name.as_str(), "target" | "fixtures" | "node_modules") {
                sources(&path, files)?;
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// What is wrong with one source file.
fn file_rules(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        findings.push(format!(
            "{path}:1: a file begins with `//!` and says what it is for"
        ));
    }
    // Put together, so that this file does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    for (number, line) in text.lines().enumerate() {
        let word = |mark: &str| {
            line.match_indices(mark).any(|(at, _)| {
                let edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
                let before = line.get(..at).and_then(|head| head.chars().next_back());
                let after = line
                    .get(at + mark.len()..)
                    .and_then(|tail| tail.chars().next());
                edge(before) && edge(after)
            })
        };
        if let Some(mark) = marks.iter().find(|mark| word(mark)) {
            findings.push(format!(
                "{path}:{}: {mark}; do it or open an issue",
                number + 1
            ));
        }
    }
    findings
}

/// What is wrong with the length of one source file.
fn length(path: &str, lines: usize) -> Option<String> {
    (lines > LONGEST).then(|| format!("{path}: {lines} lines, more than {LONGEST}; split it"))
}

/// Links of the map that lead nowhere: every invariant names the test that holds it.
fn dead_links(text: &str, map: &Path) -> Vec<String> {
    let directory = map.parent().unwrap_or(Path::new("."));
    let mut findings = Vec::new();
    for link in text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
    {
        let target = link.split('#').next().unwrap_or_default();
        let elsewhere =
            target.is_empty() || target.contains("://") || target.starts_with("mailto:");
        if !elsewhere && !directory.join(target).exists() {
            findings.push(format!(
                "host/ARCHITECTURE.md: the link to {target} leads nowhere"
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<Value> = dependencies
            .iter()
            .map(|(name, kind)| json!({"name": name, "kind": kind}))
            .collect();
        json!({"name": name, "dependencies": dependencies})
    }

    #[test]
    fn edges_against_the_layering_are_found() {
        let metadata = json!({"packages": [
            package("selfheal-domain", &[("serde", None)]),
            package("selfheal-store", &[("selfheal-domain", None), ("sled", None)]),
            package("selfheal-pipeline", &[("selfheal-store", None), ("selfheal-store", Some("dev"))]),
            package("selfheal-api", &[("wasmtime", None)]),
            package("selfheal-policy-sdk", &[]),
            package("selfheal-policy-mine", &[("selfheal-policy-sdk", None), ("selfheal-domain", None)]),
        ]});
        assert_eq!(
            layering(&metadata),
            [
                "layering: selfheal-pipeline must not depend on selfheal-store",
                "layering: only selfheal-policy-host names wasmtime, but selfheal-api does too",
                "layering: selfheal-policy-mine must not depend on selfheal-domain",
            ]
        );
    }

    #[test]
    fn files_say_what_they_are_for_and_leave_nothing_for_later() {
        assert!(file_rules("a.rs", "//! A.\nfn main() {}\n").is_empty());
        assert_eq!(file_rules("a.rs", "fn main() {}\n").len(), 1);
        let later = format!("//! A.\n// {}: later\n", concat!("TO", "DO"));
        assert_eq!(file_rules("a.rs", &later).len(), 1);
    }

    #[test]
    fn long_files_are_found() {
        assert_eq!(length("a.rs", LONGEST), None);
        assert!(length("a.rs", LONGEST + 1).is_some());
    }

    #[test]
    fn dead_links_of_the_map_are_found() {
        let home = tempfile::tempdir().unwrap();
        let map = home.path().join("ARCHITECTURE.md");
        fs::write(home.path().join("there.rs"), "").unwrap();
        let text = "[a](there.rs) [b](there.rs#x) [c](gone.rs) [d](https://example.org) [e](#here)";
        assert_eq!(
            dead_links(text, &map),
            ["host/ARCHITECTURE.md: the link to gone.rs leads nowhere"]
        );
    }
}
