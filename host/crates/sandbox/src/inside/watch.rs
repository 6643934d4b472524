//! Limits that no `setrlimit` has: memory and processes of all together, and
//! the size of a kept layer. Sampled; what passes one is killed.

use crate::order::Order;
use crate::spec::{Access, Limits};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a file takes at least, its name and its inode.
const SMALLEST: u64 = 4096;

/// Looks at the processes of the namespace, from inside it.
pub(super) struct Sampler {
    limits: Limits,
    page: u64,
}

impl Sampler {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            page: rustix::param::page_size() as u64,
        }
    }

    /// Which limit is passed.
    pub(super) fn exceeded(&mut self) -> Option<String> {
        let mut tasks = 0_u64;
        let mut private = 0;
        let mut processes = Vec::new();
        let Ok(entries) = std::fs::read_dir("/proc") else {
            // Not to be able to look is no reason to let it run.
            return Some("its limits could not be watched".to_owned());
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            if pid == 1 {
                continue;
            }
            // Tasks that end while we look count as nothing.
            tasks += threads(pid);
            private += self.private_pages(pid).unwrap_or(0) * self.page;
            processes.push(pid);
        }
        if tasks > u64::from(self.limits.processes) {
            return Some(format!(
                "more than {} processes and threads",
                self.limits.processes
            ));
        }
        let most = self.limits.memory_bytes;
        // Forked workers share most pages, which only the slow way tells.
        if private > most && processes.iter().map(|pid| proportional(*pid)).sum::<u64>() > most {
            return Some(format!("more than {} MiB of memory", most / (1024 * 1024)));
        }
        None
    }

    /// Resident pages without those of files.
    fn private_pages(&self, pid: u32) -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
        let mut fields = text.split(' ').skip(1);
        let resident: u64 = fields.next()?.parse().ok()?;
        let shared: u64 = fields.next()?.parse().ok()?;
        Some(resident.saturating_sub(shared))
    }
}

fn threads(pid: u32) -> u64 {
    std::fs::metadata(format!("/proc/{pid}/task"))
        .map(|metadata| metadata.nlink().saturating_sub(2).max(1))
        .unwrap_or(0)
}

/// Private memory plus the share of what is shared, in bytes.
fn proportional(pid: u32) -> u64 {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else {
        return 0;
    };
    text.lines()
        .find_map(|line| {
            let kib = line.strip_prefix("Pss_Anon:")?;
            kib.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
        })
        .unwrap_or(0)
        * 1024
}

/// Watches a kept layer grow, from outside the namespaces.
pub(super) struct Layer {
    upper: Option<PathBuf>,
    most: u64,
    next: Instant,
    pause: Duration,
}

impl Layer {
    pub(super) fn of(order: &Order) -> Self {
        let upper = match &order.spec.workspace.access {
            Access::Keep { upper, .. } => Some(upper.clone()),
            Access::ReadOnly | Access::Discard => None,
        };
        let pause = Duration::from_millis(250);
        let before = upper.as_deref().map_or(0, size);
        Self {
            upper,
            most: before.saturating_add(order.spec.limits.tmp_bytes),
            next: Instant::now() + pause,
            pause,
        }
    }

    /// When it wants to be asked again.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.upper.as_ref().map(|_| self.next)
    }

    /// The layer outgrew its limit.
    pub(super) fn exceeded(&mut self, now: Instant) -> Option<String> {
        let upper = self.upper.as_deref()?;
        if now < self.next {
            return None;
        }
        let found = size(upper);
        // A large layer is looked at less often: never more than a tenth of the time.
        let took = now.elapsed();
        self.next = Instant::now() + self.pause.max(took * 10);
        (found > self.most).then(|| format!("more than {} MiB written", self.most / (1024 * 1024)))
    }
}

/// Bytes on disk below a directory; too many when it is too deep to look into.
fn size(directory: &Path) -> u64 {
    let mut total: u64 = 0;
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::InvalidFilename => return u64::MAX,
            // Removed since its parent was read.
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            total = total.saturating_add((metadata.blocks() * 512).max(SMALLEST));
            if metadata.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    total
}
