//! Signing a module and finding out who signed it.
//!
//! A signature is Ed25519 over the SHA-256 of the whole component, in the format of
//! `wasmsign2` (see `envelope.rs`), in one of two places:
//!
//! - *embedded*: the custom section `signature` stands first in the component. The
//!   hash covers everything after it. Embedding changes the file, and with it the
//!   digest by which a module is pinned and stored: sign first, then pin.
//! - *detached*: the same bytes alone in a file, `MODULE.wasm.sig` beside
//!   `MODULE.wasm`. The hash covers everything after the component's header.
//!
//! The hash does not cover the eight bytes of the header, so these are compared with
//! the only value that they can have. A module has exactly one signature; a text
//! module (`.wat`) is no component yet and cannot have any.

use crate::component::{self, BadFraming, HEADER, Section};
use crate::envelope::{BadEnvelope, Envelope};
use crate::key::{PublicKey, SecretKey};
use crate::trust::Publisher;
use crate::{LARGEST_MODULE, LARGEST_SIGNATURE};
use selfheal_domain::digest::Digest;
use serde::Serialize;
use std::fmt;

const SECTION: &[u8] = b"signature";
/// Ends a part that was signed on its own; a module with parts is not signed whole.
const DELIMITER: &[u8] = b"signature_delimiter";

/// Where a signature stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// In the module.
    Embedded,
    /// In a file beside it.
    Detached,
}

/// Who signed a module.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SignedBy {
    /// The name under which `policy.toml` pins the key.
    pub publisher: String,
    /// The key.
    pub key: PublicKey,
    /// Where the signature stands.
    pub placement: Placement,
}

impl fmt::Display for SignedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.placement {
            Placement::Embedded => "embedded",
            Placement::Detached => "detached",
        };
        write!(f, "signed by {} ({place}, {})", self.publisher, self.key)
    }
}

/// Why a module counts as not signed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignatureProblem {
    /// There is no signature.
    #[error(
        "it is not signed; sign it (selfheal policy sign), or say `unsigned = true` at the module"
    )]
    Unsigned,
    /// No pinned publisher signed it.
    #[error("it is signed by a key that no [[publisher]] has (key identifier {id})")]
    UnknownKey {
        /// The identifier that stands in the signature, in hex; a hint only.
        id: String,
    },
    /// Another publisher than the module names signed it.
    #[error("it is signed by {found}, but only {wanted} may sign it")]
    WrongPublisher {
        /// Whom the module names.
        wanted: String,
        /// Who signed.
        found: String,
    },
    /// The module names a publisher that is not pinned.
    #[error("there is no [[publisher]] named {0}")]
    NoSuchPublisher(String),
    /// The signature is a publisher's, but of other bytes.
    #[error("it was changed after {publisher} signed it")]
    Changed {
        /// Whose signature it is.
        publisher: String,
    },
    /// More than one signature.
    #[error("it has more than one signature; exactly one is expected")]
    Several,
    /// Only parts of the module are signed.
    #[error("only parts of it are signed; sign the whole module")]
    Parts,
    /// The signature is not the first section.
    #[error("its signature does not stand first in the module")]
    Misplaced,
    /// The module, or its signature, ends too early.
    #[error("it is cut off: {0}")]
    CutOff(String),
    /// The signature says something that this version does not know.
    #[error("its signature cannot be read: {0}")]
    Unreadable(String),
    /// A text or core module: only components are signed.
    #[error("it is no WebAssembly component, and only components can be signed")]
    NotAComponent,
    /// Larger than a module or a signature may be.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// Of the two.
        what: &'static str,
        /// Its bound.
        limit: u64,
    },
    /// To be signed, but it is already.
    #[error("it is already signed; sign the module as it was built")]
    AlreadySigned,
}

impl From<BadFraming> for SignatureProblem {
    fn from(problem: BadFraming) -> Self {
        match problem {
            BadFraming::Header => Self::NotAComponent,
            BadFraming::CutOff(_) | BadFraming::Length(_) => Self::CutOff(problem.to_string()),
            BadFraming::TooMany => Self::Unreadable(problem.to_string()),
        }
    }
}

impl From<BadEnvelope> for SignatureProblem {
    fn from(problem: BadEnvelope) -> Self {
        match problem {
            BadEnvelope::CutOff => Self::CutOff("its signature is incomplete".to_owned()),
            BadEnvelope::Empty => Self::Unsigned,
            BadEnvelope::Several => Self::Several,
            BadEnvelope::Parts => Self::Parts,
            BadEnvelope::Unknown(why) => Self::Unreadable(why.to_owned()),
        }
    }
}

/// A signature as found, before anybody is asked about its key.
struct Claim {
    envelope: Envelope,
    placement: Placement,
    /// Of the module as it is.
    hash: [u8; 32],
}

/// Who of `publishers` signed a module. `detached` is the content of its `.sig` file,
/// if there is one.
///
/// # Errors
/// Nobody did, or something about the signature is not as it has to be.
pub fn verify(
    bytes: &[u8],
    detached: Option<&[u8]>,
    publishers: &[Publisher],
) -> Result<SignedBy, SignatureProblem> {
    let claim = claim(bytes, detached)?;
    let message = Envelope::message(&claim.envelope.hash);
    let publisher = publishers
        .iter()
        .find(|publisher| publisher.key.verifies(&message, &claim.envelope.signature))
        .ok_or_else(|| SignatureProblem::UnknownKey {
            id: key_id(&claim.envelope),
        })?;
    // No signature covers the identifier, so it is compared, like the header.
    let id = &claim.envelope.key_id;
    if !id.is_empty() && id.as_slice() != publisher.key.id() {
        return Err(BadEnvelope::Unknown("its key identifier is another key's").into());
    }
    if claim.envelope.hash != claim.hash {
        return Err(SignatureProblem::Changed {
            publisher: publisher.name.clone(),
        });
    }
    Ok(SignedBy {
        publisher: publisher.name.clone(),
        key: publisher.key,
        placement: claim.placement,
    })
}

/// Where a module's signature stands and the key identifier that it claims, without
/// any key to check it: for showing only.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn claimed_signer(
    bytes: &[u8],
    detached: Option<&[u8]>,
) -> Result<(Placement, String), SignatureProblem> {
    claim(bytes, detached).map(|claim| (claim.placement, key_id(&claim.envelope)))
}

/// The content of the `.sig` file for a module.
///
/// # Errors
/// It is no component, too large, or signed already.
pub fn sign_detached(bytes: &[u8], key: &SecretKey) -> Result<Vec<u8>, SignatureProblem> {
    unsigned(bytes)?;
    Ok(envelope(bytes, key).write())
}

/// The module with its signature in it. Its digest is another one than before.
///
/// # Errors
/// It is no component, too large (also with the signature), or signed already.
pub fn sign_embedded(bytes: &[u8], key: &SecretKey) -> Result<Vec<u8>, SignatureProblem> {
    unsigned(bytes)?;
    let section = component::custom_section(SECTION, &envelope(bytes, key).write());
    let body = bytes.get(HEADER.len()..).unwrap_or_default();
    let signed = [HEADER.as_slice(), &section, body].concat();
    within(signed.len(), "the signed module", LARGEST_MODULE)?;
    Ok(signed)
}

fn envelope(bytes: &[u8], key: &SecretKey) -> Envelope {
    let hash = hash_after(bytes, HEADER.len());
    Envelope {
        hash,
        key_id: key.public().id().to_vec(),
        signature: key.sign(&Envelope::message(&hash)),
    }
}

fn claim(bytes: &[u8], detached: Option<&[u8]>) -> Result<Claim, SignatureProblem> {
    let sections = framed(bytes)?;
    if sections.iter().any(|section| named(section, DELIMITER)) {
        return Err(SignatureProblem::Parts);
    }
    let mut embedded = None;
    for (index, section) in sections.iter().enumerate() {
        if !named(section, SECTION) {
            continue;
        }
        if embedded.is_some() {
            return Err(SignatureProblem::Several);
        }
        if index != 0 {
            return Err(SignatureProblem::Misplaced);
        }
        embedded = Some(section);
    }
    match (embedded, detached) {
        (Some(_), Some(_)) => Err(SignatureProblem::Several),
        (None, None) => Err(SignatureProblem::Unsigned),
        (None, Some(text)) => {
            within(text.len(), "its signature", LARGEST_SIGNATURE)?;
            Ok(Claim {
                envelope: Envelope::read(text)?,
                placement: Placement::Detached,
                hash: hash_after(bytes, HEADER.len()),
            })
        }
        (Some(section), None) => {
            within(section.place.len(), "its signature", LARGEST_SIGNATURE)?;
            let (_, content) = section.custom.unwrap_or_default();
            let envelope = Envelope::read(content)?;
            // There is one way to write the section, as there is one for its content.
            let usual = component::custom_section(SECTION, content);
            if bytes.get(section.place.clone()) != Some(&usual) {
                return Err(BadEnvelope::Unknown("its section is not written as usual").into());
            }
            Ok(Claim {
                envelope,
                placement: Placement::Embedded,
                hash: hash_after(bytes, section.place.end),
            })
        }
    }
}

fn unsigned(bytes: &[u8]) -> Result<(), SignatureProblem> {
    let signed = |section: &Section<'_>| named(section, SECTION) || named(section, DELIMITER);
    if framed(bytes)?.iter().any(signed) {
        return Err(SignatureProblem::AlreadySigned);
    }
    Ok(())
}

fn framed(bytes: &[u8]) -> Result<Vec<Section<'_>>, SignatureProblem> {
    within(bytes.len(), "the module", LARGEST_MODULE)?;
    Ok(component::sections(bytes)?)
}

fn within(length: usize, what: &'static str, limit: u64) -> Result<(), SignatureProblem> {
    if u64::try_from(length).unwrap_or(u64::MAX) > limit {
        return Err(SignatureProblem::TooLarge { what, limit });
    }
    Ok(())
}

fn named(section: &Section<'_>, name: &[u8]) -> bool {
    section.custom.is_some_and(|(found, _)| found == name)
}

fn hash_after(bytes: &[u8], start: usize) -> [u8; 32] {
    Digest::of(bytes.get(start..).unwrap_or_default()).0
}

fn key_id(envelope: &Envelope) -> String {
    if envelope.key_id.is_empty() {
        return "none".to_owned();
    }
    envelope
        .key_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
