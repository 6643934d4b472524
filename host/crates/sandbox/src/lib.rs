//! The only crate that starts processes. Two doors:
//!
//! - [`Sandbox`] runs what an agent causes. It is contained by user, mount, pid,
//!   net, ipc and uts namespaces, a read-only view of the host with an overlay on
//!   the workspace, no capabilities, seccomp, Landlock and resource limits. It
//!   fails closed: without namespaces nothing runs.
//! - [`ManagedProcess`] and [`run_trusted`] run what the owner configured: the
//!   application's own services and the host's own tools. They are limited and
//!   killed as a group, but not contained.
//!
//! What a contained command can rely on, each point with a test in
//! `tests/workspace.rs` or, as an attack that fails, in `tests/escapes.rs`:
//!
//! - The workspace is at its own absolute path, also under `/tmp`. What becomes
//!   of writes there is [`Access`]; the live tree itself never changes.
//! - `/tmp`, `/var/tmp`, `/dev/shm` and `/run` are empty, private and gone
//!   afterwards. Everything else is the host's, read-only.
//! - Well-known secrets and everything in [`SandboxSpec::masked`] read as empty.
//! - There is a loopback of its own and no other network; no socket that the host
//!   listens on when the command starts can be reached. Each [`Grant`] adds one
//!   listener on that loopback behind which the host carries connections to one
//!   destination.
//! - No process outlives the call, whatever it forks, and none sees or signals a
//!   process of the host.
//!
//! The containment is built by a re-execution of the running binary, because a
//! fork of a process with threads may do next to nothing safely. Linking this
//! crate is enough: a start-up hook recognises the re-execution before `main`.
#![allow(
    unsafe_code,
    reason = "namespaces, clone, prctl and seccomp have no safe interface; every block says why it is sound"
)]

mod bridge;
mod cancel;
mod capture;
mod changes;
mod environment;
mod error;
mod grant;
mod inside;
mod keeper;
mod launch;
mod managed;
mod masks;
mod order;
mod probes;
mod record;
mod sandbox;
mod session;
mod spec;
mod trusted;
mod usage;

pub use cancel::CancelToken;
pub use changes::{Change, ChangeKind, collect_changes};
pub use environment::{allowed_environment, looks_secret};
pub use error::SandboxError;
pub use grant::{Destination, Grant};
pub use managed::{ManagedProcess, ManagedSpec};
pub use probes::{Attack, Probe, Thoroughness, all_hold};
pub use sandbox::{Containment, Sandbox};
pub use session::Session;
pub use spec::{ASSETS_PATH, Access, Limits, Replacement, SandboxSpec, Workspace};
pub use trusted::{TrustedCommand, run_trusted};
pub use usage::{ProcessTree, signal_number, usage_of};
