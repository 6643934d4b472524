//! A policy project: a directory with `selfheal-policy.toml`, or any Rust crate that
//! exports a module.

use crate::failure::{Because, Exit, Failure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Name of the file that makes a directory a project.
pub(crate) const PROJECT_FILE: &str = "selfheal-policy.toml";

/// Longest name, so that a rule id (64 bytes) has room for a rule behind it.
const LONGEST_NAME: usize = 40;

/// Kinds of modules.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Judges tool calls and finished patches
    Guardrail,
    /// Scores patches
    Risk,
    /// Decides what becomes of a patch, and which issues start alone
    Autonomy,
}

impl Kind {
    /// As policy.toml and the contract's worlds spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Guardrail => "guardrail",
            Self::Risk => "risk",
            Self::Autonomy => "autonomy",
        }
    }
}

/// Languages that modules can be written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Language {
    /// The fastest: microseconds per decision
    Rust,
    /// Needs node; under a millisecond per decision
    Javascript,
    /// Needs python3; a few milliseconds per decision
    Python,
}

impl Language {
    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
            Self::Javascript => "JavaScript",
            Self::Python => "Python",
        }
    }

    /// The file that holds the policy, relative to the project.
    pub(crate) fn source(self) -> &'static str {
        match self {
            Self::Rust => "src/lib.rs",
            Self::Javascript => "policy.js",
            Self::Python => "policy.py",
        }
    }
}

/// `selfheal-policy.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProjectFile {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) language: Language,
}

/// A project in its directory.
#[derive(Clone, Debug)]
pub(crate) struct Project {
    pub(crate) directory: PathBuf,
    pub(crate) name: String,
    /// Not known of a crate without a project file; the module itself says.
    pub(crate) kind: Option<Kind>,
    pub(crate) language: Language,
}

/// What is read of a `Cargo.toml`.
#[derive(Deserialize)]
struct Manifest {
    package: Option<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

impl Project {
    /// The project in `directory`.
    ///
    /// # Errors
    /// There is none, or its file says something impossible.
    pub(crate) fn open(directory: &Path) -> Result<Self, Failure> {
        let canonical = directory.canonicalize().map_err(|error| Failure {
            exit: Exit::Usage,
            error: anyhow::Error::new(error)
                .context(format!("cannot open {}", directory.display())),
        })?;
        let file = canonical.join(PROJECT_FILE);
        if file.is_file() {
            let text = std::fs::read_to_string(&file).because(Exit::Usage)?;
            let read: ProjectFile = toml::from_str(&text)
                .map_err(|error| anyhow::anyhow!("{}: {error}", file.display()))
                .because(Exit::Usage)?;
            check_name(&read.name)?;
            return Ok(Self {
                directory: canonical,
                name: read.name,
                kind: Some(read.kind),
                language: read.language,
            });
        }
        let manifest = canonical.join("Cargo.toml");
        let package = std::fs::read_to_string(&manifest)
            .ok()
            .and_then(|text| toml::from_str::<Manifest>(&text).ok())
            .and_then(|manifest| manifest.package);
        match package {
            Some(package) => Ok(Self {
                directory: canonical,
                name: package.name,
                kind: None,
                language: Language::Rust,
            }),
            None => Err(Failure::new(
                Exit::Usage,
                format!(
                    "{} is no policy project: it has neither {PROJECT_FILE} nor a Cargo.toml with a package; \
                     `selfheal policy new` makes one",
                    directory.display()
                ),
            )),
        }
    }

    /// Where `build` puts the module.
    pub(crate) fn module(&self) -> PathBuf {
        self.directory.join(format!("{}.wasm", self.name))
    }

    /// Where the author's cases are.
    pub(crate) fn cases(&self) -> PathBuf {
        self.directory.join("cases")
    }
}

/// Refuses names that cannot be a crate, a file and the head of a rule id at once.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let shape = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(shape)
        && !name.ends_with('-')
        && !name.contains("--");
    if fits {
        return Ok(());
    }
    let message = format!(
        "{name:?} cannot name a policy: 1 to {LONGEST_NAME} of a-z, 0-9 and '-', beginning with a letter, as in `no-docker`"
    );
    Err(Failure::new(Exit::Usage, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_good_for_crates_files_and_rules() {
        for name in ["a", "no-docker", "x2"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        let long = "a".repeat(41);
        for name in ["", "A", "2x", "a_b", "a-", "a--b", "../x", "a b", &long] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_project_file_with_an_unknown_key_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(PROJECT_FILE);
        std::fs::write(
            &file,
            "name = \"a\"\nkind = \"risk\"\nlanguage = \"rust\"\ncolour = 1\n",
        )
        .unwrap();
        let failure = Project::open(home.path()).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.error.to_string().contains("colour"), "{failure:?}");
    }
}
