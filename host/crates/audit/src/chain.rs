//! Verification of a chain, record by record.

use crate::canonical::{Entry, EntryError, EntryView};
use selfheal_domain::digest::Digest;

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// Its bytes are no record.
    #[error("it cannot be read: {0}")]
    Undecodable(#[source] EntryError),
    /// Its bytes were changed after it was written.
    #[error("its content does not match its hash: it was changed after it was written")]
    WrongHash,
    /// The record before it is not the one it was written after.
    #[error("it does not continue the record before it: that one was changed, removed or replaced")]
    WrongPrevious,
    /// Records before it are missing.
    #[error("records are missing before it: it says it is record {found}")]
    Gap {
        /// The position it claims.
        found: u64,
    },
    /// A record stands where a later one should.
    #[error("it is out of order: it says it is record {found}")]
    Order {
        /// The position it claims.
        found: u64,
    },
}

/// The first wrong record of a log.
#[derive(Debug, thiserror::Error)]
#[error("record {seq}: {flaw}")]
pub struct ChainFault {
    /// The position in the log, from 0, where the wrong record stands.
    pub seq: u64,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// Takes stored records one by one, in order, and stops at the first wrong one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainVerifier {
    next: u64,
    head: Digest,
}

impl Default for ChainVerifier {
    fn default() -> Self {
        Self::new()
    }
}

impl ChainVerifier {
    /// For a log from its beginning.
    pub fn new() -> Self {
        Self::after(0, Digest([0; 32]))
    }

    /// For the part of a log that follows `count` records of which the last has
    /// the hash `head`.
    pub fn after(count: u64, head: Digest) -> Self {
        Self { next: count, head }
    }

    /// Records seen so far, the ones before [`ChainVerifier::after`] included.
    pub fn count(&self) -> u64 {
        self.next
    }

    /// Hash of the last one; zeros when there is none.
    pub fn head(&self) -> Digest {
        self.head
    }

    /// Checks the next record as it is stored. After an error the verifier still
    /// stands before the wrong record.
    ///
    /// # Errors
    /// The record is wrong; see [`Flaw`].
    pub fn check<'a>(&mut self, stored: &'a [u8]) -> Result<(EntryView<'a>, Digest), ChainFault> {
        let fault = |flaw| ChainFault {
            seq: self.next,
            flaw,
        };
        let (canonical, hash) = Entry::split(stored).map_err(|e| fault(Flaw::Undecodable(e)))?;
        if Digest::of(canonical) != hash {
            return Err(fault(Flaw::WrongHash));
        }
        let entry = EntryView::parse(canonical).map_err(|e| fault(Flaw::Undecodable(e)))?;
        if entry.seq > self.next {
            return Err(fault(Flaw::Gap { found: entry.seq }));
        }
        if entry.seq < self.next {
            return Err(fault(Flaw::Order { found: entry.seq }));
        }
        if entry.previous != self.head {
            return Err(fault(Flaw::WrongPrevious));
        }
        self.next += 1;
        self.head = hash;
        Ok((entry, hash))
    }
}
