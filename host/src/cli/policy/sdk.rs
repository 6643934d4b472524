//! The SDK as it is built into this binary, written into projects: it is on no
//! registry, and a project must build with the SDK of the host that checks it.

use crate::failure::{Because, Exit, Failure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use toml::{Table, Value};

include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));

/// Where a project keeps the SDK.
pub(crate) const VENDORED: &str = "vendor/selfheal-policy-sdk";
const PACKAGE: &str = "selfheal-policy-sdk";
const MANIFEST: &str = include_str!("../../../../guest-sdk/Cargo.toml");
const WORKSPACE: &str = include_str!("../../../../Cargo.toml");
const LOCK: &str = include_str!("../../../../Cargo.lock");

/// Files of the contract alone, for languages that need no SDK: name and text.
pub(crate) fn contract() -> impl Iterator<Item = (&'static str, &'static str)> {
    SDK.iter()
        .filter_map(|(path, text)| Some((path.strip_prefix("wit/v1/")?, *text)))
}

/// The SDK's files with a manifest that stands alone.
pub(crate) fn files() -> Result<Vec<(String, String)>, Failure> {
    let mut files = vec![("Cargo.toml".to_owned(), manifest()?)];
    files.extend(
        SDK.iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned())),
    );
    Ok(files)
}

/// The SDK's manifest without what it inherits from our workspace.
fn manifest() -> Result<String, Failure> {
    let own: Table = toml::from_str(MANIFEST).because(Exit::Unavailable)?;
    let workspace: Table = toml::from_str(WORKSPACE).because(Exit::Unavailable)?;
    let workspace = workspace.get("workspace").and_then(Value::as_table);
    let inherited = |section: &str, key: &str| -> Option<Value> {
        workspace?.get(section)?.as_table()?.get(key).cloned()
    };
    let mut alone = Table::new();
    for (section, heir) in [("package", "package"), ("dependencies", "dependencies")] {
        let mut resolved = Table::new();
        for (key, value) in own
            .get(section)
            .and_then(Value::as_table)
            .into_iter()
            .flatten()
        {
            let inherits = value
                .get("workspace")
                .and_then(Value::as_bool)
                .unwrap_or_default();
            let value = if inherits {
                inherited(heir, key)
            } else {
                Some(value.clone())
            };
            let value = value.ok_or_else(|| {
                Failure::new(
                    Exit::Unavailable,
                    format!("the built-in SDK lacks `{section}.{key}`"),
                )
            })?;
            resolved.insert(key.clone(), value);
        }
        alone.insert(section.to_owned(), Value::Table(resolved));
    }
    toml::to_string(&alone).because(Exit::Unavailable)
}

/// A lock file for a project: the versions that this binary's own modules were
/// built and tested with.
pub(crate) fn lock(project: &str) -> Result<String, Failure> {
    let lock: Table = toml::from_str(LOCK).because(Exit::Unavailable)?;
    let packages: Vec<&Table> = lock
        .get("package")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_table)
        .collect();
    let text = |package: &Table, key: &str| -> String {
        package
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let mut wanted = vec![PACKAGE.to_owned()];
    let mut kept: BTreeMap<(String, String), &Table> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    while let Some(name) = wanted.pop() {
        if !seen.insert(name.clone()) {
            continue;
        }
        // `name`, or `name version` where several versions are locked.
        let mut parts = name.split(' ');
        let (package, version) = (parts.next().unwrap_or_default(), parts.next());
        for found in packages.iter().filter(|found| {
            text(found, "name") == package
                && version.is_none_or(|wanted| text(found, "version") == wanted)
        }) {
            kept.insert((text(found, "name"), text(found, "version")), found);
            let dependencies = found.get("dependencies").and_then(Value::as_array);
            wanted.extend(
                dependencies
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .map(str::to_owned),
            );
        }
    }
    let mut own = Table::new();
    own.insert("name".to_owned(), Value::String(project.to_owned()));
    own.insert("version".to_owned(), Value::String("0.1.0".to_owned()));
    let dependencies = vec![Value::String(PACKAGE.to_owned())];
    own.insert("dependencies".to_owned(), Value::Array(dependencies));
    kept.insert((project.to_owned(), "0.1.0".to_owned()), &own);
    let mut alone = Table::new();
    let version = lock.get("version").cloned().unwrap_or(Value::Integer(4));
    alone.insert("version".to_owned(), version);
    let packages = kept.into_values().cloned().map(Value::Table).collect();
    alone.insert("package".to_owned(), Value::Array(packages));
    toml::to_string(&alone).because(Exit::Unavailable)
}

/// Whether a directory is a checkout of the SDK.
pub(crate) fn is_sdk(directory: &Path) -> bool {
    std::fs::read_to_string(directory.join("Cargo.toml"))
        .is_ok_and(|text| text.contains(&format!("name = \"{PACKAGE}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendored_manifest_inherits_nothing() {
        let text = manifest().unwrap();
        assert!(!text.contains("workspace"), "{text}");
        let table: Table = toml::from_str(&text).unwrap();
        let dependencies = table.get("dependencies").and_then(Value::as_table).unwrap();
        assert!(dependencies.contains_key("wit-bindgen"), "{text}");
    }

    #[test]
    fn the_lock_holds_what_a_project_needs_and_no_more() {
        let text = lock("no-docker").unwrap();
        for needed in [
            "no-docker",
            "selfheal-policy-sdk",
            "wit-bindgen",
            "serde_json",
        ] {
            assert!(text.contains(&format!("name = \"{needed}\"")), "{needed}");
        }
        for foreign in ["wasmtime", "tokio", "selfheal-domain"] {
            assert!(
                !text.contains(&format!("name = \"{foreign}\"")),
                "{foreign}"
            );
        }
    }

    #[test]
    fn the_contract_is_there_without_the_sdk() {
        let names: Vec<&str> = contract().map(|(name, _)| name).collect();
        assert_eq!(names, ["types.wit", "worlds.wit"]);
    }
}
