//! What runs after the re-execution, one process inside the other:
//!
//! 1. the [`supervisor`]: outside all namespaces, single-threaded. It holds the
//!    lifeline to the host, keeps the time and kills;
//! 2. [`init`]: process 1 of the new pid namespace. It builds the root
//!    ([`root`], [`layers`]), starts the command, reaps orphans and watches the limits
//!    ([`watch`]). When it dies the kernel kills the whole namespace;
//! 3. the command: confined for good ([`confine`], [`filter`]) and executed.
//!
//! Everything here may allocate and use the standard library: these processes
//! never have a second thread.

mod bridge;
pub(crate) mod confine;
mod filter;
mod init;
mod layers;
pub(crate) mod probe;
mod root;
pub(crate) mod supervisor;
mod veil;
mod watch;

use crate::launch::MARK;
use crate::order::Failure;
use std::fmt::Display;

/// What [`MARK`] is set to for a supervisor of a sandbox.
pub(crate) const SUPERVISOR: &str = "supervisor";
/// What [`MARK`] is set to for the attacker that `doctor` sends into a sandbox.
pub(crate) const ATTACKER: &str = "attacker";
/// What [`MARK`] is set to for a keeper of a service.
pub(crate) const KEEPER: &str = "keeper";

/// Runs before `main` in every binary that links this crate, and does nothing
/// unless the binary was started as a supervisor.
#[used]
#[unsafe(link_section = ".init_array")]
static HOOK: extern "C" fn() = hook;

extern "C" fn hook() {
    // The variable is set by `launch` only and the command never inherits it.
    // `var_os` takes a lock that nobody else can hold before `main`.
    match std::env::var_os(MARK) {
        None => {}
        Some(role) if role == KEEPER => crate::keeper::main(),
        Some(role) if role == ATTACKER => probe::main(),
        Some(_) => supervisor::main(),
    }
}

/// Called from the host's side, so that the linker cannot drop this module.
pub(crate) fn retain_hook() {
    std::hint::black_box(&raw const HOOK);
}

/// A step of the construction that failed. Missing abilities of the system are
/// told from broken requests by where they occur.
type Step<T> = Result<T, Failure>;

/// The system cannot do this.
fn lacking<E: Display>(what: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| Failure {
        containment: true,
        text: format!("{what}: {error}"),
    }
}

/// This could not be done with the given paths.
fn broken<E: Display>(what: impl Display) -> impl FnOnce(E) -> Failure {
    move |error| Failure {
        containment: false,
        text: format!("{what}: {error}"),
    }
}
