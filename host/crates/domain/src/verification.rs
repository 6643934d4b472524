//! Proof before and verification after a patch is applied.

use serde::{Deserialize, Serialize};

/// Outcome of a verification.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VerificationResult {
    /// Everything that was checked holds.
    Pass,
    /// Something is worse or not fixed.
    Fail,
    /// Could not be told; treated as a failure.
    Inconclusive,
}

/// One thing that was checked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CheckEvidence {
    /// What, as in `tests: python3 -m unittest` or `health: web`.
    pub name: String,
    /// What came out.
    pub result: VerificationResult,
    /// What was seen (at most 8 KiB).
    pub detail: String,
    /// Wall-clock time.
    pub seconds: f64,
}

/// Result with its evidence.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Verification {
    /// What was checked, in order.
    pub checks: Vec<CheckEvidence>,
}

impl Verification {
    /// `FAIL` if anything failed, else `INCONCLUSIVE` if anything was or nothing
    /// was checked, else `PASS`.
    pub fn result(&self) -> VerificationResult {
        let has = |wanted| self.checks.iter().any(|check| check.result == wanted);
        if has(VerificationResult::Fail) {
            VerificationResult::Fail
        } else if self.checks.is_empty() || has(VerificationResult::Inconclusive) {
            VerificationResult::Inconclusive
        } else {
            VerificationResult::Pass
        }
    }
}
