//! Proofs that records are in the log, as files.

use crate::{PackError, pretty};
use selfheal_domain::ports::{InclusionProof, SignedHead};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The files under `proof/`.
pub(crate) fn files(proofs: &[InclusionProof]) -> Result<Vec<(String, String)>, PackError> {
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
    let heads: BTreeMap<u64, &SignedHead> = proofs
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
