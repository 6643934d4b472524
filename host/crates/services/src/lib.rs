//! The application's services: started in order, watched, restarted with
//! back-off, stopped with everything they started.
//!
//! - [`ServiceManager`] runs each service under a keeper of the sandbox crate, or tells
//!   whoever runs it (systemd, the owner's commands), and implements the
//!   [`Services`](selfheal_domain::ports::Services) port. One thread owns each service,
//!   so a restart and a crash cannot race.
//! - [`HttpProbes`] sends the configured requests to the running application.
//!
//! - What a service logs is watched: errors that are new since it was told to restart
//!   fail a verification.
//!
//! No child outlives the host unnoticed, and there are never two copies of one: its
//! keeper waits some time for the next host to adopt it, by its recorded identity, and
//! ends it otherwise; what even that missed is found by its record.

mod actor;
mod breaker;
mod config;
mod foreign;
mod health;
mod history;
mod log;
mod manager;
mod order;
mod prepare;
mod probes;
mod shared;
mod watch;

pub use config::{Health, Kind, Ready, RestartPolicy, ServiceConfig, WrongService, check_services};
pub use manager::{ServiceManager, ServicePlaces};
pub use probes::{HttpProbes, ProbeConfig};
pub use shared::{Notice, ServiceHooks};
