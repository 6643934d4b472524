//! Tokens, session ids and passwords: how they are made and compared.

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use sha2::{Digest as _, Sha256};
use std::sync::OnceLock;
use subtle::ConstantTimeEq;

/// Shortest password, in characters.
pub const MIN_PASSWORD_CHARS: usize = 12;
/// Longest password, in bytes: hashing must stay affordable.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// A secret could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random(#[source] getrandom::Error),
    /// The password is too short or too long.
    #[error(
        "a password has at least {MIN_PASSWORD_CHARS} characters and at most {MAX_PASSWORD_BYTES} bytes"
    )]
    Length,
    /// Argon2 refused.
    #[error("the password could not be hashed: {0}")]
    Hash(argon2::password_hash::Error),
}

/// A fresh bearer token, shown once, and what is kept of it.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    /// `sfh_` and 64 hex digits (256 random bits).
    pub token: String,
    /// SHA-256 of `token` in hex: `Account::token_digest`.
    pub digest: String,
}

/// Makes a bearer token.
///
/// # Errors
/// [`SecretError::Random`].
pub fn new_token() -> Result<NewToken, SecretError> {
    let token = format!("sfh_{}", random_hex()?);
    let digest = hex::encode(digest_of(&token));
    Ok(NewToken { token, digest })
}

/// 256 random bits in hex.
pub(crate) fn random_hex() -> Result<String, SecretError> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(SecretError::Random)?;
    Ok(hex::encode(bytes))
}

/// SHA-256 of a token or session id.
pub(crate) fn digest_of(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// Whether `digest` is the digest that `hex_digest` writes, in constant time.
pub(crate) fn is_digest(digest: &[u8; 32], hex_digest: &str) -> bool {
    let mut kept = [0_u8; 32];
    let readable = hex::decode_to_slice(hex_digest, &mut kept).is_ok();
    bool::from(kept.ct_eq(digest)) && readable
}

/// Argon2id hash of a password in PHC string format, for `Account::password_hash`.
/// Takes tens of milliseconds and about 19 MiB on purpose.
///
/// # Errors
/// See [`SecretError`].
pub fn hash_password(password: &str) -> Result<String, SecretError> {
    if password.chars().count() < MIN_PASSWORD_CHARS || password.len() > MAX_PASSWORD_BYTES {
        return Err(SecretError::Length);
    }
    hash(password)
}

fn hash(password: &str) -> Result<String, SecretError> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).map_err(SecretError::Random)?;
    let salt = SaltString::encode_b64(&salt).map_err(SecretError::Hash)?;
    Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(SecretError::Hash)
}

/// Checks a password. Without a hash to compare with it does the same work, so that
/// the time taken does not tell which names exist.
pub(crate) fn verify_password(password: &str, phc: Option<&str>) -> bool {
    static DUMMY: OnceLock<String> = OnceLock::new();
    let verify = |phc: &str| {
        PasswordHash::new(phc).is_ok_and(|hash| {
            Argon2::default()
                .verify_password(password.as_bytes(), &hash)
                .is_ok()
        })
    };
    match phc {
        Some(phc) => verify(phc),
        None => {
            verify(DUMMY.get_or_init(|| hash("nobody has this password").unwrap_or_default()));
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognised_by_its_digest_only() {
        let made = new_token().unwrap();
        assert!(made.token.starts_with("sfh_") && made.token.len() == 68);
        assert!(is_digest(&digest_of(&made.token), &made.digest));
        assert!(!is_digest(&digest_of("sfh_other"), &made.digest));
        assert!(!is_digest(&digest_of(&made.token), "nonsense"));
        assert!(
            !is_digest(&[0; 32], "nonsense"),
            "an unreadable digest matches nothing"
        );
        assert!(made != new_token().unwrap());
    }

    #[test]
    fn passwords_are_bounded_and_verified() {
        let phc = hash_password("correct horse battery").unwrap();
        assert!(phc.starts_with("$argon2id$"));
        assert!(verify_password("correct horse battery", Some(&phc)));
        assert!(!verify_password("wrong", Some(&phc)));
        assert!(!verify_password("nobody has this password", None));
        assert!(!verify_password("x", Some("nonsense")));
        assert!(matches!(hash_password("short"), Err(SecretError::Length)));
        assert!(matches!(
            hash_password(&"x".repeat(MAX_PASSWORD_BYTES + 1)),
            Err(SecretError::Length)
        ));
    }
}
