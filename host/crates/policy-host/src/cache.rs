//! Machine code of modules that this host compiled itself. Loading it is as
//! trusting as running it, so a file counts only when it and its directory belong
//! to this user and nobody else can write them; anything else is compiled anew.
//!
//! - The name holds the module's digest and a hash of the engine's version and
//!   settings: a file of another module, engine or machine type is never looked at.
//! - Files are made under a name of their own, 0600, never following a link, then renamed.
//! - A checksum in front of the code finds torn files. It vouches for nothing else:
//!   whoever can write here can write the checksum, too.

use crate::dimensions;
use crate::engine::PolicyEngine;
use selfheal_domain::digest::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::component::Component;

/// Largest file read back, in bytes.
const LARGEST: u64 = 512 << 20;

/// Where compiled modules are kept.
#[derive(Clone, Debug)]
pub struct CodeCache {
    directory: Option<PathBuf>,
}

impl CodeCache {
    /// Keeps nothing: every start compiles.
    pub fn none() -> Self {
        Self { directory: None }
    }

    /// Keeps compiled modules in `directory`, which is made when missing (0700).
    /// When it cannot be trusted, nothing is kept and a warning says why.
    pub fn in_directory(directory: PathBuf) -> Self {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory);
        match made.and_then(|()| trusted_directory(&directory)) {
            Ok(()) => {
                crate::files::sweep(&directory, "");
                Self {
                    directory: Some(directory),
                }
            }
            Err(error) => {
                tracing::warn!(directory = %directory.display(), %error, "compiled policy modules are not kept");
                Self::none()
            }
        }
    }

    /// Whether anything is kept.
    pub(crate) fn keeps(&self) -> bool {
        self.directory.is_some()
    }

    /// The compiled component, from the cache or from the compiler. Under one digest
    /// there is one component.
    pub(crate) fn compile(
        &self,
        engine: &PolicyEngine,
        digest: &Digest,
        bytes: &[u8],
    ) -> wasmtime::Result<Component> {
        if let Some(component) = self.find(engine, digest) {
            return Ok(component);
        }
        let component = compile_new(engine, bytes)?;
        if let Some(directory) = &self.directory {
            let path = directory.join(file_name(engine, digest));
            let written = component
                .serialize()
                .map_err(|error| io::Error::other(error.to_string()))
                .and_then(|code| write_trusted(directory, &path, &code));
            if let Err(error) = written {
                tracing::warn!(path = %path.display(), %error, "compiled policy module is not kept");
            }
        }
        Ok(component)
    }

    /// A text that was kept, too: what is known of a module and need not be found out
    /// anew.
    pub(crate) fn noted(&self, engine: &PolicyEngine, digest: &Digest) -> Option<String> {
        let path = self.directory.as_ref()?.join(note_name(engine, digest));
        let bytes = read_trusted(&path).ok()??;
        String::from_utf8(bytes).ok()
    }

    /// Keeps such a text.
    pub(crate) fn note(&self, engine: &PolicyEngine, digest: &Digest, text: &str) {
        let Some(directory) = &self.directory else {
            return;
        };
        let path = directory.join(note_name(engine, digest));
        if let Err(error) = write_trusted(directory, &path, text.as_bytes()) {
            tracing::warn!(path = %path.display(), %error, "what is known of a policy module is not kept");
        }
    }

    /// The compiled component, if it is kept.
    pub(crate) fn find(&self, engine: &PolicyEngine, digest: &Digest) -> Option<Component> {
        let path = self.directory.as_ref()?.join(file_name(engine, digest));
        match read_trusted(&path) {
            Ok(Some(code)) => match deserialize(engine, &code) {
                Ok(component) => return Some(component),
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "compiled policy module is unusable")
                }
            },
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled policy module is not trusted")
            }
        }
        None
    }
}

/// Compiles what can be compiled within bounds. A module that the compiler cannot
/// take, to the point of giving up, is refused like any other: no module ends the host.
fn compile_new(engine: &PolicyEngine, bytes: &[u8]) -> wasmtime::Result<Component> {
    // A text is what it says, not how it is written.
    let bytes = wat::parse_bytes(bytes).map_err(wasmtime::Error::from)?;
    dimensions::check(&bytes).map_err(|why| {
        wasmtime::Error::msg(format!("what compiling it costs is not bounded: {why}"))
    })?;
    let compile = std::panic::AssertUnwindSafe(|| Component::new(engine.wasm(), &bytes));
    std::panic::catch_unwind(compile)
        .unwrap_or_else(|_| Err(wasmtime::Error::msg("the compiler gave up on it")))
}

#[expect(
    unsafe_code,
    reason = "the bytes were made by this user's host and their digest matches"
)]
fn deserialize(engine: &PolicyEngine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `read_trusted` vouches that only this user could have written the
    // file, and its checksum that it was written completely; wasmtime itself checks
    // version and settings.
    unsafe { Component::deserialize(engine.wasm(), code) }
}

fn file_name(engine: &PolicyEngine, digest: &Digest) -> String {
    format!("{}.cwasm", stem(engine, digest))
}

/// Also by the host's version, which may find out something else.
fn note_name(engine: &PolicyEngine, digest: &Digest) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!("{}-{version}.note", stem(engine, digest))
}

fn stem(engine: &PolicyEngine, digest: &Digest) -> String {
    // Of the format of the files, which begin with their checksum.
    let mut hasher = StableHasher(Sha256::new_with_prefix(b"crc32c"));
    engine
        .wasm()
        .precompile_compatibility_hash()
        .hash(&mut hasher);
    let compatibility = hex::encode(hasher.0.finalize());
    let short = compatibility.get(..16).unwrap_or_default();
    format!("{digest}-{short}")
}

/// SHA-256 behind the `Hash` trait; stable from run to run.
struct StableHasher(Sha256);

impl Hasher for StableHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
    fn finish(&self) -> u64 {
        0
    }
}

fn refused(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, what)
}

fn trusted_directory(directory: &Path) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(directory)?;
    if !metadata.is_dir() {
        return Err(refused("it is not a directory"));
    }
    owned_alone(metadata.uid(), metadata.mode())
}

fn owned_alone(owner: u32, mode: u32) -> io::Result<()> {
    if owner != rustix::process::geteuid().as_raw() {
        return Err(refused("it belongs to another user"));
    }
    if mode & 0o022 != 0 {
        return Err(refused("others can write it"));
    }
    Ok(())
}

fn read_trusted(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let flags = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(refused("it is no file of ours"));
    }
    owned_alone(metadata.uid(), metadata.mode())?;
    let mut written = [0; 4];
    file.read_exact(&mut written)?;
    let mut code = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.read_to_end(&mut code)?;
    if crc32c::crc32c(&code).to_le_bytes() != written {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is torn"));
    }
    Ok(Some(code))
}

fn write_trusted(directory: &Path, path: &Path, code: &[u8]) -> io::Result<()> {
    trusted_directory(directory)?;
    // `create_new` refuses whatever is there already, links included.
    static ATTEMPTS: AtomicU64 = AtomicU64::new(0);
    let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
    let fresh = path.with_extension(format!("{}-{attempt}.new", std::process::id()));
    let mut file = create(&fresh)?;
    let written = file
        .write_all(&crc32c::crc32c(code).to_le_bytes())
        .and_then(|()| file.write_all(code))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&fresh, path));
    written.inspect_err(|_| {
        // Nothing depends on the remains; the next attempt has another name.
        let _ = std::fs::remove_file(&fresh);
    })
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const EMPTY: &[u8] = b"(component)";

    fn files(directory: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    #[test]
    fn compiled_code_is_kept_privately_and_found_again() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("code");
        let cache = CodeCache::in_directory(directory.clone());
        let engine = PolicyEngine::new().unwrap();
        let digest = Digest::of(EMPTY);
        cache.compile(&engine, &digest, EMPTY).unwrap();
        let kept = files(&directory);
        assert_eq!(kept.len(), 1);
        let file = kept.first().unwrap();
        assert_eq!(
            std::fs::metadata(file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(read_trusted(file).unwrap().is_some());
        // Bytes that cannot be compiled prove that the second time only loads.
        cache.compile(&engine, &digest, b"not a component").unwrap();
    }

    #[test]
    fn notes_are_kept_like_code() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("code");
        let cache = CodeCache::in_directory(directory.clone());
        let engine = PolicyEngine::new().unwrap();
        let digest = Digest::of(EMPTY);
        assert_eq!(cache.noted(&engine, &digest), None);
        cache.note(&engine, &digest, "a\nb");
        assert_eq!(cache.noted(&engine, &digest).as_deref(), Some("a\nb"));
        assert_eq!(cache.noted(&engine, &Digest::of(b"other")), None);
        let file = files(&directory).remove(0);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(cache.noted(&engine, &digest), None);
    }

    #[test]
    fn foreign_or_torn_files_are_compiled_anew() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("code");
        let cache = CodeCache::in_directory(directory.clone());
        let engine = PolicyEngine::new().unwrap();
        let digest = Digest::of(EMPTY);
        cache.compile(&engine, &digest, EMPTY).unwrap();
        let file = files(&directory).remove(0);

        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(read_trusted(&file).is_err());
        assert!(cache.compile(&engine, &digest, b"not a component").is_err());

        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.truncate(bytes.len() - 7);
        std::fs::write(&file, bytes).unwrap();
        assert!(read_trusted(&file).is_err());

        let elsewhere = home.path().join("elsewhere");
        std::fs::rename(&file, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
        assert!(read_trusted(&file).is_err());
    }

    #[test]
    fn a_directory_that_others_can_write_is_not_used() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("code");
        std::fs::create_dir(&directory).unwrap();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(CodeCache::in_directory(directory).directory.is_none());
    }
}
