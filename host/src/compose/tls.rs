//! The host's certificate and key: read, checked, and read again when they were renewed.

use crate::config::TlsFiles;
use selfheal_api::{Identity, IdentityError};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(30);
/// Whoever is neither the owner nor in the group may do nothing with a key; the group may
/// read it at most.
const FORBIDDEN: u32 = 0o037;

/// Certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("server.tls: {} cannot be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others can read the key.
    #[error(
        "{} can be read or changed by others (mode {mode:o}): chmod 600, or 640 for a group of \
         its own", path.display()
    )]
    Open {
        /// The key.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What they hold makes no sense.
    #[error("server.tls ({} with {})", certificate.display(), key.display())]
    Identity {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: IdentityError,
    },
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

/// What the files hold now.
pub(crate) fn identity(files: &TlsFiles) -> Result<Identity, TlsError> {
    let metadata = std::fs::metadata(&files.key).map_err(|source| TlsError::Read {
        path: files.key.clone(),
        source,
    })?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & FORBIDDEN != 0 {
        return Err(TlsError::Open {
            path: files.key.clone(),
            mode,
        });
    }
    let (certificates, key) = (read(&files.certificate)?, read(&files.key)?);
    Identity::from_pem(&certificates, &key).map_err(|source| TlsError::Identity {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        source,
    })
}

/// What tells one state of the files from another.
fn state(files: &TlsFiles) -> Vec<Option<(u64, u64, i64, i64)>> {
    let of = |path: &PathBuf| {
        let metadata = std::fs::metadata(path).ok()?;
        let changed = (metadata.mtime(), metadata.mtime_nsec());
        Some((metadata.ino(), metadata.len(), changed.0, changed.1))
    };
    [&files.certificate, &files.key].map(of).to_vec()
}

/// Puts a renewed certificate into force, within half a minute or on SIGHUP. One that
/// cannot be used leaves the old one in force.
pub(crate) async fn follow(files: TlsFiles, identities: watch::Sender<Identity>) {
    let mut known = state(&files);
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::error!(%error, "a renewed certificate needs a restart");
            return;
        }
    };
    loop {
        tokio::select! {
            _ = hangup.recv() => {}
            () = tokio::time::sleep(LOOK) => {
                if state(&files) == known {
                    continue;
                }
            }
        }
        known = state(&files);
        match identity(&files) {
            Ok(renewed) => {
                tracing::info!("the TLS certificate was read again");
                identities.send_replace(renewed);
            }
            Err(error) => {
                let error = anyhow::Error::new(error);
                tracing::error!("the TLS certificate stays as it was: {error:#}");
            }
        }
    }
}
