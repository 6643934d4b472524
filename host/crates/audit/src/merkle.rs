//! The Merkle tree of RFC 6962 over the records of a log. A leaf is a record's
//! canonical bytes.

use selfheal_domain::digest::Digest;
use sha2::{Digest as _, Sha256};

/// Hash of a leaf: SHA-256 of a zero byte and the record's canonical bytes.
pub fn leaf_hash(canonical: &[u8]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(canonical);
    Digest(hasher.finalize().into())
}

fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left.0);
    hasher.update(right.0);
    Digest(hasher.finalize().into())
}

/// Computes the root of a growing log in memory that grows with its logarithm.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RootBuilder {
    leaves: u64,
    /// Roots of the full subtrees, largest first, with their heights.
    peaks: Vec<(u32, Digest)>,
}

impl RootBuilder {
    /// Adds the next record.
    pub fn push(&mut self, canonical: &[u8]) {
        self.push_leaf(leaf_hash(canonical));
    }

    /// Adds the next leaf by its hash.
    pub fn push_leaf(&mut self, leaf: Digest) {
        let mut node = (0, leaf);
        while let Some((height, left)) = self.peaks.pop_if(|(height, _)| *height == node.0) {
            node = (height + 1, node_hash(&left, &node.1));
        }
        self.peaks.push(node);
        self.leaves += 1;
    }

    /// Leaves so far.
    pub fn len(&self) -> u64 {
        self.leaves
    }

    /// Nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.leaves == 0
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

/// Hashes that lead from leaf `index` to the root, lowest first; none when there is
/// no such leaf.
pub fn inclusion_proof(leaves: &[Digest], index: usize) -> Option<Vec<Digest>> {
    if index >= leaves.len() {
        return None;
    }
    let mut proof = Vec::new();
    let (mut part, mut index) = (leaves, index);
    while part.len() > 1 {
        // The largest power of two below the length splits it (RFC 6962, 2.1).
        let (left, right) = part.split_at_checked(part.len().next_power_of_two() / 2)?;
        if index < left.len() {
            proof.push(root(right));
            part = left;
        } else {
            proof.push(root(left));
            index -= left.len();
            part = right;
        }
    }
    proof.reverse();
    Some(proof)
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
