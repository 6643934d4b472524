//! Notes on disk about who runs, good enough to tell a process from another one
//! that got its number later.

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

#[derive(Serialize, Deserialize)]
struct Record {
    boot: String,
    keeper: Identity,
    program: Identity,
    /// Where the keeper waits for the next host; empty: it waits for none.
    #[serde(default)]
    socket: String,
    /// Digest of what the program was started with.
    #[serde(default)]
    order: String,
}

/// What a host that crashed left running.
pub(crate) struct Leftover {
    /// Handle of the keeper.
    pub(crate) keeper: OwnedFd,
    pub(crate) keeper_pid: u32,
    pub(crate) program_pid: u32,
    pub(crate) socket: String,
}

/// A process id with the time of its start, in clock ticks since boot.
#[derive(Serialize, Deserialize)]
struct Identity {
    pid: i32,
    started: u64,
}

impl Identity {
    fn of(pid: u32) -> Self {
        let pid = i32::try_from(pid).unwrap_or(0);
        Self {
            pid,
            // One that is gone already gets a time that no process has.
            started: stat_field(pid, 22).unwrap_or(u64::MAX),
        }
    }

    /// A handle of exactly this process, if it still runs.
    fn open(&self) -> Option<OwnedFd> {
        let handle =
            rustix::process::pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // Looked at after opening: from here on the handle cannot change its meaning.
        let same = stat_field::<u64>(self.pid, 22) == Some(self.started);
        let dead = stat_field::<char>(self.pid, 3).is_none_or(|state| state == 'Z');
        (same && !dead).then_some(handle)
    }
}

/// A field of `/proc/<pid>/stat`, numbered from 1 as in proc(5).
pub(crate) fn stat_field<T: FromStr>(pid: i32, field: usize) -> Option<T> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is in parentheses and may itself hold any character.
    let rest = text.get(text.rfind(')')? + 2..)?;
    rest.split(' ').nth(field.checked_sub(3)?)?.parse().ok()
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

pub(crate) fn write(
    path: &Path,
    keeper: u32,
    program: u32,
    socket: &str,
    order: &str,
) -> io::Result<()> {
    let record = Record {
        boot: boot(),
        keeper: Identity::of(keeper),
        program: Identity::of(program),
        socket: socket.to_owned(),
        order: order.to_owned(),
    };
    let draft = path.with_extension("new");
    std::fs::write(&draft, serde_json::to_vec(&record)?)?;
    std::fs::rename(draft, path)
}

/// What still runs of a record, if it was started with `order` and can be adopted.
pub(crate) fn find_leftover(path: &Path, order: &str) -> Option<Leftover> {
    let record: Record = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    if record.boot != boot() || record.order != order || record.socket.is_empty() {
        return None;
    }
    let keeper = record.keeper.open()?;
    record.program.open()?;
    Some(Leftover {
        keeper,
        keeper_pid: record.keeper.pid.unsigned_abs(),
        program_pid: record.program.pid.unsigned_abs(),
        socket: record.socket,
    })
}

pub(crate) fn stop_leftover(path: &Path, grace: Duration) -> io::Result<Option<u32>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut found = None;
    // One that was torn by a crash names nobody.
    if let Ok(record) = serde_json::from_slice::<Record>(&bytes)
        && record.boot == boot()
    {
        let deadline = Instant::now() + grace;
        // A keeper stops its service by itself; it takes the word as well.
        for (identity, patience) in [
            (&record.keeper, deadline + Duration::from_secs(7)),
            (&record.program, deadline),
        ] {
            let Some(handle) = identity.open() else {
                continue;
            };
            found = u32::try_from(record.program.pid).ok();
            let _ = rustix::process::pidfd_send_signal(&handle, Signal::TERM);
            if !ends(&handle, patience) {
                let _ = rustix::process::pidfd_send_signal(&handle, Signal::KILL);
                if identity.pid == record.program.pid {
                    kill_group(identity.pid.unsigned_abs());
                }
                ends(&handle, Instant::now() + Duration::from_secs(5));
            }
        }
    }
    std::fs::remove_file(path)?;
    Ok(found)
}

pub(crate) fn ends(handle: &OwnedFd, deadline: Instant) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec};
    let remaining = deadline.saturating_duration_since(Instant::now());
    let mut fds = [PollFd::new(handle, PollFlags::IN)];
    let timeout = Timespec::try_from(remaining).ok();
    matches!(rustix::event::poll(&mut fds, timeout.as_ref()), Ok(1..))
}

/// `SIGKILL` to the process group that a program leads.
pub(crate) fn kill_group(leader: u32) {
    if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
    }
}
