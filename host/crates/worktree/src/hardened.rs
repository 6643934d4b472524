//! Opening repositories: durable writes switched on first, then every kind that
//! libgit2 would read wrongly, and every one that points outside itself, refused.
//!
//! libgit2 runs no hooks, no fsmonitor, no external filter, diff or merge driver;
//! nothing here adds one. What it converts itself (line endings, `$Id$`) is
//! refused for the files a patch touches, see
//! [`Attributes::refuse_conversion`](crate::attributes::Attributes::refuse_conversion).

use crate::fail::failed;
use git2::{ErrorCode, Oid, Repository, RepositoryOpenFlags, RepositoryState};
use selfheal_domain::ids::CommitId;
use selfheal_domain::ports::RepositoryError;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where a repository is and what it stands on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Discovered {
    /// Root of the live tree, canonical.
    pub root: PathBuf,
    /// Its git directory, canonical; of a linked worktree, that worktree's own.
    pub git_dir: PathBuf,
    /// The commit that `HEAD` points to.
    pub head: CommitId,
    /// The branch that is checked out; none when `HEAD` is detached.
    pub branch: Option<String>,
}

/// The repository that contains `path`.
///
/// # Errors
/// [`RepositoryError::Unsupported`] names what is in the way: no repository, bare,
/// no commit yet, owned by somebody else, or of a kind that libgit2 cannot read.
pub fn discover(path: &Path) -> Result<Discovered, RepositoryError> {
    let repo = open(path)?;
    let head = repo
        .head()
        .and_then(|head| head.peel_to_commit())
        .map_err(failed("reading HEAD"))?;
    Ok(Discovered {
        root: root_of(&repo)?,
        git_dir: canonical(repo.path())?,
        head: CommitId(head.id().to_string()),
        branch: live_branch(&repo).ok(),
    })
}

/// libgit2 syncs nothing by default, and the switch counts only for repositories
/// opened after it was set.
fn make_durable() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        libgit2_sys::init();
        #[expect(
            unsafe_code,
            reason = "git2 does not wrap this option; it takes one int and is set once, before any repository is open"
        )]
        // SAFETY: libgit2 is initialised, the option takes exactly one C int.
        let code = unsafe {
            libgit2_sys::git_libgit2_opts(
                libgit2_sys::GIT_OPT_ENABLE_FSYNC_GITDIR as std::ffi::c_int,
                1_i32,
            )
        };
        if code < 0 {
            tracing::error!(code, "git objects and refs will not be synced to disk");
        }
    });
}

/// Opens the repository that contains `path`, or says why not.
pub(crate) fn open(path: &Path) -> Result<Repository, RepositoryError> {
    let repo = open_again(path)?;
    if repo.index().is_err() {
        return Err(unsupported(
            "its index is of a kind that cannot be read (split, sparse or damaged)",
        ));
    }
    Ok(repo)
}

/// The same without reading the index, which costs what the repository costs: who
/// needs it reads it anyway.
pub(crate) fn open_again(path: &Path) -> Result<Repository, RepositoryError> {
    make_durable();
    let repo = Repository::open_ext(path, RepositoryOpenFlags::empty(), &[] as &[&Path]).map_err(
        |error| match error.code() {
            ErrorCode::NotFound => unsupported(format!(
                "there is no git repository at or above {}; run `git init` and commit first",
                path.display()
            )),
            ErrorCode::Owner => unsupported(format!(
                "{} belongs to another user; run the host as its owner, or name it in \
                     git's safe.directory",
                path.display()
            )),
            _ => unsupported(unknown_kind(error.message())),
        },
    )?;
    refuse_unreadable(&repo)?;
    Ok(repo)
}

/// What libgit2 does not open, in words of people.
fn unknown_kind(message: &str) -> String {
    let lower = message.to_ascii_lowercase();
    if ["objectformat", "object format", "sha256"]
        .iter()
        .any(|word| lower.contains(word))
    {
        "its object format is SHA-256; convert it, or heal a SHA-1 clone".to_owned()
    } else if lower.contains("refstorage") {
        "its refs are not stored as files (reftable); run `git refs migrate --ref-format=files`"
            .to_owned()
    } else {
        format!("git cannot open it: {message}")
    }
}

/// A second handle on an open repository, without asking everything again.
pub(crate) fn reopen(repo: &Repository) -> Result<Repository, RepositoryError> {
    let flags = RepositoryOpenFlags::NO_SEARCH;
    let at = repo.workdir().unwrap_or_else(|| repo.path());
    Repository::open_ext(at, flags, &[] as &[&Path]).map_err(failed("opening the repository"))
}

fn refuse_unreadable(repo: &Repository) -> Result<(), RepositoryError> {
    if repo.is_bare() {
        return Err(unsupported("it is bare: there is no live tree to heal"));
    }
    let root = root_of(repo)?;
    // `core.worktree` could point the live tree at any directory of the machine.
    let marker = root.join(".git");
    let own = match std::fs::symlink_metadata(&marker) {
        Ok(meta) if meta.is_dir() => canonical(&marker)? == canonical(repo.path())?,
        Ok(meta) => meta.is_file(),
        Err(_) => false,
    };
    if !own {
        return Err(unsupported(
            "its work tree is not where its .git is (core.worktree); heal it from a plain checkout",
        ));
    }
    refuse_foreign(repo, &marker)?;
    let config = repo
        .config()
        .and_then(|mut config| config.snapshot())
        .map_err(failed("reading the repository's configuration"))?;
    let text = |key: &str| config.get_string(key).unwrap_or_default();
    let flag = |key: &str| config.get_bool(key).unwrap_or(false);
    let promised = config
        .entries(Some("remote\\..*\\.promisor"))
        .is_ok_and(|mut entries| entries.next().is_some());
    if promised || !text("extensions.partialclone").is_empty() {
        return Err(unsupported(
            "it is a partial clone, whose missing objects cannot be read; fetch them all (`git fetch \
             --refetch --no-filter`), then unset remote.NAME.promisor",
        ));
    }
    if flag("core.sparsecheckout") && flag("index.sparse") {
        return Err(unsupported(
            "its index is sparse; run `git sparse-checkout reapply --no-sparse-index`",
        ));
    }
    if flag("core.splitindex") {
        return Err(unsupported(
            "its index is split; run `git update-index --no-split-index`",
        ));
    }
    if matches!(repo.is_empty(), Ok(true)) || repo.head().is_err() {
        return Err(unsupported(
            "the checked-out branch has no commit yet; commit once first",
        ));
    }
    Ok(())
}

/// Parts of a git directory through which something is written.
const PARTS: &[&str] = &[
    "HEAD",
    "index",
    "logs",
    "logs/refs",
    "logs/refs/heads",
    "logs/refs/selfheal",
    "objects",
    "objects/pack",
    "packed-refs",
    "refs",
    "refs/heads",
    "refs/selfheal",
];

/// What is written must land in this repository: none of its parts leads elsewhere, and
/// a `.git` file names a repository that names this tree in turn (a linked worktree, a
/// submodule). Any other would take our commits without its owner knowing.
fn refuse_foreign(repo: &Repository, marker: &Path) -> Result<(), RepositoryError> {
    for base in [repo.path(), repo.commondir()] {
        for part in PARTS {
            let linked = std::fs::symlink_metadata(base.join(part))
                .is_ok_and(|meta| meta.file_type().is_symlink());
            if linked {
                return Err(unsupported(format!(
                    "its .git/{part} is a link; heal it from a plain checkout"
                )));
            }
        }
    }
    if marker.is_dir() {
        return Ok(());
    }
    let worktree = std::fs::read_to_string(repo.path().join("gitdir"))
        .is_ok_and(|named| same(Path::new(named.trim()), marker));
    let submodule = repo
        .config()
        .and_then(|config| config.get_path("core.worktree"))
        .is_ok_and(|named| same(&repo.path().join(named).join(".git"), marker));
    if worktree || submodule {
        return Ok(());
    }
    Err(unsupported(
        "its .git is a file that points to a repository which does not name this tree in turn; if \
         it is this tree's own (git init --separate-git-dir), run `git config core.worktree \
         \"$PWD\"` here, else heal it from a plain checkout",
    ))
}

fn same(one: &Path, other: &Path) -> bool {
    match (canonical(one), canonical(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// Nothing else is under way, no conflict is open, and a branch is checked out.
pub(crate) fn refuse_unsettled(repo: &Repository) -> Result<String, RepositoryError> {
    let state = repo.state();
    if state != RepositoryState::Clean {
        return Err(unsupported(format!(
            "a {} is in progress; finish or abort it first",
            match state {
                RepositoryState::Merge => "merge",
                RepositoryState::Revert | RepositoryState::RevertSequence => "revert",
                RepositoryState::CherryPick | RepositoryState::CherryPickSequence => "cherry-pick",
                RepositoryState::Bisect => "bisect",
                RepositoryState::ApplyMailbox | RepositoryState::ApplyMailboxOrRebase =>
                    "mailbox import",
                _ => "rebase",
            }
        )));
    }
    live_branch(repo)
}

/// The branch that is checked out.
pub(crate) fn live_branch(repo: &Repository) -> Result<String, RepositoryError> {
    let head = repo
        .find_reference("HEAD")
        .map_err(failed("reading HEAD"))?;
    let target = head.symbolic_target().ok().flatten();
    target
        .and_then(|target| target.strip_prefix("refs/heads/"))
        .map(str::to_owned)
        .ok_or_else(|| {
            unsupported(
                "HEAD is detached: heal commits need a branch to stand on; check one out first",
            )
        })
}

/// What the branch points to.
pub(crate) fn tip(repo: &Repository, branch: &str) -> Result<Oid, RepositoryError> {
    repo.find_reference(&format!("refs/heads/{branch}"))
        .map_err(failed(format!("reading branch {branch}")))?
        .target()
        .ok_or_else(|| unsupported(format!("branch {branch} is an alias of another ref")))
}

/// Root of the live tree, canonical.
pub(crate) fn root_of(repo: &Repository) -> Result<PathBuf, RepositoryError> {
    let root = repo
        .workdir()
        .ok_or_else(|| unsupported("it is bare: there is no live tree to heal"))?;
    canonical(root)
}

/// `path` without links.
pub(crate) fn canonical(path: &Path) -> Result<PathBuf, RepositoryError> {
    std::fs::canonicalize(path).map_err(failed(format!("resolving {}", path.display())))
}

/// A refusal.
pub(crate) fn unsupported(why: impl Into<String>) -> RepositoryError {
    RepositoryError::Unsupported(why.into())
}
