//! What the repository and the log say about the files of a patch. Read once per
//! run, within limits; what could not be read in time counts as the worst.

use super::imports::{self, Dependents};
use super::owners::{Owners, PLACES};
use super::past::Past;
use selfheal_domain::ids::CommitId;
use selfheal_domain::policy::PatchFacts;
use selfheal_domain::ports::{Coverage, ReadLimits, Repository};
use std::collections::BTreeMap;
use std::time::Duration;

/// How much of a repository is searched for imports.
const LIMITS: ReadLimits = ReadLimits {
    files: 20_000,
    bytes: 128 << 20,
    file_bytes: 1 << 20,
    time: Duration::from_secs(3),
};

/// How the host says that it does not know how many files import one.
const UNKNOWN: u32 = u32::MAX;

/// Dependents and owners of some files at one commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Surroundings {
    commit: CommitId,
    paths: Vec<String>,
    dependents: BTreeMap<String, u32>,
    whole: bool,
    owners: BTreeMap<String, Vec<String>>,
}

impl Surroundings {
    /// Reads them from `commit`. A repository that cannot be read is one of which
    /// nothing is known.
    pub(crate) fn read(repository: &dyn Repository, commit: &CommitId, paths: Vec<String>) -> Self {
        let mut dependents = Dependents::of(paths.iter().map(String::as_str));
        let mut files: BTreeMap<usize, Owners> = BTreeMap::new();
        let none = dependents.is_empty();
        let place = |path: &str| PLACES.iter().position(|known| *known == path);
        let wants = |path: &str| place(path).is_some() || !none && imports::is_code(path);
        let mut read = |path: &str, text: &str| match place(path) {
            Some(place) => {
                files.insert(place, Owners::parse(text));
            }
            None => dependents.look(path, text),
        };
        let coverage = repository
            .read_files(commit, LIMITS, &wants, &mut read)
            .unwrap_or_else(|error| {
                tracing::warn!(%error, "the repository could not be searched for imports");
                Coverage::Part
            });
        let owners = files.into_values().next().unwrap_or_default();
        Self {
            commit: commit.clone(),
            owners: paths
                .iter()
                .map(|path| (path.clone(), owners.of(path)))
                .collect(),
            dependents: dependents.counts(),
            whole: coverage == Coverage::Whole,
            paths,
        }
    }

    /// Are these the ones of that commit and those files?
    pub(crate) fn are_of(&self, commit: &CommitId, paths: &[String]) -> bool {
        self.commit == *commit && self.paths == paths
    }

    /// Puts into the facts what is known.
    pub(crate) fn tell(&self, facts: &mut PatchFacts, past: &Past) {
        for file in &mut facts.files {
            file.dependents = match self.dependents.get(&file.path) {
                _ if !self.whole && imports::is_code(&file.path) => UNKNOWN,
                Some(count) => *count,
                None => 0,
            };
            file.owners = self.owners.get(&file.path).cloned().unwrap_or_default();
            (file.earlier_heals, file.earlier_rollbacks) = past.of_file(&file.path);
        }
    }
}
