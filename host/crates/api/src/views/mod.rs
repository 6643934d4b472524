//! What goes over the wire: camelCase, RFC 3339 times, absent optionals left out.

pub(crate) mod admin;
pub(crate) mod decision;
pub(crate) mod issue;
pub(crate) mod patch;
pub(crate) mod policy;
pub(crate) mod preview;
pub(crate) mod record;
pub(crate) mod saved;
pub(crate) mod token;
pub(crate) mod vocabulary;
