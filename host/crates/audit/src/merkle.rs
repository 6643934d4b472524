//! The Merkle tree of RFC 6962 over the records of a log. A leaf's data is the hash of
//! its record ([`crate::tiles`] says why).

use selfheal_domain::digest::Digest;
use sha2::{Digest as _, Sha256};

/// Hash of a leaf: SHA-256 of a zero byte and its data.
pub fn leaf_hash(data: &[u8]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(data);
    Digest(hasher.finalize().into())
}

pub(crate) fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left.0);
    hasher.update(right.0);
    Digest(hasher.finalize().into())
}

/// Computes the root of a growing log in memory that grows with its logarithm.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RootBuilder {
    /// Roots of the full subtrees, largest first, with their heights.
    peaks: Vec<(u32, Digest)>,
}

impl RootBuilder {
    /// Adds the next leaf by its hash.
    pub fn push_leaf(&mut self, leaf: Digest) {
        let mut node = (0, leaf);
        while let Some((height, left)) = self.peaks.pop_if(|(height, _)| *height == node.0) {
            node = (height + 1, node_hash(&left, &node.1));
        }
        self.peaks.push(node);
    }

    /// Nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.peaks.is_empty()
    }

    /// The root; of an empty log it is SHA-256 of nothing.
    pub fn root(&self) -> Digest {
        self.peaks
            .iter()
            .rev()
            .map(|(_, hash)| *hash)
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(|| Digest::of(&[]))
    }
}

/// Root over some leaf hashes.
pub fn root(leaves: &[Digest]) -> Digest {
    let mut builder = RootBuilder::default();
    for leaf in leaves {
        builder.push_leaf(*leaf);
    }
    builder.root()
}

/// Whether `proof` shows that `leaf` is number `index` of the `size` leaves under
/// `root` (RFC 9162, 2.1.3.2).
pub fn verify_inclusion(
    leaf: Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: Digest,
) -> bool {
    if index >= size {
        return false;
    }
    let (mut position, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if position & 1 == 1 || position == last {
            hash = node_hash(sibling, &hash);
            while position & 1 == 0 && position != 0 {
                position >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        position >>= 1;
        last >>= 1;
    }
    last == 0 && hash == root
}
