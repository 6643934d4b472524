//! Bundled policy module.
