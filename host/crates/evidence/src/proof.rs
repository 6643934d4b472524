//! Proofs that records are in the log, as files.

use crate::{PackError, pretty};
use selfheal_domain::digest::Digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A signed head of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogHead {
    /// Records under it.
    pub size: u64,
    /// Root of the Merkle tree (RFC 6962) whose leaves are the hashes of the records.
    pub root: Digest,
    /// The signed checkpoint (C2SP tlog-checkpoint).
    pub note: String,
    /// The public key to verify it with.
    pub key: String,
}

/// Shows that one record is in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordProof {
    /// Position of the record.
    pub index: u64,
    /// Its hash.
    pub record: Digest,
    /// Hashes from the leaf to the root, lowest first.
    pub hashes: Vec<Digest>,
    /// The head it is proved under.
    pub head: LogHead,
}

/// The files under `proof/`.
pub(crate) fn files(proofs: &[RecordProof]) -> Result<Vec<(String, String)>, PackError> {
    if proofs.is_empty() {
        return Ok(Vec::new());
    }
    let listed: Vec<Value> = proofs
        .iter()
        .map(|proof| {
            json!({
                "index": proof.index, "record": proof.record, "hashes": proof.hashes,
                "size": proof.head.size, "root": proof.head.root,
            })
        })
        .collect();
    let mut files = vec![("proof/inclusion.json".to_owned(), pretty(&listed)?)];
    let heads: BTreeMap<u64, &LogHead> = proofs
        .iter()
        .map(|proof| (proof.head.size, &proof.head))
        .collect();
    for (size, head) in heads {
        files.push((format!("proof/checkpoint-{size}.txt"), head.note.clone()));
    }
    if let Some(proof) = proofs.first() {
        files.push(("proof/key.txt".to_owned(), format!("{}\n", proof.head.key)));
    }
    Ok(files)
}
