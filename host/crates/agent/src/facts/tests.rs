//! Facts of whole calls.
