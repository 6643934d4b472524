//! Kills a program at any of its system calls, fills its disk there, or cuts its power.
//!
//! Everything durable that a program does and every effect it has on the world passes
//! one door: a system call. So that door is where a test waits for it ([`Traced`], over
//! ptrace), instead of at hooks that somebody has to remember to put in. It follows:
//!
//! - the program is the one that users run; nothing in it knows of tests, and there is no
//!   switch that could kill it in production;
//! - no step can be forgotten: what crates of others do (sled, libgit2) is seen as well,
//!   and a system call that `calls` does not know is reported, and fails the test;
//! - a *point* is one such call with what it is about, as in `write data/journal/*.log` or
//!   `start a process`; a run lists its points, and any of them can be asked for again.
//!
//! Only the program's own threads are watched, not the processes it starts.
//!
//! # Power cuts
//!
//! [`Disk`] knows what was flushed: a file's bytes as they were at its last `fsync`, a
//! directory's entries as they were at the directory's own. [`Disk::cut`] makes of the
//! files as they are what a disk could hold after the power failed: of every file each
//! 4 KiB piece that was not flushed is there or not, its length is old, new or between; of
//! every directory each entry that was not flushed is old or new. That is harsher than
//! the file systems in use, which order their metadata. What it does not do: tear within
//! 4 KiB, or break what a flush promised (a disk that lies).
//!
//! # Full disks
//!
//! From the chosen call on every call that needs space fails with `ENOSPC`, until
//! [`Traced::make_space`]. Writes through a shared mapping cannot be refused so; their
//! preparation (making and lengthening the file) is.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod calls;
mod disk;
mod kernel;
mod tracer;

pub use disk::{Disk, end_processes_in};
pub use tracer::{Fault, Moment, Point, Trace, Traced, Where};
