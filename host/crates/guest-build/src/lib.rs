//! Makes policy modules from source, the same way for the bundled ones
//! (`cargo xtask build-policies`) and for those of policy authors (`selfheal policy
//! build`).
//!
//! - Rust: the first toolchain that works ([`find`]), then a core module that is
//!   made a component ([`componentise`]).
//! - JavaScript and Python: their componentizers ([`script`]), in pinned versions
//!   from their registries, installed once per user.
//!
//! These are build tools of the operator's own machine, started with the
//! operator's own rights. What agents run starts in the sandbox, never here.

mod error;
mod idle;
pub mod process;
mod rust;
pub mod script;
mod toolchain;

pub use error::BuildError;
pub use idle::idle_guardrail;
pub use rust::{Guests, componentise};
pub use toolchain::{TARGET, Toolchain, find};

use std::path::PathBuf;

/// Receives progress, one line at a time.
pub type Say<'a> = &'a dyn Fn(&str);

/// The user's cache directory, in which everything that is fetched or built once is
/// kept.
///
/// # Errors
/// Neither `XDG_CACHE_HOME` nor `HOME` names one.
pub fn cache_directory() -> Result<PathBuf, BuildError> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let cache =
        absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("selfheal")).ok_or_else(|| {
        BuildError::Missing(
            "neither XDG_CACHE_HOME nor HOME names a directory; set one of them".to_owned(),
        )
    })
}
