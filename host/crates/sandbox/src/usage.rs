//! What processes use, read from `/proc`.

use crate::record::stat_field;
use rustix::process::Pid;
use selfheal_domain::service::ResourceUsage;
use std::collections::BTreeMap;
use std::time::Duration;

/// All processes below one.
pub(crate) fn descendants_of(root: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if let Some(parent) = stat_field(pid, 4) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut pending = vec![root.as_raw_nonzero().get()];
    while let Some(parent) = pending.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            pending.push(child);
            found.extend(Pid::from_raw(child));
        }
    }
    found
}

/// What a process uses, and how long ago it started; none when it does not run.
pub fn usage_of(pid: u32) -> Option<(ResourceUsage, Duration)> {
    let root = Pid::from_raw(i32::try_from(pid).ok()?)?;
    let age = age(root)?;
    let tree = descendants_of(root);
    Some((sum(std::iter::once(root).chain(tree)), age))
}

/// A managed program with everything it started. For looking only: the processes may
/// be gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessTree {
    pub(crate) keeper: u32,
    pub(crate) program: u32,
}

impl ProcessTree {
    /// What it uses, and how long ago the program started; none when it is gone.
    pub fn usage(&self) -> Option<(ResourceUsage, Duration)> {
        let keeper = Pid::from_raw(i32::try_from(self.keeper).ok()?)?;
        let program = Pid::from_raw(i32::try_from(self.program).ok()?)?;
        Some((sum(descendants_of(keeper).into_iter()), age(program)?))
    }
}

fn sum(processes: impl Iterator<Item = Pid>) -> ResourceUsage {
    let mut usage = ResourceUsage::default();
    let tick = rustix::param::clock_ticks_per_second().max(1) as f64;
    let page = rustix::param::page_size() as u64;
    for process in processes {
        let pid = process.as_raw_nonzero().get();
        // One that ended meanwhile uses nothing.
        let Some(user) = stat_field::<u64>(pid, 14) else {
            continue;
        };
        let kernel = stat_field::<u64>(pid, 15).unwrap_or_default();
        usage.processes += 1;
        usage.cpu_seconds += user.saturating_add(kernel) as f64 / tick;
        // Never negative but for a kernel's error.
        let pages = stat_field::<i64>(pid, 24).unwrap_or_default();
        usage.resident_bytes += u64::try_from(pages)
            .unwrap_or_default()
            .saturating_mul(page);
        let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
        usage.open_files += files.map_or(0, |files| files.count() as u64);
    }
    usage
}

fn age(process: Pid) -> Option<Duration> {
    let started = stat_field::<u64>(process.as_raw_nonzero().get(), 22)?;
    let tick = rustix::param::clock_ticks_per_second().max(1);
    let started = Duration::from_secs_f64(started as f64 / tick as f64);
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
    let uptime = Duration::try_from_secs_f64(uptime).ok()?;
    Some(uptime.saturating_sub(started))
}

/// Number of a signal that a program handles as it likes, as in `HUP`.
pub fn signal_number(name: &str) -> Option<i32> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    Some(match name {
        "HUP" => libc::SIGHUP,
        "INT" => libc::SIGINT,
        "QUIT" => libc::SIGQUIT,
        "TERM" => libc::SIGTERM,
        "USR1" => libc::SIGUSR1,
        "USR2" => libc::SIGUSR2,
        "WINCH" => libc::SIGWINCH,
        _ => return None,
    })
}
