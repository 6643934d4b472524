//! Supported lines of the contract; one file per line, each converting straight
//! to domain types.

pub(crate) mod v1;
pub(crate) mod v1_bindings;
pub(crate) mod v1_facts;
