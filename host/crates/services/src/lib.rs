//! The application's services: started in order, watched, restarted with
//! back-off, stopped with everything they started.
//!
//! - [`ServiceManager`] runs each service under a keeper of the sandbox crate and
//!   implements the [`Services`](selfheal_domain::ports::Services) port. One
//!   thread owns each process, so a restart and a crash cannot race.
//! - [`HttpProbes`] sends the configured requests to the running application.
//!
//! No child outlives the host unnoticed: the keeper ends it when the host is
//! gone, and what even that missed is found by its record at the next start.

mod actor;
mod backoff;
mod config;
mod health;
mod log;
mod manager;
mod probes;

pub use config::{Health, RestartPolicy, ServiceConfig};
pub use manager::{ServiceManager, ServicePlaces};
pub use probes::{HttpProbes, ProbeConfig};
