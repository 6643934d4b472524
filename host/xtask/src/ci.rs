//! `ci`: exactly what the continuous integration runs, in the order that finds
//! mistakes soonest. `demo`: everything built, then the real thing.

use crate::{policies, tidy, web};
use anyhow::{Context, Result};
use selfheal_guest_build::process::{attempt, cargo, run, succeeds_within};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the database of advisories may take to arrive.
const FETCH: Duration = Duration::from_secs(60);

/// A step's name and what it does.
type Step = (&'static str, fn(&Path) -> Result<()>);

/// Cheap and telling first. All that compile select the whole workspace, so that
/// features unify the same way in each and nothing is compiled twice; only clippy
/// and doc keep artefacts of their own, which they share.
const STEPS: [Step; 10] = [
    ("fmt", |root| cargo_run(root, &["fmt", "--all", "--check"])),
    ("build-policies", |root| {
        policies::build(root, policies::Reuse::Unchanged)
    }),
    ("check-web", web::check),
    ("tidy", tidy::run),
    ("clippy", |root| {
        let arguments = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ];
        cargo_run(root, &arguments)
    }),
    ("deny", deny),
    ("doc", doc),
    // With what only tests depend on: without it the same crates have other features,
    // and are compiled a second time.
    ("build", |root| {
        let arguments = ["test", "--workspace", "--locked", "--no-run", "--quiet"];
        cargo_run(root, &arguments)
    }),
    // The whole takes minutes: `cargo xtask test-web`.
    ("test-web", |root| web::test(root, web::Extent::Sample)),
    // Lists what fails in all crates, not in the first one only.
    ("test", |root| {
        let arguments = ["test", "--workspace", "--locked", "--no-fail-fast"];
        cargo_run(root, &arguments)
    }),
];

/// Runs all steps; the first that fails ends it. Says what each one took.
pub(crate) fn run_all(root: &Path) -> Result<()> {
    let begun = Instant::now();
    let mut times = Vec::new();
    for (name, step) in STEPS {
        println!("== {name}");
        let started = Instant::now();
        let result = step(root);
        let seconds = started.elapsed().as_secs_f64();
        println!("== {name}: {seconds:.1} s");
        times.push(format!("{name} {seconds:.0} s"));
        result.with_context(|| format!("step {name} failed (so far: {})", times.join(", ")))?;
    }
    println!(
        "== all good in {:.0} s: {}",
        begun.elapsed().as_secs_f64(),
        times.join(", ")
    );
    Ok(())
}

fn cargo_run(root: &Path, arguments: &[&str]) -> Result<()> {
    Ok(run(Command::new(cargo())
        .args(arguments)
        .current_dir(root))?)
}

/// Documentation with links that lead somewhere.
fn doc(root: &Path) -> Result<()> {
    Ok(run(Command::new(cargo())
        .args(["doc", "--workspace", "--no-deps", "--locked", "--quiet"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .current_dir(root))?)
}

/// Licences, bans and sources, where cargo-deny is installed; advisories too where
/// their database can be had. What could not be checked is said and not fatal.
fn deny(root: &Path) -> Result<()> {
    if attempt(Command::new(cargo()).args(["deny", "--version"])).is_none() {
        println!(
            "NOTICE: cargo-deny is not installed, so dependencies were NOT checked \
             (`cargo install --locked cargo-deny`)"
        );
        return Ok(());
    }
    let check = |network: &str, what: &[&str]| {
        let arguments = ["deny", "--workspace", network, "check"];
        cargo_run(root, &[&arguments[..], what].concat())
    };
    check("--locked", &["licenses", "bans", "sources"])?;
    let mut fetch = Command::new(cargo());
    fetch.args(["deny", "fetch", "db"]).current_dir(root);
    if !succeeds_within(&mut fetch, FETCH) {
        println!("NOTICE: no database of advisories, so they were NOT checked");
        return Ok(());
    }
    check("--frozen", &["advisories"])
}

/// Builds the release binary with everything in it and runs `selfheal demo`.
pub(crate) fn demo(root: &Path, arguments: &[String]) -> Result<()> {
    policies::build(root, policies::Reuse::Unchanged)?;
    cargo_run(root, &["build", "--release", "--package", "selfheal"])?;
    let binary = binary(root, "release");
    Ok(run(Command::new(binary).arg("demo").args(arguments))?)
}

/// Where cargo puts the binary of a profile.
pub(crate) fn binary(root: &Path, profile: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |directory| root.join(directory));
    let name = format!("selfheal{}", std::env::consts::EXE_SUFFIX);
    target.join(profile).join(name)
}
