//! Ed25519 keys as files and as text.
//!
//! A secret key is a PKCS #8 file in PEM, as `openssl genpkey -algorithm ed25519`
//! and `wasmsign2 keygen` know it, which nobody but its owner may read. A public key
//! is one line, `ed25519:` and 32 bytes in Base64.

use crate::files::{self, Contents, Links};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use zeroize::Zeroizing;

const PREFIX: &str = "ed25519:";
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
/// DER of PKCS #8 version 1 around the 32 bytes of an Ed25519 key (RFC 8410).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const LARGEST_KEY_FILE: u64 = 4096;

/// A publisher's public key, written `ed25519:BASE64`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey([u8; 32]);

/// A text that is no public key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadKey {
    /// It does not look like one.
    #[error("a public key is \"ed25519:\" and 32 bytes in Base64, got {0:?}")]
    Shape(String),
    /// It is no point of the curve, or one that verifies everything.
    #[error("{0:?} is not the public key of any secret key")]
    Weak(String),
}

impl FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let shape = || BadKey::Shape(text.to_owned());
        let encoded = text.trim().strip_prefix(PREFIX).ok_or_else(shape)?;
        let bytes: [u8; 32] = STANDARD
            .decode(encoded)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(shape)?;
        let key =
            VerifyingKey::from_bytes(&bytes).map_err(|_| BadKey::Weak(text.trim().to_owned()))?;
        if key.is_weak() {
            return Err(BadKey::Weak(text.trim().to_owned()));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD.encode(self.0))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl PublicKey {
    /// Reads a file whose first line is a public key.
    ///
    /// # Errors
    /// The file cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<Self, KeyProblem> {
        let text = read_text(path)?;
        let line = text.lines().next().unwrap_or_default();
        line.parse().map_err(|source| KeyProblem::Public {
            path: path.to_owned(),
            source,
        })
    }

    /// Whether `signature` is this key's over `message`; strictly, so that a message
    /// and a key have one signature only.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }

    /// The identifier that `wasmsign2` derives from a key: a hint, no proof.
    pub(crate) fn id(&self) -> [u8; 12] {
        let mac = hmac_sha256(&self.0, b"key_id");
        let mut id = [0; 12];
        id.copy_from_slice(mac.first_chunk::<12>().unwrap_or(&[0; 12]));
        id
    }
}

/// HMAC (RFC 2104) with a key of at most 64 bytes.
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let padded = |with: u8| {
        let mut block = [with; 64];
        for (place, byte) in block.iter_mut().zip(key) {
            *place ^= byte;
        }
        block
    };
    let inner = Sha256::new()
        .chain_update(padded(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(padded(0x5c))
        .chain_update(inner)
        .finalize()
        .into()
}

/// A publisher's secret key. Its bytes, and those of its file, are wiped from memory
/// after use.
pub struct SecretKey(SigningKey);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

/// A key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    /// It cannot be read or written.
    #[error("the key file {} cannot be used", path.display())]
    File {
        /// Of the file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error(
        "the secret key {} can be read by others (mode {mode:03o}); run: chmod 600 {}",
        path.display(), path.display()
    )]
    Exposed {
        /// Of the file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds no Ed25519 secret key.
    #[error(
        "{} is no Ed25519 secret key in PEM (PKCS #8); make one with: selfheal policy keygen",
        path.display()
    )]
    NotASecret {
        /// Of the file.
        path: PathBuf,
    },
    /// It holds no public key.
    #[error("{} is no public key", path.display())]
    Public {
        /// Of the file.
        path: PathBuf,
        /// Why.
        source: BadKey,
    },
    /// The system has no randomness.
    #[error("the system gave no random bytes: {0}")]
    Random(getrandom::Error),
}

impl SecretKey {
    /// A new key.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate() -> Result<Self, KeyProblem> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(KeyProblem::Random)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// It cannot be read, others may read it, or it holds something else.
    pub fn read(path: &Path) -> Result<Self, KeyProblem> {
        let failed = |source| KeyProblem::File {
            path: path.to_owned(),
            source,
        };
        let mut file = files::open(path, Links::Follow).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyProblem::Exposed {
                path: path.to_owned(),
                mode,
            });
        }
        let wrong = || KeyProblem::NotASecret {
            path: path.to_owned(),
        };
        let text = match files::contents(&mut file, LARGEST_KEY_FILE).map_err(failed)? {
            Contents::Whole(bytes) => Zeroizing::new(bytes),
            Contents::TooLarge => return Err(wrong()),
        };
        std::str::from_utf8(&text)
            .ok()
            .and_then(Self::from_pem)
            .ok_or_else(wrong)
    }

    /// Writes a new key file that only its owner can read (0600).
    ///
    /// # Errors
    /// There is a file already, or it cannot be written.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyProblem> {
        files::create(path, self.to_pem().as_bytes()).map_err(|source| KeyProblem::File {
            path: path.to_owned(),
            source,
        })
    }

    /// The key that verifies what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    fn to_pem(&self) -> Zeroizing<String> {
        let der = Zeroizing::new([PKCS8.as_slice(), self.0.as_bytes()].concat());
        let body = Zeroizing::new(STANDARD.encode(der.as_slice()));
        Zeroizing::new(format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", *body))
    }

    fn from_pem(text: &str) -> Option<Self> {
        let body = text.trim().strip_prefix(PEM_BEGIN)?.strip_suffix(PEM_END)?;
        let encoded: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
        let der = Zeroizing::new(STANDARD.decode(encoded.as_str()).ok()?);
        let seed: Zeroizing<[u8; 32]> = Zeroizing::new(der.strip_prefix(&PKCS8)?.try_into().ok()?);
        Some(Self(SigningKey::from_bytes(&seed)))
    }
}

fn read_text(path: &Path) -> Result<String, KeyProblem> {
    let failed = |source| KeyProblem::File {
        path: path.to_owned(),
        source,
    };
    let wrong = |why: &str| failed(io::Error::new(io::ErrorKind::InvalidData, why.to_owned()));
    match files::read(path, LARGEST_KEY_FILE, Links::Follow).map_err(failed)? {
        Contents::Whole(bytes) => String::from_utf8(bytes).map_err(|_| wrong("it is not text")),
        Contents::TooLarge => Err(wrong("it is too large for a key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn keys_read_back_and_stay_private() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key.pem");
        let key = SecretKey::generate().unwrap();
        key.write_new(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(SecretKey::read(&path).unwrap().public(), key.public());
        assert!(matches!(key.write_new(&path), Err(KeyProblem::File { .. })));
        for mode in [0o640, 0o604, 0o660, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(
                SecretKey::read(&path),
                Err(KeyProblem::Exposed { .. })
            ));
        }
        let shown = format!("{key:?}");
        assert!(shown.contains(&key.public().to_string()), "{shown}");
    }

    #[test]
    fn public_keys_are_text_and_weak_ones_are_refused() {
        let key = SecretKey::generate().unwrap().public();
        assert_eq!(key.to_string().parse::<PublicKey>().unwrap(), key);
        for text in ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA", "ed25519:*"] {
            assert!(matches!(text.parse::<PublicKey>(), Err(BadKey::Shape(_))));
        }
        // The neutral element: with it anybody can sign anything.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        for bytes in [[0; 32], neutral] {
            let text = format!("ed25519:{}", STANDARD.encode(bytes));
            assert!(
                matches!(text.parse::<PublicKey>(), Err(BadKey::Weak(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn the_reference_implementation_reads_our_keys() {
        let key = SecretKey::generate().unwrap();
        let theirs = wasmsign2::SecretKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(theirs.sk.public_key().as_ref(), &key.public().0);
        let back = SecretKey::from_pem(&theirs.to_pem());
        assert_eq!(back.map(|key| key.public()), Some(key.public()));
        let named = wasmsign2::PublicKey {
            pk: theirs.sk.public_key(),
            key_id: None,
        }
        .attach_default_key_id();
        assert_eq!(named.key_id().unwrap().as_slice(), key.public().id());
    }
}
