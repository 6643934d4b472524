//! What the bundled policies are made of, as one digest: when it has not changed
//! there is nothing to build.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Raise it when the way of building changes.
const RECIPE: &str = "1";

/// Digest over the sources of the guests and the SDK, the workspace manifest, and
/// the locked versions of everything the guests depend on.
pub(crate) fn inputs(root: &Path, packages: &[String]) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    add(RECIPE.as_bytes());
    let mut files = Vec::new();
    collect(&root.join("guest-sdk"), &mut files)?;
    collect(&root.join("policies"), &mut files)?;
    files.push(root.join("Cargo.toml"));
    files.sort();
    for file in files {
        let shown = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .to_string_lossy()
            .into_owned();
        add(shown.as_bytes());
        add(&fs::read(&file).with_context(|| format!("cannot read {shown}"))?);
    }
    let lock = fs::read_to_string(root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    for entry in locked(&lock, packages) {
        add(entry.as_bytes());
    }
    Ok(hex::encode(hasher.finalize()))
}

/// Digest of a file's bytes.
pub(crate) fn of_file(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(hex::encode(Sha256::digest(bytes)))
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if path.is_dir() {
            if !matches!(entry.file_name().to_str(), Some("examples" | "target")) {
                collect(&path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The lock file's entries of `packages` and of all that they depend on.
fn locked(lock: &str, packages: &[String]) -> BTreeSet<String> {
    let mut entries: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in lock.split("[[package]]").skip(1) {
        if let Some(name) = entry.lines().find_map(|line| line.strip_prefix("name = ")) {
            entries
                .entry(name.trim_matches('"'))
                .or_default()
                .push(entry);
        }
    }
    let mut wanted: Vec<&str> = packages.iter().map(String::as_str).collect();
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        if !seen.insert(name) {
            continue;
        }
        for entry in entries.get(name).into_iter().flatten() {
            found.insert((*entry).to_owned());
            let dependencies = entry
                .lines()
                .filter_map(|line| line.trim().strip_prefix('"'));
            // A dependency reads `"name",` or `"name version",`.
            wanted.extend(dependencies.filter_map(|line| line.split(['"', ' ']).next()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_guests_own_dependencies_count() {
        let lock = "version = 4\n\n[[package]]\nname = \"guest\"\nversion = \"1\"\ndependencies = [\n \"json\",\n \"memchr 2.0.0\",\n]\n\n\
            [[package]]\nname = \"json\"\nversion = \"1\"\n\n[[package]]\nname = \"memchr\"\nversion = \"2\"\n\n\
            [[package]]\nname = \"tokio\"\nversion = \"1\"\n";
        let found = locked(lock, &["guest".to_owned()]);
        assert_eq!(found.len(), 3);
        assert!(!found.iter().any(|entry| entry.contains("tokio")));
    }
}
