//! Crates into components.

use crate::error::{BuildError, on_file};
use crate::process::{output, shown};
use crate::toolchain::Toolchain;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wit_component::ComponentEncoder;

/// Crates to build: each a `cdylib` that exports a world of the contract.
#[derive(Clone, Debug)]
pub struct Guests<'a> {
    /// Directory of the workspace or package.
    pub directory: &'a Path,
    /// Cargo's profile.
    pub profile: &'a str,
    /// Where cargo puts what it builds.
    pub target_dir: &'a Path,
    /// Names of packages; the package of `directory` if there are none.
    pub packages: &'a [String],
}

impl Guests<'_> {
    /// Compiles them; gives the core module of each by the name of its library.
    ///
    /// # Errors
    /// The crates do not compile; what the compiler said is on standard error.
    pub fn compile(&self, toolchain: &Toolchain) -> Result<BTreeMap<String, Vec<u8>>, BuildError> {
        let mut command = toolchain.cargo_build(self.directory);
        command
            .args(["--profile", self.profile, "--lib", "--quiet"])
            .arg("--message-format=json-render-diagnostics")
            .arg("--target-dir")
            .arg(self.target_dir);
        for package in self.packages {
            command.args(["--package", package]);
        }
        let messages = output(&mut command)?;
        let modules: BTreeMap<String, PathBuf> = messages.lines().filter_map(module_of).collect();
        if modules.is_empty() {
            return Err(BuildError::NotAModule {
                what: shown(&command),
                message:
                    "it left no .wasm; the crate needs `[lib] crate-type = [\"cdylib\", \"rlib\"]`"
                        .to_owned(),
            });
        }
        modules
            .into_iter()
            .map(|(name, path)| {
                let bytes = std::fs::read(&path).map_err(on_file("read", path))?;
                Ok((name, bytes))
            })
            .collect()
    }
}

/// Name and file of the module that one of cargo's messages announces.
fn module_of(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message.get("reason")?.as_str()? != "compiler-artifact" {
        return None;
    }
    let name = message
        .get("target")?
        .get("name")?
        .as_str()?
        .replace('-', "_");
    let files = message.get("filenames")?.as_array()?.iter();
    let module = files
        .filter_map(Value::as_str)
        .find(|file| file.ends_with(".wasm"))?;
    Some((name, PathBuf::from(module)))
}

/// Makes a core module with embedded interface descriptions a component.
///
/// # Errors
/// The module has none, or imports what they do not name.
pub fn componentise(what: &str, module: &[u8]) -> Result<Vec<u8>, BuildError> {
    let wrong = |message: String| BuildError::NotAModule {
        what: what.to_owned(),
        message,
    };
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| wrong(format!("{error:#}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_in_what_cargo_says() {
        let artifact = r#"{"reason":"compiler-artifact","target":{"name":"no-docker","kind":["cdylib","rlib"]},"filenames":["/t/no_docker.wasm","/t/libno_docker.rlib"]}"#;
        assert_eq!(
            module_of(artifact),
            Some(("no_docker".to_owned(), PathBuf::from("/t/no_docker.wasm")))
        );
        let library = r#"{"reason":"compiler-artifact","target":{"name":"serde"},"filenames":["/t/libserde.rlib"]}"#;
        assert_eq!(module_of(library), None);
        assert_eq!(module_of(r#"{"reason":"build-finished"}"#), None);
        assert_eq!(module_of("no JSON"), None);
    }

    #[test]
    fn a_core_module_without_interfaces_is_refused() {
        let empty = b"\0asm\x01\0\0\0";
        let error = componentise("it", b"nonsense").unwrap_err();
        assert!(error.to_string().starts_with("it is no policy module"));
        // Valid, but it exports no world: the component would have no exports.
        assert!(componentise("it", empty).is_ok_and(|bytes| bytes.len() < 1024));
    }
}
