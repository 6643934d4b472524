//! The key of the installation that signs the heads of its log.
//!
//! `log.key` is secret and readable by its owner only; `log.pub` holds the public
//! half, which auditors keep elsewhere and give to `selfheal audit verify --key`.

use crate::journal::sync_directory;
use selfheal_audit::note::{LogSigner, LogVerifier, NoteError};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The secret key, in the data directory.
pub(crate) const SECRET: &str = "log.key";
/// The public key, beside it.
pub(crate) const PUBLIC: &str = "log.pub";

/// The key of the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file cannot be read or written.
    #[error("{} cannot be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no key.
    #[error("{} is no key of a log; restore it from a backup", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: NoteError,
    },
    /// There are signed heads, but the key that signed them is gone.
    #[error(
        "{} is missing, but this log has a signed head; restore the key from a backup, or, to go on under a new key, move {} away and tell your auditors",
        key.display(),
        log.display()
    )]
    Missing {
        /// The key.
        key: PathBuf,
        /// The published log.
        log: PathBuf,
    },
    /// The machine gives no random numbers.
    #[error("the machine gives no random numbers: {0}")]
    Random(getrandom::Error),
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_owned();
    move |source| KeyError::File { path, source }
}

/// Writes a file so that it is there whole, and on disk, or not at all.
pub(crate) fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let fresh = path.with_extension("new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

/// The signer of the log in `data`; made with the first one.
pub(crate) fn signer(data: &Path, published: &Path) -> Result<LogSigner, KeyError> {
    let path = data.join(SECRET);
    let content = |source| KeyError::Content {
        path: path.clone(),
        source,
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if published.join(crate::publish::CHECKPOINT).exists() {
                return Err(KeyError::Missing {
                    key: path,
                    log: published.to_owned(),
                });
            }
            let (mut seed, mut name) = ([0; 32], [0; 8]);
            getrandom::fill(&mut seed).map_err(KeyError::Random)?;
            getrandom::fill(&mut name).map_err(KeyError::Random)?;
            let name = format!("selfheal/{}", hex::encode(name));
            let text = LogSigner::secret_text(&name, &seed).map_err(content)? + "\n";
            write_durably(&path, text.as_bytes(), 0o600).map_err(file_error(&path))?;
            sync_directory(data).map_err(file_error(&path))?;
            text
        }
        Err(source) => return Err(KeyError::File { path, source }),
    };
    let signer = LogSigner::parse(&text).map_err(content)?;
    let public = data.join(PUBLIC);
    let text = format!("{}\n", signer.verifier());
    if std::fs::read_to_string(&public).ok().as_ref() != Some(&text) {
        write_durably(&public, text.as_bytes(), 0o644).map_err(file_error(&public))?;
    }
    Ok(signer)
}

/// The public key of the log in `data`, if it has one.
pub(crate) fn verifier(data: &Path) -> Result<Option<LogVerifier>, KeyError> {
    let path = data.join(PUBLIC);
    match std::fs::read_to_string(&path) {
        Ok(text) => LogVerifier::parse(&text)
            .map(Some)
            .map_err(|source| KeyError::Content { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KeyError::File { path, source }),
    }
}
