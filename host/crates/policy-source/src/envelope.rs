//! The envelope of a signature, as `wasmsign2` writes it (WebAssembly tool
//! conventions, "module signatures"): the content of the custom section `signature`,
//! and the same bytes alone as a detached signature.
//!
//! ```text
//! envelope  = version:01 content:01 hash-function:01 count set*
//! set       = <length> count hash[32]* count signature*
//! signature = <length> <length> key-identifier algorithm:01 <length> signature[64]
//! ```
//!
//! Counts and lengths are LEB128. The format can hold many sets, hashes (of parts of
//! a module) and signatures; here an envelope has exactly one of each, and every byte
//! must be as this module would write it, so that there is one way to say one thing.

use crate::component::{BadPrefix, put_number, put_prefixed, take_number, take_prefixed};

const VERSION: u8 = 1;
const CONTENT_MODULE: u8 = 1;
const HASH_SHA256: u8 = 1;
const ALGORITHM_ED25519: u8 = 1;
const DOMAIN: &[u8] = b"wasmsig";
/// Longest key identifier that is read, in bytes; `wasmsign2` writes 0 or 12.
const LONGEST_KEY_ID: usize = 32;

/// One signature over one hash of the whole module.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) struct Envelope {
    /// SHA-256 of everything after the component's header and the signature section.
    pub(crate) hash: [u8; 32],
    /// Hint which key it is; empty is none.
    pub(crate) key_id: Vec<u8>,
    /// Ed25519 signature of [`Envelope::message`].
    pub(crate) signature: [u8; 64],
}

/// Why an envelope is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
pub(crate) enum BadEnvelope {
    #[error("it is cut off")]
    CutOff,
    #[error("it holds no signature")]
    Empty,
    #[error("it holds more than one signature")]
    Several,
    #[error("it signs only parts of the module")]
    Parts,
    #[error("{0}")]
    Unknown(&'static str),
}

impl From<BadPrefix> for BadEnvelope {
    fn from(problem: BadPrefix) -> Self {
        match problem {
            BadPrefix::CutOff => Self::CutOff,
            BadPrefix::Length => Self::Unknown("a length is impossible"),
        }
    }
}

impl Envelope {
    /// What is signed.
    pub(crate) fn message(hash: &[u8; 32]) -> Vec<u8> {
        [
            DOMAIN,
            &[VERSION, CONTENT_MODULE, HASH_SHA256],
            hash.as_slice(),
        ]
        .concat()
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut signature = Vec::new();
        put_prefixed(&mut signature, &self.key_id);
        signature.push(ALGORITHM_ED25519);
        put_prefixed(&mut signature, &self.signature);
        let mut set = Vec::new();
        put_number(&mut set, 1);
        set.extend_from_slice(&self.hash);
        put_number(&mut set, 1);
        put_prefixed(&mut set, &signature);
        let mut out = vec![VERSION, CONTENT_MODULE, HASH_SHA256];
        put_number(&mut out, 1);
        put_prefixed(&mut out, &set);
        out
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, BadEnvelope> {
        let rest = constant(bytes, VERSION, "its version is unknown")?;
        let rest = constant(rest, CONTENT_MODULE, "it signs no module")?;
        let rest = constant(rest, HASH_SHA256, "its hash function is unknown")?;
        let rest = one(rest, BadEnvelope::Several)?;
        let (set, rest) = take_prefixed(rest)?;
        end(rest)?;
        let set = one(set, BadEnvelope::Parts)?;
        let (hash, set) = set.split_first_chunk::<32>().ok_or(BadEnvelope::CutOff)?;
        let set = one(set, BadEnvelope::Several)?;
        let (signature, set) = take_prefixed(set)?;
        end(set)?;
        let (key_id, signature) = take_prefixed(signature)?;
        if key_id.len() > LONGEST_KEY_ID {
            return Err(BadEnvelope::Unknown("its key identifier is too long"));
        }
        let signature = constant(signature, ALGORITHM_ED25519, "its algorithm is not Ed25519")?;
        let (signature, rest) = take_prefixed(signature)?;
        end(rest)?;
        let envelope = Self {
            hash: *hash,
            key_id: key_id.to_vec(),
            signature: signature
                .try_into()
                .map_err(|_| BadEnvelope::Unknown("an Ed25519 signature has 64 bytes"))?,
        };
        // Lengths can be written in more bytes than they need.
        if envelope.write() != bytes {
            return Err(BadEnvelope::Unknown("it is not written in the usual way"));
        }
        Ok(envelope)
    }
}

fn constant<'a>(
    bytes: &'a [u8],
    expected: u8,
    otherwise: &'static str,
) -> Result<&'a [u8], BadEnvelope> {
    match bytes.split_first() {
        Some((found, rest)) if *found == expected => Ok(rest),
        Some(_) => Err(BadEnvelope::Unknown(otherwise)),
        None => Err(BadEnvelope::CutOff),
    }
}

fn one(bytes: &[u8], otherwise: BadEnvelope) -> Result<&[u8], BadEnvelope> {
    match take_number(bytes)? {
        (1, rest) => Ok(rest),
        (0, _) => Err(BadEnvelope::Empty),
        _ => Err(otherwise),
    }
}

fn end(rest: &[u8]) -> Result<(), BadEnvelope> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err(BadEnvelope::Unknown("something follows the signature"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn envelope() -> Envelope {
        Envelope {
            hash: [7; 32],
            key_id: vec![1, 2, 3],
            signature: [9; 64],
        }
    }

    #[test]
    fn each_oddity_has_its_name() {
        let good = envelope().write();
        assert_eq!(Envelope::read(&good).unwrap(), envelope());
        for end in 0..good.len() {
            assert_eq!(
                Envelope::read(&good[..end]),
                Err(BadEnvelope::CutOff),
                "{end}"
            );
        }
        let longer = [&good[..], &[0]].concat();
        assert!(matches!(
            Envelope::read(&longer),
            Err(BadEnvelope::Unknown(_))
        ));
        let changed = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Envelope::read(&bytes).unwrap_err()
        };
        assert_eq!(changed(3, 0), BadEnvelope::Empty);
        assert_eq!(changed(3, 2), BadEnvelope::Several);
        assert_eq!(changed(5, 2), BadEnvelope::Parts);
        assert_eq!(changed(6 + 32, 2), BadEnvelope::Several);
        assert_eq!(changed(6 + 32, 0), BadEnvelope::Empty);
        for at in [0, 1, 2] {
            assert!(matches!(changed(at, 2), BadEnvelope::Unknown(_)));
        }
        // The count written in two bytes.
        let padded = [&good[..3], &[0x81, 0x00], &good[4..]].concat();
        assert_eq!(
            Envelope::read(&padded),
            Err(BadEnvelope::Unknown("it is not written in the usual way"))
        );
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(bytes: Vec<u8>, at in 0usize..120, byte: u8) {
            let _ = Envelope::read(&bytes);
            let mut near = envelope().write();
            if let Some(place) = near.get_mut(at) {
                *place = byte;
            }
            if let Ok(read) = Envelope::read(&near) {
                prop_assert_eq!(read.write(), near);
            }
        }
    }
}
