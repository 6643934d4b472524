//! Development tasks, run as `cargo xtask TASK`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a development tool runs cargo and talks to the terminal"
)]

mod ci;
mod policies;
mod powers;
mod stamp;
mod tidy;
mod web;
mod wit_freeze;

use anyhow::{Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask TASK

  build-policies [--force]  build the bundled policy modules into target/policies
  build-web                 build the page in web/ into web/dist, which the server embeds
  check-web                 check its types and style, and that web/dist is what it builds
  test-web [--sample]       drive the page of the debug binary in a browser; with --sample
                            what `ci` has time for: the walk from report to heal, roles,
                            hostile text
  wit-freeze                freeze the lines of the policy contract as they are now
  tidy                      check the layering, the file rules and the frozen contract
  ci                        all that the continuous integration runs
  demo [ARGUMENTS]          build everything, then `selfheal demo ARGUMENTS`
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let root = root()?;
    match (task.as_str(), rest.as_slice()) {
        ("build-policies", []) => policies::build(&root, policies::Reuse::Unchanged),
        ("build-policies", [flag]) if flag == "--force" => {
            policies::build(&root, policies::Reuse::Nothing)
        }
        ("build-web", []) => web::build(&root),
        ("check-web", []) => web::check(&root),
        ("test-web", []) => web::test(&root, web::Extent::Whole),
        ("test-web", [flag]) if flag == "--sample" => web::test(&root, web::Extent::Sample),
        ("wit-freeze", []) => wit_freeze::freeze(&root),
        ("tidy", []) => tidy::run(&root),
        ("ci", []) => ci::run_all(&root),
        ("demo", rest) => ci::demo(&root, rest),
        ("" | "help" | "-h" | "--help", _) => {
            print!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown task or option\n\n{USAGE}"),
    }
}

/// The root of the workspace, two levels above this crate.
fn root() -> Result<PathBuf> {
    match Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2) {
        Some(root) if root.join("Cargo.lock").exists() => Ok(root.to_owned()),
        _ => {
            bail!("the checkout that this xtask was built in is gone; run it through `cargo xtask`")
        }
    }
}
