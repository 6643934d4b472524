//! Canonical bytes, hash chain and verifier of the audit log; pure.
