//! Texts of a commit, read within limits. Blobs only: links, submodules and the
//! live tree are never touched.

use crate::fail::failed;
use crate::repository::find_commit;
use git2::{ObjectType, Repository as Git, TreeWalkMode, TreeWalkResult};
use selfheal_domain::ids::CommitId;
use selfheal_domain::ports::{Coverage, ReadLimits, RepositoryError};
use std::time::Instant;

/// File modes that git gives to regular files.
const REGULAR: [i32; 2] = [0o100_644, 0o100_755];

/// See [`Repository::read_files`](selfheal_domain::ports::Repository::read_files).
pub(crate) fn read(
    repo: &Git,
    commit: &CommitId,
    limits: ReadLimits,
    wants: &dyn Fn(&str) -> bool,
    read: &mut dyn FnMut(&str, &str),
) -> Result<Coverage, RepositoryError> {
    let tree = find_commit(repo, commit)?
        .tree()
        .map_err(failed("reading the commit's tree"))?;
    let objects = repo.odb().map_err(failed("opening the objects"))?;
    let start = Instant::now();
    let (mut files, mut bytes) = (0_usize, 0_u64);
    let mut coverage = Coverage::Whole;
    let mut visit = |directory: &str, entry: &git2::TreeEntry<'_>| {
        if start.elapsed() > limits.time || files >= limits.files || bytes >= limits.bytes {
            coverage = Coverage::Part;
            return TreeWalkResult::Abort;
        }
        if entry.kind() != Some(ObjectType::Blob) || !REGULAR.contains(&entry.filemode()) {
            return TreeWalkResult::Ok;
        }
        let Ok(name) = entry.name() else {
            return TreeWalkResult::Ok;
        };
        let path = format!("{directory}{name}");
        if !wants(&path) {
            return TreeWalkResult::Ok;
        }
        let size = objects
            .read_header(entry.id())
            .map(|(size, _)| u64::try_from(size).unwrap_or(u64::MAX));
        match size {
            Ok(size) if size <= limits.file_bytes => {
                files += 1;
                bytes = bytes.saturating_add(size);
            }
            Ok(_) | Err(_) => {
                coverage = Coverage::Part;
                return TreeWalkResult::Ok;
            }
        }
        match objects.read(entry.id()) {
            Ok(object) => read(&path, &String::from_utf8_lossy(object.data())),
            Err(_) => coverage = Coverage::Part,
        }
        TreeWalkResult::Ok
    };
    let walked = tree.walk(TreeWalkMode::PreOrder, &mut visit);
    // Ending it early is reported as an error, and is none.
    match (walked, coverage) {
        (Err(error), Coverage::Whole) => Err(failed("walking the commit's tree")(error)),
        (_, coverage) => Ok(coverage),
    }
}
