//! Loads policy modules and runs each decision in a fresh, limited instance.
//!
//! - A module is a component that exports one world of `guest-sdk/wit` and imports
//!   nothing but `host` and what `policy.toml` grants it by name; files, network, the
//!   machine's clock and randomness are not to be had at all.
//! - Each decision gets a new instance; nothing leaks from one to the next.
//! - Deadline, memory and size of the answer are limited for every module.
//! - A trap, an overrun, nonsense, silence: the strictest answer, and the host
//!   stays as it was.
//! - A set of modules is one immutable generation: preparing a new one may fail and
//!   changes nothing, activating it cannot fail.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use selfheal_policy_host::{BundledModules, CodeCache, PolicyConfig, PolicyEngine, WasmPolicyHost};
//! let config = PolicyConfig::load("policy.toml".as_ref())?;
//! let bundled = BundledModules::from_static(&[]);
//! let host = WasmPolicyHost::new(PolicyEngine::new()?, CodeCache::in_directory("code".into()), bundled);
//! let prepared = host.prepare(&config)?;
//! host.activate(prepared);
//! # Ok(())
//! # }
//! ```

// Helpers of the integration tests serve tests inside the crate as well.
#[cfg(test)]
extern crate self as selfheal_policy_host;

mod abi;
mod cache;
mod capabilities;
mod compare;
mod config;
mod dimensions;
mod edit;
mod engine;
mod error;
mod files;
mod generations;
mod grants;
mod history;
mod host;
mod keeper;
mod limits;
mod loader;
mod ratchet;
mod replay;
mod set;
mod single;
mod snapshot;
mod spares;
mod standing;
mod trial;

pub use abi::{Example, ExampleQuestion, Expectation};
pub use cache::CodeCache;
pub use capabilities::{Capabilities, Capability};
pub use config::{
    DEFAULT_POLICY_TOML, HostLimits, ModuleConfig, ModuleMode, PolicyConfig, QuarantineRules,
    RolloutRules,
};
pub use engine::PolicyEngine;
pub use error::{ConfigError, EngineError, ModuleProblem, PrepareError};
pub use files::FileProblem;
pub use host::{PreparedSet, WasmPolicyHost};
pub use keeper::{FollowPolicy, Following, KeeperPlaces, PolicyKeeper, RecordEvent, StartError};
pub use limits::Limits;
pub use loader::{BundledModules, LARGEST_MODULE};
pub use set::ActiveSet;
pub use single::{Anatomy, ExampleResult, RunAs, SelfDescription, SingleModule, read_module};
