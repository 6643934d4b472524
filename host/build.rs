//! Embeds the bundled policy modules that `cargo xtask build-policies` made. A
//! plain `cargo build` works without them: the binary then has none and says so.
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
    fs::write(Path::new(&out).join("bundled_policies.rs"), code)
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
