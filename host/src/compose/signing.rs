//! The key that this installation signs its commits with, and the list that auditors
//! give to `git verify-commit`.

use super::identity;
use crate::failure::{Because, Exit, Failure};
use selfheal_worktree::{CommitKey, CommitPublicKey};
use std::path::Path;
use std::sync::Arc;

/// The secret key, in the data directory.
const KEY: &str = "commit.key";
/// Keys whose signatures count, as OpenSSH lists them; also those of earlier times.
const SIGNERS: &str = "allowed_signers";

/// The key; made with the first start.
pub(super) fn commit_key(data: &Path) -> Result<Arc<CommitKey>, Failure> {
    let key = CommitKey::open_or_create(&data.join(KEY)).because(Exit::Unavailable)?;
    let file = data.join(SIGNERS);
    let listed = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).because(Exit::Unavailable),
    };
    let line = allowed_signer(&key.public());
    if !listed.lines().any(|known| known == line) {
        std::fs::write(&file, format!("{listed}{line}\n")).because(Exit::Unavailable)?;
    }
    Ok(Arc::new(key))
}

/// The line that makes `git verify-commit` believe a key, for this machine's commits.
pub(crate) fn allowed_signer(key: &CommitPublicKey) -> String {
    key.allowed_signer(&identity().email)
}
