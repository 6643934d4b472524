//! Where policy modules come from and who vouches for them.
//!
//! A module's bytes come from the host itself, a file, the store in the data
//! directory or an OCI registry ([`SourceRef`], [`Sources`]); they are identified by
//! the SHA-256 of the *whole file*, an embedded signature included. Who vouches for
//! them is a [`Publisher`] that `policy.toml` pins by its Ed25519 key; [`TrustRules`]
//! decides, offline. Everything doubtful is refused with a name.
//!
//! Nothing here runs or compiles a module.

mod bundle;
mod component;
mod envelope;
mod fetch;
mod files;
mod key;
mod manifest;
mod registry;
mod signature;
mod source;
mod store;
mod trust;

pub use bundle::{BundleProblem, Bundled, load, save};
pub use fetch::{SourceProblem, Sources, signature_path};
pub use key::{BadKey, KeyProblem, PublicKey, SecretKey};
pub use manifest::BadManifest;
pub use registry::{Credentials, CredentialsProblem, Registries, RegistryProblem};
pub use signature::{
    Placement, SignatureProblem, SignedBy, claimed_signer, sign_detached, sign_embedded, verify,
};
pub use source::{NotASource, OciName, OciRef, OciTarget, SourceRef};
pub use store::{Fetched, ModuleStore, StoreProblem};
pub use trust::{BadTrust, Publisher, Trust, TrustRules, Wanted};

use std::time::Duration;

/// Largest module in a file or a registry, in bytes: one in Python takes 18 MiB. What
/// is uploaded is bounded lower, by the API.
pub const LARGEST_MODULE: u64 = 24 << 20;
/// Largest detached signature, in bytes; one is about 150 bytes long.
pub const LARGEST_SIGNATURE: u64 = 4 << 10;
/// Largest bundle, in bytes.
pub const LARGEST_BUNDLE: u64 = 256 << 20;
/// Longest that a registry is waited for.
pub const SLOWEST_PULL: Duration = Duration::from_secs(60);
