//! The installation's key: signatures over commits as OpenSSH makes them, which
//! `git verify-commit` checks with nothing but a list of allowed signers.
//!
//! The format is OpenSSH's `PROTOCOL.sshsig` with an Ed25519 key and namespace `git`;
//! the key file is an unencrypted `openssh-key-v1`, so `ssh-keygen` reads both. The key
//! signs commits and nothing else.

use crate::message::CommitSigner;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256, Sha512};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use zeroize::Zeroizing;

const ALGORITHM: &[u8] = b"ssh-ed25519";
const MAGIC: &[u8] = b"SSHSIG";
const NAMESPACE: &[u8] = b"git";
const HASH: &[u8] = b"sha512";
const KEY_MAGIC: &[u8] = b"openssh-key-v1\0";
const KEY_BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const KEY_END: &str = "-----END OPENSSH PRIVATE KEY-----";
const SIGNATURE_BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const SIGNATURE_END: &str = "-----END SSH SIGNATURE-----";
/// Characters per line of an armoured text, as OpenSSH breaks them.
const LINE: usize = 70;
const LARGEST_KEY_FILE: u64 = 4096;

/// A public key that commits are signed with, written as OpenSSH does:
/// `ssh-ed25519 BASE64`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CommitPublicKey([u8; 32]);

/// A text that is no public key of ours.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no Ed25519 public key as OpenSSH writes it (ssh-ed25519 AAAA…)")]
pub struct BadPublicKey(String);

/// Why a signature does not count.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureFlaw {
    /// It is no Ed25519 SSH signature made for git.
    #[error("its signature cannot be read ({0})")]
    Unreadable(&'static str),
    /// A key that nobody here knows made it.
    #[error("it is signed by {0}, which is no key of this installation")]
    UnknownKey(String),
    /// What is signed was changed afterwards.
    #[error("its signature is of another content: it was changed after it was signed")]
    Wrong,
}

/// The key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CommitKeyError {
    /// It cannot be read or written.
    #[error("the signing key {} cannot be used", path.display())]
    File {
        /// Of the file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others than its owner may read it.
    #[error(
        "the signing key {} can be read by others (mode {mode:03o}); run: chmod 600 {}",
        path.display(), path.display()
    )]
    Exposed {
        /// Of the file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds something else.
    #[error(
        "{} is no unencrypted Ed25519 key of OpenSSH; move it away, and the next start makes a new one",
        path.display()
    )]
    NotAKey {
        /// Of the file.
        path: PathBuf,
    },
    /// The system has no randomness.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
}

impl CommitPublicKey {
    /// As `ssh-keygen -l` prints it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::digest(self.blob());
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest))
    }

    /// A line of an allowed-signers file: for git only, for whoever has this address.
    pub fn allowed_signer(&self, principal: &str) -> String {
        format!("{principal} namespaces=\"git\" {self}")
    }

    fn blob(&self) -> Vec<u8> {
        let mut blob = Vec::new();
        put(&mut blob, ALGORITHM);
        put(&mut blob, &self.0);
        blob
    }
}

impl fmt::Display for CommitPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ssh-ed25519 {}", STANDARD.encode(self.blob()))
    }
}

impl FromStr for CommitPublicKey {
    type Err = BadPublicKey;

    fn from_str(text: &str) -> Result<Self, BadPublicKey> {
        let bad = || BadPublicKey(text.to_owned());
        let mut words = text.split_ascii_whitespace();
        if words.next().map(str::as_bytes) != Some(ALGORITHM) {
            return Err(bad());
        }
        let blob = words
            .next()
            .and_then(|word| STANDARD.decode(word).ok())
            .ok_or_else(bad)?;
        public_key(&blob).ok_or_else(bad)
    }
}

/// Whether one of `keys` signed `content`; says which.
///
/// # Errors
/// See [`SignatureFlaw`].
pub fn verify_signature(
    keys: &[CommitPublicKey],
    content: &[u8],
    armoured: &str,
) -> Result<CommitPublicKey, SignatureFlaw> {
    let unreadable = SignatureFlaw::Unreadable;
    let blob = unarmour(armoured, SIGNATURE_BEGIN, SIGNATURE_END)
        .ok_or(unreadable("it is not armoured as an SSH signature"))?;
    let rest = blob
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.strip_prefix(&1_u32.to_be_bytes()))
        .ok_or(unreadable("it is no SSH signature of version 1"))?;
    let mut rest = rest;
    let mut field = || take(&mut rest).ok_or(unreadable("it is cut off"));
    let (key, namespace, _reserved, hash, signature) =
        (field()?, field()?, field()?, field()?, field()?);
    if namespace != NAMESPACE {
        return Err(unreadable("it was not made for git"));
    }
    let key = public_key(key).ok_or(unreadable("its key is not Ed25519"))?;
    if !keys.contains(&key) {
        return Err(SignatureFlaw::UnknownKey(key.fingerprint()));
    }
    let mut inner = signature;
    let (algorithm, bytes) = (take(&mut inner), take(&mut inner));
    let bytes: Option<[u8; 64]> = bytes.and_then(|bytes| bytes.try_into().ok());
    let (Some(ALGORITHM), Some(bytes)) = (algorithm, bytes) else {
        return Err(unreadable("it is not Ed25519"));
    };
    let hashed = match hash {
        HASH => Sha512::digest(content).to_vec(),
        b"sha256" => Sha256::digest(content).to_vec(),
        _ => return Err(unreadable("its hash function is not known here")),
    };
    let verifies = VerifyingKey::from_bytes(&key.0).is_ok_and(|key| {
        let signature = Signature::from_bytes(&bytes);
        key.verify_strict(&signed(hash, &hashed), &signature)
            .is_ok()
    });
    if verifies {
        Ok(key)
    } else {
        Err(SignatureFlaw::Wrong)
    }
}

/// The secret key of an installation. Its bytes are wiped from memory after use.
pub struct CommitKey(SigningKey);

impl fmt::Debug for CommitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommitKey(of {})", self.public())
    }
}

impl CommitKey {
    /// Reads the key file; makes one, for its owner only, where there is none.
    ///
    /// # Errors
    /// See [`CommitKeyError`].
    pub fn open_or_create(path: &Path) -> Result<Self, CommitKeyError> {
        match Self::read(path) {
            Err(CommitKeyError::File { source, .. }) if source.kind() == ErrorKind::NotFound => {
                Self::create(path)
            }
            other => other,
        }
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> CommitPublicKey {
        CommitPublicKey(self.0.verifying_key().to_bytes())
    }

    fn read(path: &Path) -> Result<Self, CommitKeyError> {
        let failed = |source| CommitKeyError::File {
            path: path.to_owned(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)
            .map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(CommitKeyError::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let mut text = Zeroizing::new(String::new());
        file.take(LARGEST_KEY_FILE)
            .read_to_string(&mut text)
            .map_err(failed)?;
        Self::from_openssh(&text).ok_or_else(|| CommitKeyError::NotAKey {
            path: path.to_owned(),
        })
    }

    fn create(path: &Path) -> Result<Self, CommitKeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(CommitKeyError::Random)?;
        let key = Self(SigningKey::from_bytes(&seed));
        key.write(path).map_err(|source| CommitKeyError::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(key)
    }

    /// Whole or not at all: a crash leaves no half of a key.
    fn write(&self, path: &Path) -> std::io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new()
            .recursive(true)
            .create(directory)?;
        let fresh = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(self.to_openssh().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        File::open(directory)?.sync_all()
    }

    fn to_openssh(&self) -> Zeroizing<String> {
        let public = self.public();
        let mut secret = Zeroizing::new(Vec::new());
        // Two equal numbers tell a reader that its passphrase was right; there is none.
        secret.extend([0; 8]);
        put(&mut secret, ALGORITHM);
        put(&mut secret, &public.0);
        let pair = Zeroizing::new([self.0.as_bytes().as_slice(), &public.0].concat());
        put(&mut secret, &pair);
        put(&mut secret, b"selfheal commits");
        let padding = (1..=8_u8).take((8 - secret.len() % 8) % 8);
        secret.extend(padding);
        let mut blob = Zeroizing::new(KEY_MAGIC.to_vec());
        for field in [b"none".as_slice(), b"none", b""] {
            put(&mut blob, field);
        }
        blob.extend(1_u32.to_be_bytes());
        put(&mut blob, &public.blob());
        put(&mut blob, &secret);
        Zeroizing::new(armour(&blob, KEY_BEGIN, KEY_END))
    }

    fn from_openssh(text: &str) -> Option<Self> {
        let blob = Zeroizing::new(unarmour(text, KEY_BEGIN, KEY_END)?);
        let mut rest = blob.strip_prefix(KEY_MAGIC)?;
        let (cipher, kdf, _) = (take(&mut rest)?, take(&mut rest)?, take(&mut rest)?);
        let mut rest = rest.strip_prefix(&1_u32.to_be_bytes())?;
        if cipher != b"none" || kdf != b"none" {
            return None;
        }
        let public = public_key(take(&mut rest)?)?;
        let mut secret = take(&mut rest)?.get(8..)?;
        if take(&mut secret)? != ALGORITHM {
            return None;
        }
        let (_, pair) = (take(&mut secret)?, take(&mut secret)?);
        let seed = Zeroizing::new(*pair.first_chunk::<32>()?);
        let key = Self(SigningKey::from_bytes(&seed));
        (key.public() == public).then_some(key)
    }
}

impl CommitSigner for CommitKey {
    fn sign(&self, commit: &[u8]) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let hashed = Sha512::digest(commit);
        let signature = self.0.sign(&signed(HASH, &hashed)).to_bytes();
        let mut blob = MAGIC.to_vec();
        blob.extend(1_u32.to_be_bytes());
        let mut inner = Vec::new();
        put(&mut inner, ALGORITHM);
        put(&mut inner, &signature);
        for field in [
            self.public().blob().as_slice(),
            NAMESPACE,
            b"",
            HASH,
            &inner,
        ] {
            put(&mut blob, field);
        }
        Ok(armour(&blob, SIGNATURE_BEGIN, SIGNATURE_END))
    }
}

/// The bytes that are really signed.
fn signed(hash: &[u8], hashed: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    for field in [NAMESPACE, b"", hash, hashed] {
        put(&mut bytes, field);
    }
    bytes
}

fn public_key(blob: &[u8]) -> Option<CommitPublicKey> {
    let mut rest = blob;
    if take(&mut rest)? != ALGORITHM {
        return None;
    }
    let bytes: [u8; 32] = take(&mut rest)?.try_into().ok()?;
    let key = VerifyingKey::from_bytes(&bytes).ok()?;
    // With a weak one anybody could sign anything.
    (rest.is_empty() && !key.is_weak()).then_some(CommitPublicKey(bytes))
}

/// Appends a string as the SSH protocol writes it. All of ours are short.
fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_be_bytes());
    bytes.extend(field);
}

/// Takes one off.
fn take<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (field, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(field)
}

fn armour(blob: &[u8], begin: &str, end: &str) -> String {
    let body = Zeroizing::new(STANDARD.encode(blob));
    let mut text = String::with_capacity(body.len() * 2);
    text.push_str(begin);
    for (at, character) in body.chars().enumerate() {
        if at % LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push('\n');
    text.push_str(end);
    text.push('\n');
    text
}

fn unarmour(text: &str, begin: &str, end: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix(begin)?.strip_suffix(end)?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
    STANDARD.decode(body.as_str()).ok()
}
