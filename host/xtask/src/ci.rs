//! `ci`: exactly what the continuous integration runs, in the order that finds
//! mistakes soonest. `demo`: everything built, then the real thing.

use crate::process::{attempt, cargo, run};
use crate::{policies, tidy, web};
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// A step's name and what it does.
type Step<'a> = (&'static str, &'a dyn Fn() -> Result<()>);

pub(crate) fn run_all(root: &Path) -> Result<()> {
    let steps: [Step<'_>; 7] = [
        ("fmt", &|| cargo_run(root, &["fmt", "--all", "--check"])),
        ("tidy", &|| tidy::run(root)),
        ("build-web", &|| web::build(root)),
        ("build-policies", &|| {
            policies::build(root, policies::Reuse::Unchanged)
        }),
        ("clippy", &|| {
            cargo_run(
                root,
                &[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--quiet",
                    "--",
                    "-D",
                    "warnings",
                ],
            )
        }),
        ("deny", &|| deny(root)),
        ("test", &|| {
            cargo_run(root, &["test", "--workspace", "--quiet"])
        }),
    ];
    let mut times = Vec::new();
    for (name, step) in steps {
        println!("== {name}");
        let started = Instant::now();
        step().with_context(|| format!("step {name} failed"))?;
        times.push(format!("{name} {:.0} s", started.elapsed().as_secs_f64()));
    }
    println!("== all good: {}", times.join(", "));
    Ok(())
}

fn cargo_run(root: &Path, arguments: &[&str]) -> Result<()> {
    run(Command::new(cargo()).args(arguments).current_dir(root))
}

/// Licences, advisories and sources, where cargo-deny is installed. It asks the
/// network for advisories, so its absence is said and not fatal.
fn deny(root: &Path) -> Result<()> {
    if !root.join("deny.toml").is_file() {
        println!("there is no deny.toml: skipped");
        return Ok(());
    }
    let installed = || attempt(Command::new(cargo()).args(["deny", "--version"])).is_some();
    if !installed() && std::env::var("CI").is_ok_and(|value| value == "true") {
        println!("cargo-deny is not installed; CI=true, so trying to install it");
        // Without a network this fails, which the next check tells.
        let _ = cargo_run(root, &["install", "--locked", "--quiet", "cargo-deny"]);
    }
    if !installed() {
        println!(
            "NOTICE: cargo-deny is not installed, so dependencies were NOT checked (`cargo install --locked cargo-deny`)"
        );
        return Ok(());
    }
    cargo_run(
        root,
        &[
            "deny",
            "--workspace",
            "check",
            "bans",
            "licenses",
            "sources",
        ],
    )
}

/// Builds the release binary with everything in it and runs `selfheal demo`.
pub(crate) fn demo(root: &Path, arguments: &[String]) -> Result<()> {
    web::build(root)?;
    policies::build(root, policies::Reuse::Unchanged)?;
    cargo_run(root, &["build", "--release", "--package", "selfheal"])?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |directory| root.join(directory));
    let binary = target
        .join("release")
        .join(format!("selfheal{}", std::env::consts::EXE_SUFFIX));
    run(Command::new(binary).arg("demo").args(arguments))
}
