//! What can go wrong before a policy set is active. Afterwards nothing can: every
//! failure of a module is a fault, and a fault is the strictest answer.

use crate::capabilities::{Capabilities, Capability};
use selfheal_domain::digest::Digest;
use std::path::PathBuf;

/// The engine cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// By the WebAssembly engine.
    #[error("the WebAssembly engine cannot be made")]
    Create(#[source] wasmtime::Error),
    /// By the operating system.
    #[error("the thread that enforces deadlines cannot be started")]
    Ticker(#[source] std::io::Error),
}

/// `policy.toml` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It says something impossible. The text names line, key and valid choices.
    #[error("{file}: {message}")]
    Invalid {
        /// The file, as given.
        file: String,
        /// What is wrong, with the line.
        message: String,
    },
}

/// A policy set cannot be prepared; the active one stays.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Something about one module.
    #[error("policy module `{module}`: {problem}")]
    Module {
        /// Name in `policy.toml`.
        module: String,
        /// What.
        problem: ModuleProblem,
    },
}

/// Why a module is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModuleProblem {
    /// No such bundled module.
    #[error("no module `{name}` is bundled; there are {}", known(.bundled))]
    NotBundled {
        /// The name asked for.
        name: String,
        /// What there is.
        bundled: Vec<String>,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its bytes cannot be had.
    #[error("{}", chain(.0))]
    Source(#[from] selfheal_policy_source::SourceProblem),
    /// The bytes that were kept of it cannot be read.
    #[error("{}", chain(.0))]
    Kept(#[from] selfheal_policy_source::StoreProblem),
    /// Nobody that is trusted vouches for it.
    #[error("{}", chain(.0))]
    Signature(#[from] selfheal_policy_source::SignatureProblem),
    /// Larger than a module may be.
    #[error("{bytes} bytes, and a module has at most {limit}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Not the bytes that `policy.toml` pins.
    #[error("its digest is {found}, but policy.toml pins {pinned}")]
    Digest {
        /// In `policy.toml`.
        pinned: Digest,
        /// Of the bytes.
        found: Digest,
    },
    /// No component, or one with types that are not ours.
    #[error("{0}")]
    NotAModule(String),
    /// It imports or exports something else than its kind has.
    #[error("it does not fit the contract for kind `{kind}`: {message}")]
    Contract {
        /// As configured.
        kind: &'static str,
        /// What does not fit.
        message: String,
    },
    /// It was made for another line of the contract, or for none.
    #[error("{}; this host supports {}", made_for(.found), .supported.join(", "))]
    Line {
        /// Interfaces of the contract that it exports.
        found: Vec<String>,
        /// Lines that this host supports, newest first, as in `1.x`.
        supported: Vec<String>,
    },
    /// It imports what could be granted but is not.
    #[error("it imports {}, which it is not granted; if it shall have that, its entry in policy.toml says capabilities = [{}]", ticked(.missing), quoted(*.grants))]
    NotGranted {
        /// The imports.
        missing: Vec<String>,
        /// What it would need in all.
        grants: Capabilities,
    },
    /// It imports what nothing can grant, such as sockets.
    #[error(
        "it imports `{import}`, which no capability grants; there are {}",
        every_capability()
    )]
    Import {
        /// The import.
        import: String,
    },
    /// It says it is of another kind.
    #[error("policy.toml calls it a `{configured}`, it calls itself a `{described}`")]
    Kind {
        /// In `policy.toml`.
        configured: &'static str,
        /// By the module.
        described: &'static str,
    },
    /// It refuses its settings.
    #[error("it refuses its settings: {0}")]
    Settings(String),
    /// It fails one of its own examples.
    #[error("it fails its own example {example:?}: expected {expected}, got {got}")]
    Example {
        /// Name of the example.
        example: String,
        /// What it promises.
        expected: String,
        /// What it answered.
        got: String,
    },
    /// It faulted while being checked.
    #[error("while being checked it {0}")]
    Fault(#[from] selfheal_domain::verdict::Fault),
}

/// An error with its causes: these are shown to people as one text.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn made_for(found: &[String]) -> String {
    if found.is_empty() {
        "it exports no interface of `selfheal:policy`".to_owned()
    } else {
        format!("it is made for {}", ticked(found))
    }
}

fn ticked(names: &[String]) -> String {
    let ticked: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    ticked.join(", ")
}

fn quoted(grants: Capabilities) -> String {
    let quoted: Vec<String> = grants.iter().map(|one| format!("\"{one}\"")).collect();
    quoted.join(", ")
}

fn every_capability() -> String {
    Capability::ALL.map(Capability::name).join(", ")
}

fn known(names: &[String]) -> String {
    if names.is_empty() {
        "none (this host was built without them: run `cargo xtask build-policies` and build again)"
            .to_owned()
    } else {
        names.join(", ")
    }
}
