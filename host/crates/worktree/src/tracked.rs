//! Which files git tracks, for callers that ask often.

use crate::fail::failed;
use git2::Index;
use selfheal_domain::ports::RepositoryError;
use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What an index file is recognised by: git replaces it, so its inode changes.
type Stamp = (u64, u64, u64, i64, i64);

type Kept = Option<(Stamp, Arc<BTreeSet<String>>)>;

/// The list of one repository, kept until its index changes.
#[derive(Debug)]
pub(crate) struct TrackedFiles {
    index: PathBuf,
    kept: Mutex<Kept>,
}

impl TrackedFiles {
    pub(crate) fn new(index: PathBuf) -> Self {
        Self {
            index,
            kept: Mutex::default(),
        }
    }

    pub(crate) fn list(&self) -> Result<Arc<BTreeSet<String>>, RepositoryError> {
        let stamp = std::fs::metadata(&self.index)
            .map(|meta| {
                (
                    meta.dev(),
                    meta.ino(),
                    meta.size(),
                    meta.mtime(),
                    meta.mtime_nsec(),
                )
            })
            .unwrap_or_default();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((then, list)) = kept.as_ref()
            && *then == stamp
        {
            return Ok(Arc::clone(list));
        }
        let index = Index::open(&self.index).map_err(failed("reading the index"))?;
        let list: BTreeSet<String> = index
            .iter()
            .filter_map(|entry| String::from_utf8(entry.path).ok())
            .collect();
        let list = Arc::new(list);
        *kept = Some((stamp, Arc::clone(&list)));
        Ok(list)
    }
}
