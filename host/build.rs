//! Embeds the bundled policy modules that `cargo xtask build-policies` made. A
//! plain `cargo build` works without them: the binary then has none and says so.
//! Embeds the SDK too, which `selfheal policy new` writes into projects.
#![allow(clippy::print_stdout, reason = "how a build script talks to cargo")]

use std::env;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let directory = policies();
    // A missing directory would make cargo run this script every time.
    fs::create_dir_all(&directory)?;
    println!("cargo::rerun-if-changed={}", directory.display());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SELFHEAL_POLICIES_DIR");

    let modules = modules(&directory)?;
    if modules.is_empty() {
        println!(
            "cargo::warning=no policy modules in {}: this binary has none built in; run `cargo xtask build-policies`",
            directory.display()
        );
    }
    let mut code = String::from(
        "/// Name and bytes of each bundled policy module.\npub(crate) const BUNDLED: &[(&str, &[u8])] = &[\n",
    );
    for (name, path) in &modules {
        // Writing to a string cannot fail.
        let _ = writeln!(code, "    ({name:?}, include_bytes!({path:?})),");
    }
    code.push_str("];\n");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("bundled_policies.rs"), code)?;
    fs::write(Path::new(&out).join("sdk_files.rs"), sdk()?)
}

/// The SDK's files as code: path within the SDK, and text.
fn sdk() -> io::Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../guest-sdk")
        .canonicalize()?;
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    for part in ["src", "wit"] {
        collect(&root.join(part), &mut files)?;
    }
    files.sort();
    let mut code = String::from(
        "/// Path and text of each file of the SDK, without its manifest.\npub(crate) const SDK: &[(&str, &str)] = &[\n",
    );
    for path in &files {
        let name = path.strip_prefix(&root).unwrap_or(path);
        // Writing to a string cannot fail.
        let _ = writeln!(code, "    ({name:?}, include_str!({path:?})),");
    }
    code.push_str("];\n");
    Ok(code)
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn policies() -> PathBuf {
    let named = env::var_os("SELFHEAL_POLICIES_DIR").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/policies"))
}

/// Sorted by name, so that the same modules make the same binary.
fn modules(directory: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut modules = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path().canonicalize()?;
        if path
            .extension()
            .is_some_and(|extension| extension == "wasm")
            && let Some(name) = path.file_stem().and_then(|name| name.to_str())
        {
            modules.push((name.to_owned(), path));
        }
    }
    modules.sort();
    Ok(modules)
}
