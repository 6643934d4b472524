//! `wit-freeze`: a line of the contract that modules were built for never changes.
//! `guest-sdk/wit/FROZEN` holds the hash of each released line's directory; `tidy`
//! fails when one of them is not what it was.
//!
//! A change is another line: a directory and an adapter beside the old ones. What it
//! should bring waits in `guest-sdk/PENDING_CHANGES.md`.

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the lines are, a directory each.
const LINES: &str = "guest-sdk/wit";
/// Which of them are frozen, and how they looked.
const FROZEN: &str = "guest-sdk/wit/FROZEN";

const HEADER: &str = "\
# Lines of the contract that never change again: SHA-256 of all files, directory.
# Written by `cargo xtask wit-freeze`, checked by `cargo xtask tidy`.
";

/// Freezes every line that is not frozen yet.
pub(crate) fn freeze(root: &Path) -> Result<()> {
    let mut frozen = match fs::read_to_string(root.join(FROZEN)) {
        Ok(text) => parse(&text)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {FROZEN}")),
    };
    let lines = lines(root)?;
    let changed = differences(&frozen, &lines);
    if !changed.is_empty() {
        bail!("{}", changed.join("\n"));
    }
    for (line, hash) in lines {
        if frozen.insert(line.clone(), hash).is_none() {
            println!("{LINES}/{line} is frozen from now on");
        }
    }
    let rows: String = frozen
        .iter()
        .map(|(line, hash)| format!("{hash}  {line}\n"))
        .collect();
    fs::write(root.join(FROZEN), format!("{HEADER}{rows}"))
        .with_context(|| format!("cannot write {FROZEN}"))
}

/// What is wrong with the frozen lines.
pub(crate) fn findings(root: &Path) -> Result<Vec<String>> {
    let Ok(text) = fs::read_to_string(root.join(FROZEN)) else {
        return Ok(vec![format!(
            "{FROZEN} is missing; it says which lines of the contract never change"
        )]);
    };
    Ok(differences(&parse(&text)?, &lines(root)?))
}

fn differences(frozen: &BTreeMap<String, String>, lines: &BTreeMap<String, String>) -> Vec<String> {
    frozen
        .iter()
        .filter(|(line, hash)| lines.get(*line) != Some(hash))
        .map(|(line, _)| {
            format!(
                "{LINES}/{line} is frozen and was changed; undo that and write the wish into \
                 guest-sdk/PENDING_CHANGES.md, or begin another line"
            )
        })
        .collect()
}

fn parse(text: &str) -> Result<BTreeMap<String, String>> {
    let rows = text
        .lines()
        .filter(|row| !row.is_empty() && !row.starts_with('#'));
    rows.map(|row| match row.split_once("  ") {
        Some((hash, line)) if hash.len() == 64 => Ok((line.to_owned(), hash.to_owned())),
        _ => bail!("{FROZEN}: {row:?} is not `HASH  LINE`"),
    })
    .collect()
}

/// Every line with the hash of its directory.
fn lines(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut lines = BTreeMap::new();
    for entry in fs::read_dir(root.join(LINES)).with_context(|| format!("cannot list {LINES}"))? {
        let path = entry?.path();
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default();
            lines.insert(name.to_string_lossy().into_owned(), hash(&path)?);
        }
    }
    Ok(lines)
}

/// Over names and contents of all files below, each with its length.
fn hash(directory: &Path) -> Result<String> {
    let mut files = Vec::new();
    walk(directory, &mut files)?;
    files.sort();
    let mut hasher = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    for file in files {
        let name = file.strip_prefix(directory).unwrap_or(&file);
        add(name.to_string_lossy().as_bytes());
        add(&fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(hex::encode(hasher.finalize()))
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in
        fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(LINES).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_contract_is_what_it_was_when_it_was_released() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        assert_eq!(findings(&root).unwrap(), Vec::<String>::new());
        let frozen = parse(&fs::read_to_string(root.join(FROZEN)).unwrap()).unwrap();
        assert!(frozen.contains_key("v1"));
    }

    #[test]
    fn a_frozen_line_cannot_change_and_another_can_begin() {
        let root = checkout(&[("v1/types.wit", "a"), ("v1/deps/x.wit", "b")]);
        assert_eq!(findings(root.path()).unwrap().len(), 1, "nothing is frozen");
        freeze(root.path()).unwrap();
        assert!(findings(root.path()).unwrap().is_empty());

        let line = root.path().join(LINES);
        fs::create_dir(line.join("v2")).unwrap();
        fs::write(line.join("v2/types.wit"), "c").unwrap();
        assert!(findings(root.path()).unwrap().is_empty());

        fs::write(line.join("v1/deps/x.wit"), "bb").unwrap();
        assert_eq!(findings(root.path()).unwrap().len(), 1);
        assert!(freeze(root.path()).is_err(), "it is not frozen anew");
        fs::write(line.join("v1/deps/x.wit"), "b").unwrap();
        fs::rename(line.join("v1/types.wit"), line.join("v1/other.wit")).unwrap();
        assert_eq!(findings(root.path()).unwrap().len(), 1);
        fs::rename(line.join("v1/other.wit"), line.join("v1/types.wit")).unwrap();

        freeze(root.path()).unwrap();
        fs::write(line.join("v2/types.wit"), "d").unwrap();
        assert_eq!(findings(root.path()).unwrap().len(), 1);
        fs::remove_dir_all(line.join("v1")).unwrap();
        assert_eq!(findings(root.path()).unwrap().len(), 2);
    }
}
