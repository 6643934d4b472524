//! The repository's history, as commands may read it.
//!
//! Commands never see the real `.git`: its hooks, its configuration with addresses
//! and tokens, its unreachable objects with whatever somebody once staged by mistake.
//! In its place they get a view made for them: the latest commits of branches and
//! tags with their trees and files, the index, and nothing else. A file that holds
//! secrets by its path is replaced by a line that says so, in every commit. The view is
//! read-only, so `git log`, `show`, `diff`, `blame` and `status` work and nothing that
//! writes does.
//!
//! It is made by git itself, contained like any command: whatever the repository's
//! configuration makes git do happens behind the wall. Made when a command first
//! mentions git, and again when branches or index have moved.

use crate::config::WorkbenchConfig;
use crate::layer::PREFIX;
use crate::view::open_beneath;
use rustix::fs::OFlags;
use selfheal_sandbox::{Access, CancelToken, Sandbox, SandboxSpec, Workspace};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use uuid::Uuid;

/// Commits of all branches and tags together, latest first.
const COMMITS: u32 = 500;

/// What a replaced file says.
const REPLACED: &str = "[this file holds secrets; agents do not get its content]\n";

/// Longest list of objects that is read, in bytes.
const MAX_LIST: u64 = 256 * 1024 * 1024;

/// Longest index that is copied, in bytes.
const MAX_INDEX: u64 = 64 * 1024 * 1024;

/// Views that are kept: running commands may still look at earlier ones.
const KEPT: usize = 3;

/// Environment in which git reads this repository and nobody's settings.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("HOME", "/tmp"),
];

/// What git needs to know to read a view, whoever it belongs to, without writing.
pub(crate) const READING: &[(&str, &str)] = &[
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_CONFIG_COUNT", "1"),
    ("GIT_CONFIG_KEY_0", "safe.directory"),
    ("GIT_CONFIG_VALUE_0", "*"),
];

/// Makes views and keeps the latest.
#[derive(Debug, Default)]
pub(crate) struct History {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    of: Option<Stamp>,
    view: Option<PathBuf>,
    earlier: Vec<PathBuf>,
}

/// What a view was made from.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Stamp {
    head: String,
    tip: String,
    files: Vec<Option<(i64, i64, u64)>>,
}

/// Why there is no view.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the sandbox did not run git")]
    Sandbox(#[from] selfheal_sandbox::SandboxError),
    #[error("git failed: {0}")]
    Git(String),
    #[error("a file of the view could not be written or read")]
    File(#[from] io::Error),
}

impl History {
    /// A directory to show in place of `.git`; none where there is no plain `.git`
    /// directory or no view could be made. `secret` tells which paths hold secrets.
    pub(crate) fn view(
        &self,
        config: &WorkbenchConfig,
        sandbox: &Sandbox,
        fresh: impl FnOnce() -> Uuid,
        secret: &dyn Fn(&str) -> bool,
    ) -> Option<PathBuf> {
        let git = config.repository_root.join(".git");
        if git != config.git_dir || !git.symlink_metadata().ok()?.is_dir() {
            return None;
        }
        let stamp = stamp(&git)?;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.of.as_ref() == Some(&stamp) {
            return state.view.clone();
        }
        let place = config.scratch_dir.join(format!("{PREFIX}{}", fresh()));
        let made = make(&git, &place, config, sandbox, &stamp.head, secret);
        let view = match made {
            Ok(view) => Some(view),
            Err(error) => {
                let cause = crate::changes::chain(&error);
                tracing::warn!(%cause, "commands get no view of the repository's history");
                None
            }
        };
        state.of = Some(stamp);
        state.view.clone_from(&view);
        state.earlier.push(place);
        while state.earlier.len() > KEPT {
            let _ = fs::remove_dir_all(state.earlier.remove(0));
        }
        view
    }
}

/// What a look at a few files tells of the repository's state.
fn stamp(git: &Path) -> Option<Stamp> {
    let head = text(git, "HEAD")?;
    let tip = head
        .strip_prefix("ref: ")
        .and_then(|name| text(git, name.trim()))
        .unwrap_or_default();
    let files = ["packed-refs", "index", "refs/heads", "refs/tags"]
        .iter()
        .map(|name| {
            let metadata = git.join(name).symlink_metadata().ok()?;
            Some((metadata.mtime(), metadata.mtime_nsec(), metadata.size()))
        })
        .collect();
    Some(Stamp { head, tip, files })
}

/// A short file of the repository's own.
fn text(git: &Path, name: &str) -> Option<String> {
    let file = open_beneath(git, Path::new(name), OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
    let mut text = String::new();
    file.take(4096).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Lists objects, leaves those out that nobody gets, packs the rest.
fn make(
    git: &Path,
    place: &Path,
    config: &WorkbenchConfig,
    sandbox: &Sandbox,
    head: &str,
    secret: &dyn Fn(&str) -> bool,
) -> Result<PathBuf, Failure> {
    let stage = Stage::new(git, place, config)?;
    stage.run(
        sandbox,
        &format!(
            "git rev-list --no-object-names --parents -n {COMMITS} --branches --tags --remotes HEAD > commits && \
             git rev-list --objects -n {COMMITS} --branches --tags --remotes HEAD > objects && \
             git for-each-ref --format='%(objectname) %(refname)' refs/heads refs/tags refs/remotes > names && \
             git rev-parse --show-object-format > format"
        ),
    )?;
    let objects = stage.read("objects")?;
    let (mut wanted, mut replaced) = (String::new(), Vec::new());
    for line in objects.lines() {
        let (object, path) = line.split_once(' ').unwrap_or((line, ""));
        if !path.is_empty() && secret(path) {
            replaced.push(object);
        } else {
            wanted.push_str(object);
            wanted.push('\n');
        }
    }
    fs::write(stage.live.join("wanted"), &wanted)?;
    fs::write(stage.live.join("replaced"), REPLACED)?;
    stage.run(
        sandbox,
        "git init -q --bare --template= --object-format=\"$(cat format)\" view && \
         GIT_OBJECT_DIRECTORY=\"$PWD/view/objects\" GIT_ALTERNATE_OBJECT_DIRECTORIES=\"$GIT_DIR/objects\" \
         git pack-objects -q view/objects/pack/pack < wanted > /dev/null && \
         GIT_DIR=view git hash-object -w replaced > mark",
    )?;
    let view = stage.upper.join("view");
    let known: HashSet<&str> = wanted.lines().collect();
    let mark = stage.read("mark")?;
    fs::write(
        view.join("packed-refs"),
        names(&stage.read("names")?, &known, &replaced, mark.trim()),
    )?;
    let shallow = cut(&stage.read("commits")?);
    if !shallow.is_empty() {
        fs::write(view.join("shallow"), shallow)?;
    }
    let head = if head.starts_with("ref: refs/") {
        head.to_owned()
    } else {
        head.chars()
            .filter(char::is_ascii_hexdigit)
            .collect::<String>()
            + "\n"
    };
    fs::write(view.join("HEAD"), head)?;
    let format = stage.read("format")?;
    fs::write(view.join("config"), settings(format.trim()))?;
    copy_index(git, &view)?;
    Ok(view)
}

/// Where a view is made: an empty live tree under a kept layer.
struct Stage<'a> {
    git: &'a Path,
    live: PathBuf,
    upper: PathBuf,
    work: PathBuf,
    environment: BTreeMap<String, String>,
}

impl<'a> Stage<'a> {
    fn new(git: &'a Path, place: &Path, config: &WorkbenchConfig) -> Result<Self, Failure> {
        let stage = Self {
            git,
            live: place.join("live"),
            upper: place.join("upper"),
            work: place.join("work"),
            environment: config
                .environment_variables
                .iter()
                .filter(|(name, _)| *name == "PATH")
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        };
        for directory in [&stage.live, &stage.upper, &stage.work] {
            fs::create_dir_all(directory)?;
        }
        Ok(stage)
    }

    fn run(&self, sandbox: &Sandbox, script: &str) -> Result<(), Failure> {
        let workspace = Workspace::new(
            &self.live,
            Access::Keep {
                upper: self.upper.clone(),
                work: self.work.clone(),
            },
        );
        let mut spec = SandboxSpec::new(script, workspace);
        spec.environment = self.environment.clone();
        let own = ENVIRONMENT.iter().chain(READING);
        for (name, value) in own {
            spec.environment
                .insert((*name).to_owned(), (*value).to_owned());
        }
        spec.environment.insert(
            "GIT_DIR".to_owned(),
            self.git.to_string_lossy().into_owned(),
        );
        spec.visible = vec![self.git.to_owned()];
        spec.limits.wall = Duration::from_secs(60);
        let output = sandbox.run(spec, &CancelToken::new())?;
        if output.ended.success() {
            Ok(())
        } else {
            Err(Failure::Git(crate::broker::shorten(&output.stderr, 500)))
        }
    }

    /// What a command left in the layer.
    fn read(&self, name: &str) -> Result<String, Failure> {
        let file = open_beneath(
            &self.upper,
            Path::new(name),
            OFlags::RDONLY | OFlags::NONBLOCK,
        )?;
        let mut bytes = Vec::new();
        file.take(MAX_LIST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_LIST {
            return Err(Failure::Git("the history has too many objects".to_owned()));
        }
        // A name that is not UTF-8 is only looked at.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Branches and tags whose commits are there, and a replacement for each left-out file.
fn names(listed: &str, known: &HashSet<&str>, replaced: &[&str], mark: &str) -> String {
    let mut names: BTreeSet<(String, &str)> = listed
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(object, _)| known.contains(object))
        .map(|(object, name)| (name.to_owned(), object))
        .collect();
    names.extend(
        replaced
            .iter()
            .map(|object| (format!("refs/replace/{object}"), mark)),
    );
    names
        .iter()
        .map(|(name, object)| format!("{object} {name}\n"))
        .collect()
}

/// Commits that have a parent which is not there: history ends at them.
fn cut(commits: &str) -> String {
    let there: HashSet<&str> = commits
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    commits
        .lines()
        .filter_map(|line| {
            let mut parts = line.split(' ');
            let commit = parts.next()?;
            parts
                .any(|parent| !there.contains(parent))
                .then(|| format!("{commit}\n"))
        })
        .collect()
}

fn settings(format: &str) -> String {
    let (version, extension) = if format == "sha256" {
        (1, "[extensions]\n\tobjectFormat = sha256\n")
    } else {
        (0, "")
    };
    format!(
        "[core]\n\trepositoryFormatVersion = {version}\n\tfileMode = true\n\tbare = false\n{extension}"
    )
}

/// The index names files and objects, and holds no content.
fn copy_index(git: &Path, view: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(git)?.flatten() {
        let name = entry.file_name();
        let Some(plain) = name.to_str() else { continue };
        if plain != "index" && !plain.starts_with("sharedindex.") {
            continue;
        }
        let file = open_beneath(git, Path::new(&name), OFlags::RDONLY | OFlags::NONBLOCK)?;
        let mut bytes = Vec::new();
        file.take(MAX_INDEX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 <= MAX_INDEX {
            fs::write(view.join(&name), bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_ends_where_a_parent_is_missing() {
        assert_eq!(cut("c b\nb a\n"), "b\n");
        assert_eq!(cut("c b a\nb\na\n"), "");
        assert_eq!(cut(""), "");
    }

    #[test]
    fn names_lead_to_what_is_there() {
        let known = HashSet::from(["aa", "bb"]);
        assert_eq!(
            names(
                "bb refs/heads/main\ncc refs/tags/gone\n",
                &known,
                &["dd"],
                "ee"
            ),
            "bb refs/heads/main\nee refs/replace/dd\n"
        );
    }
}
