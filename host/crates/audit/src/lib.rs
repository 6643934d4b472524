//! The audit log without its disk: what a record's bytes are, how records are
//! chained, how a chain is verified, and which texts are masked before any of
//! that.
//!
//! Pure: nothing here reads a file, a clock or the network.
//!
//! - A record has one byte string, [`Entry::canonical`]: length prefixes, big
//!   endian, versioned. Two different records never share it.
//! - Its hash is SHA-256 of that string, which holds the hash of the record
//!   before: [`ChainVerifier`] names the first record that was changed.
//! - The hashes are the entries of an RFC 6962 tree ([`merkle`]), so that one record
//!   can be proved to be in the log without showing the others. It is published in
//!   [`tiles`], and its head is signed ([`note`]).
//! - Personal data is encrypted in it, so that it can be erased ([`personal`]).
//! - [`Masker`] replaces secrets in free text before a record is made.

mod canonical;
mod chain;
mod export;
mod mask;
pub mod merkle;
pub mod note;
pub mod personal;
pub mod tiles;

pub use canonical::{Entry, EntryError, EntryView, SCHEMA, Sealed, StoredActor, StoredEvent};
pub use chain::{ChainFault, ChainVerifier, Flaw};
pub use export::{
    EXPORT_FORMAT, ExportError, ExportReport, ExportVerifier, export_begun, export_ended,
    export_record,
};
pub use mask::{MASK, Masker, MaskerError, SHORTEST_SECRET};
pub use note::proof_text;
